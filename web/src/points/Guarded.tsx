/** Guarded are the fields of a point that say what it guards and from where it speaks. */
export function Guarded({
  sources,
  onSources,
  resources,
  onResources,
}: {
  sources: string;
  onSources: (text: string) => void;
  resources: string;
  onResources: (text: string) => void;
}) {
  return (
    <>
      <label className="flex flex-col gap-1 text-13">
        Addresses it speaks from (none: only this machine)
        <input
          className="field mono"
          value={sources}
          maxLength={4_000}
          onChange={(e) => onSources(e.target.value)}
          placeholder="10.4.0.0/24, 10.5.0.7"
        />
      </label>
      <label className="flex flex-col gap-1 text-13">
        Resources it guards, one a line (none: every resource)
        <textarea
          className="field mono"
          rows={3}
          value={resources}
          maxLength={200_000}
          onChange={(e) => onResources(e.target.value)}
          placeholder="payments/api"
        />
      </label>
    </>
  );
}

/** words splits what was written by blanks and commas; lines by ends of lines. */
export const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);
export const lines = (text: string) =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);
