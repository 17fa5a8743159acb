import type { Point } from "../api/client";
import { Select, TextField } from "../parts/Field";
import { type Dialect, dialectNames, dialects } from "./snippets";

/** What is written about a point: how it asks, from where, and what it guards. */
export type Written = { dialect: Dialect; sources: string; resources: string; assert: boolean };

/** written is a point as its fields show it; a new one asks like nginx. */
export const written = (p?: Point): Written => ({
  dialect: p?.dialect ?? "nginx",
  sources: (p?.sources ?? []).join(", "),
  resources: (p?.resources ?? []).join("\n"),
  assert: p?.assert ?? false,
});

/** read is what the fields say, as the interface takes it. */
export const read = (w: Written) => ({
  dialect: w.dialect,
  sources: w.sources.split(/[\s,]+/).filter(Boolean),
  resources: w.resources
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean),
  assert: w.assert,
});

/** PointFields are what a new point and a changed one have in common. */
export function PointFields({ value, onChange }: { value: Written; onChange: (value: Written) => void }) {
  return (
    <>
      <Select
        label="What asks (the proxy, or authzen for a program)"
        value={value.dialect}
        options={dialects.map((d) => ({ value: d, label: dialectNames[d] }))}
        onChoose={(dialect) => onChange({ ...value, dialect })}
      />
      <TextField
        label="Addresses it asks from"
        mono
        maxLength={4_000}
        value={value.sources}
        onText={(sources) => onChange({ ...value, sources })}
        placeholder="none: only this machine"
      />
      <TextField
        label="Resources it guards, one a line"
        mono
        rows={3}
        maxLength={200_000}
        value={value.resources}
        onText={(resources) => onChange({ ...value, resources })}
        placeholder="none: every resource"
      />
      <label className="flex items-start gap-2 text-13">
        <input
          type="checkbox"
          className="mt-0.5 size-4 shrink-0 accent-accent"
          checked={value.assert}
          onChange={(e) => onChange({ ...value, assert: e.target.checked })}
        />
        <span>
          Sign an assertion of each decision: the application behind can check that this very request passed here, and
          refuse what found another way
        </span>
      </label>
    </>
  );
}
