import { type Role, roles } from "../access/roles";
import type { Me } from "../api/client";
import { Button } from "../parts/Button";
import { Select, TextField } from "../parts/Field";

export type Grant = NonNullable<Me["roles"]>[number];

const names = Object.keys(roles) as Role[];

/** GrantFields edits roles, each everywhere or within a team or an environment. */
export function GrantFields({ grants, onChange }: { grants: readonly Grant[]; onChange: (grants: Grant[]) => void }) {
  const set = (at: number, change: Partial<Grant>) =>
    onChange(grants.map((g, i) => (i === at ? { ...g, ...change } : g)));
  return (
    <div className="flex flex-col gap-2">
      {grants.map((g, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows have no other name while they are written
        <fieldset key={i} className="flex flex-col gap-2 rounded-control border border-hair p-3">
          <legend className="sr-only">Role {i + 1}</legend>
          <div className="flex flex-wrap items-end gap-2">
            <Select
              label="Role"
              className="flex-1 basis-28"
              value={g.role}
              options={names}
              onChoose={(role) => set(i, { role })}
            />
            <TextField
              label="Only team"
              className="flex-1 basis-28"
              maxLength={100}
              value={g.team ?? ""}
              onText={(team) => set(i, { team: team.trim() || undefined })}
              placeholder="every team"
            />
            <TextField
              label="Only environment"
              className="flex-1 basis-28"
              maxLength={100}
              value={g.environment ?? ""}
              onText={(environment) => set(i, { environment: environment.trim() || undefined })}
              placeholder="every environment"
            />
            <Button onClick={() => onChange(grants.filter((_, n) => n !== i))} aria-label={`Remove role ${i + 1}`}>
              Remove
            </Button>
          </div>
          <p className="text-12 text-muted">{roles[g.role]}</p>
        </fieldset>
      ))}
      <Button className="self-start" onClick={() => onChange([...grants, { role: "viewer" }])}>
        Add a role
      </Button>
    </div>
  );
}
