import { useQuery } from "@tanstack/react-query";
import { useId, useState } from "react";
import { identityFacets } from "../api/queries";
import { holds, toggle } from "../filter/terms";
import { Hostile } from "../parts/Hostile";
import { counted } from "../text/format";
import { kindName } from "../text/words";

const names: Record<string, string> = {
  kind: "Kind",
  environment: "Environment",
  class: "Class of environment",
  state: "State",
  owner: "Owner",
  provider: "Provider",
  account: "Account",
  shadow: "Seen only in logs",
  static: "Holds a static secret",
  admin: "May do everything",
  attestable: "Can prove itself",
  risk: "Risk",
};
/** How many values of a field are shown before the rest is asked for. */
const few = 6;

/** Facets counts the identities by what they have in common, and narrows the list to some of them. */
export function Facets({ filter, onFilter }: { filter: string; onFilter: (filter: string) => void }) {
  const { data } = useQuery(identityFacets(filter));
  return (
    <div className="flex flex-col gap-4 p-3 text-13">
      {(data?.facets ?? [])
        .filter((f) => (f.values ?? []).length > 0)
        .map((f) => (
          <Facet
            key={f.field}
            atLeast={f.at_least}
            field={f.field}
            values={f.values ?? []}
            filter={filter}
            onFilter={onFilter}
          />
        ))}
    </div>
  );
}

function Facet({
  field,
  values,
  atLeast,
  filter,
  onFilter,
}: {
  field: string;
  atLeast: boolean | undefined;
  values: readonly { value: string; count: number }[];
  filter: string;
  onFilter: (filter: string) => void;
}) {
  const heading = useId();
  const [all, setAll] = useState(false);
  const shown = all ? values : values.slice(0, few);
  return (
    <fieldset aria-labelledby={heading} className="flex min-w-0 flex-col gap-0.5">
      <legend id={heading} className="pb-1 font-[600]">
        {names[field] ?? field}
      </legend>
      {shown.map((v) => {
        const none = v.value === "";
        const on = none ? holds(filter, field, undefined, true) : holds(filter, field, v.value);
        return (
          <label
            key={v.value}
            className="-mx-1 flex min-h-6 min-w-0 cursor-pointer items-center gap-2 rounded-control px-1 hover:bg-raised"
          >
            <input
              type="checkbox"
              className="size-3.5 shrink-0 accent-accent"
              checked={on}
              onChange={() => onFilter(none ? toggle(filter, field, undefined, true) : toggle(filter, field, v.value))}
            />
            <Hostile text={valueName(field, v.value)} className={`min-w-0 flex-1 ${none ? "text-muted" : ""}`} />
            <span className="shrink-0 text-12 text-muted">{counted(v.count, atLeast)}</span>
          </label>
        );
      })}
      {values.length > few && (
        <button
          type="button"
          className="self-start text-12 text-accent hover:underline"
          aria-expanded={all}
          onClick={() => setAll(!all)}
        >
          {all ? "fewer" : `${values.length - few} more`}
        </button>
      )}
    </fieldset>
  );
}

function valueName(field: string, value: string): string {
  if (value === "") return field === "owner" ? "nobody" : "none";
  if (field === "kind") return kindName(value);
  if (value === "true") return "yes";
  if (value === "false") return "no";
  return value;
}
