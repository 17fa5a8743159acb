import { type Role, roles } from "../access/roles";
import type { Me } from "../api/client";
import { Button } from "../parts/Button";

export type Grant = NonNullable<Me["roles"]>[number];

/** GrantFields edits roles, each everywhere or within a team or an environment. */
export function GrantFields({ grants, onChange }: { grants: readonly Grant[]; onChange: (grants: Grant[]) => void }) {
  const set = (at: number, change: Partial<Grant>) =>
    onChange(grants.map((g, i) => (i === at ? { ...g, ...change } : g)));
  return (
    <div className="flex flex-col gap-2">
      {grants.map((g, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows have no other name while they are written
        <fieldset key={i} className="flex flex-wrap items-end gap-2 rounded-control border border-hair p-2">
          <legend className="sr-only">Role {i + 1}</legend>
          <label className="flex flex-col gap-1 text-12">
            Role
            <select className="field" value={g.role} onChange={(e) => set(i, { role: e.target.value as Role })}>
              {Object.keys(roles).map((r) => (
                <option key={r}>{r}</option>
              ))}
            </select>
          </label>
          <label className="flex min-w-0 flex-1 basis-24 flex-col gap-1 text-12">
            Only team
            <input
              className="field w-full"
              maxLength={100}
              value={g.team ?? ""}
              onChange={(e) => set(i, { team: e.target.value.trim() || undefined })}
            />
          </label>
          <label className="flex min-w-0 flex-1 basis-24 flex-col gap-1 text-12">
            Only environment
            <input
              className="field w-full"
              maxLength={100}
              value={g.environment ?? ""}
              onChange={(e) => set(i, { environment: e.target.value.trim() || undefined })}
            />
          </label>
          <Button onClick={() => onChange(grants.filter((_, n) => n !== i))}>Remove</Button>
        </fieldset>
      ))}
      <Button className="self-start" onClick={() => onChange([...grants, { role: "viewer" }])}>
        Add a role
      </Button>
    </div>
  );
}
