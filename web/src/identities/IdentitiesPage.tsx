import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useDeferredValue, useEffect, useState } from "react";
import type { Identity } from "../api/client";
import { type IdentityFilter, identities } from "../api/queries";
import { Button } from "../parts/Button";
import { Command } from "../parts/Command";
import { Empty } from "../parts/Empty";
import { Failure } from "../parts/Failure";
import { FilterField } from "../parts/FilterField";
import { Hostile } from "../parts/Hostile";
import { Skeleton } from "../parts/Skeleton";
import { Time } from "../parts/Time";
import { count } from "../text/format";
import { kindName, kinds } from "../text/words";
import { Risk } from "./Risk";

const route = getRouteApi("/identities");
const states = ["active", "dormant", "quarantined", "deprecated", "retired"] as const;

/** IdentitiesPage lists who exists. */
export function IdentitiesPage() {
  const filter = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Partial<IdentityFilter>) =>
    navigate({ search: (before) => ({ ...before, ...change }), replace: true });
  const list = useInfiniteQuery({ ...identities(useDeferredValue(filter)), placeholderData: keepPreviousData });
  const rows = list.data?.pages.flatMap((p) => p.items ?? []) ?? [];
  const filtered = Object.values(filter).some(Boolean);
  return (
    <div className="flex min-w-0 flex-col">
      <Filters filter={filter} set={set} />
      {!list.data ? (
        list.error ? (
          <Failure what="The identities" error={list.error} again={list.refetch} />
        ) : (
          <Skeleton rows={12} />
        )
      ) : rows.length === 0 ? (
        <Nothing filtered={filtered} clear={() => navigate({ search: {} })} />
      ) : (
        <>
          <Table rows={rows} />
          <p className="flex items-center gap-3 px-4 py-3 text-12 text-muted">
            {count(rows.length)} shown{list.hasNextPage ? "" : ", that is all"}
            {list.hasNextPage && (
              <Button disabled={list.isFetchingNextPage} onClick={() => list.fetchNextPage()}>
                Show more
              </Button>
            )}
          </p>
        </>
      )}
    </div>
  );
}

function Filters({ filter, set }: { filter: IdentityFilter; set: (change: Partial<IdentityFilter>) => void }) {
  const [words, setWords] = useState(filter.q ?? "");
  useEffect(() => setWords(filter.q ?? ""), [filter.q]);
  return (
    <div className="flex flex-wrap items-center gap-2 border-b border-hair px-3 py-2 md:px-4">
      <h1 className="sr-only">Identities</h1>
      <FilterField
        label="Search by name, path, account or owner"
        placeholder="Name, ARN, account, owner"
        value={words}
        onChange={(q) => {
          setWords(q);
          set({ q: q || undefined });
        }}
      />
      <select
        aria-label="Kind"
        className="field"
        value={filter.kind ?? ""}
        onChange={(e) => set({ kind: e.target.value || undefined })}
      >
        <option value="">All kinds</option>
        {Object.entries(kinds).map(([kind, name]) => (
          <option key={kind} value={kind}>
            {name}
          </option>
        ))}
      </select>
      <select
        aria-label="State"
        className="field"
        value={filter.state ?? ""}
        onChange={(e) => set({ state: (e.target.value || undefined) as IdentityFilter["state"] })}
      >
        <option value="">All states</option>
        {states.map((s) => (
          <option key={s} value={s}>
            {s}
          </option>
        ))}
      </select>
      <Facet label="Unowned" on={filter.unowned} onChange={(unowned) => set({ unowned })} />
      <Facet label="Only in logs" on={filter.shadow} onChange={(shadow) => set({ shadow })} />
      {filter.environment && (
        <Facet label={`Environment: ${filter.environment}`} on onChange={() => set({ environment: undefined })} />
      )}
      {filter.owner && <Facet label={`Owner: ${filter.owner}`} on onChange={() => set({ owner: undefined })} />}
    </div>
  );
}

function Facet({
  label,
  on,
  onChange,
}: {
  label: string;
  on: boolean | undefined;
  onChange: (on: true | undefined) => void;
}) {
  return (
    <label className="inline-flex h-8 max-w-full cursor-pointer items-center gap-1.5 rounded-control border border-line bg-panel px-2.5 text-13">
      <input
        type="checkbox"
        checked={on ?? false}
        onChange={(e) => onChange(e.target.checked || undefined)}
        className="accent-accent"
      />
      <Hostile text={label} />
    </label>
  );
}

function Table({ rows }: { rows: readonly Identity[] }) {
  return (
    <table className="w-full table-fixed border-collapse">
      <thead className="hidden md:table-header-group">
        <tr className="h-9 border-b border-hair">
          <th className="pl-4">Name</th>
          <th className="w-[13%]">Kind</th>
          <th className="w-[15%]">Environment</th>
          <th className="w-[20%]">Owner</th>
          <th className="w-[96px]">Risk</th>
          <th className="w-[104px]">Last seen</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((i) => (
          <tr
            key={i.id}
            className="row flex flex-wrap items-center gap-x-3 px-4 py-1 text-13 md:table-row md:h-9 md:p-0"
          >
            <td className="min-w-0 basis-full md:pl-4">
              <span className="flex min-w-0 items-center gap-2 pr-3">
                <Link to="/identities/$id" params={{ id: i.id }} className="min-w-0 truncate">
                  <Hostile text={i.name} />
                </Link>
                {i.shadow && <Mark title="Seen acting in logs, in no inventory">only in logs</Mark>}
                {i.state !== "active" && <Mark title="State">{i.state}</Mark>}
              </span>
            </td>
            <td className="truncate text-muted">{kindName(i.kind)}</td>
            <td className="truncate">
              <Hostile
                text={i.environment.name || "unknown"}
                className={i.environment.class === "production" ? "" : "text-muted"}
              />
            </td>
            <td className="max-w-full truncate">
              {i.owner.ref ? (
                <Hostile text={i.owner.ref} className="block pr-3" />
              ) : (
                <span className="text-stepup">nobody</span>
              )}
            </td>
            <td>
              <Risk risk={i.risk} />
            </td>
            <td className="text-muted">
              <Time at={i.last_seen} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Mark({ title, children }: { title: string; children: string }) {
  return (
    <span title={title} className="shrink-0 rounded-control border border-hair px-1.5 text-12 text-muted">
      {children}
    </span>
  );
}

function Nothing({ filtered, clear }: { filtered: boolean; clear: () => void }) {
  if (filtered)
    return (
      <Empty title="No identity matches">
        <p>Each word must begin a word of the name, path, native id, account or owner.</p>
        <p>
          <Button onClick={clear}>Show all</Button>
        </p>
      </Empty>
    );
  return (
    <Empty title="Nobody is known yet">
      <p>Import the identities of an AWS account from the files that AWS itself writes:</p>
      <Command line="aws iam get-account-authorization-details > iam.json" />
      <Command line="muster inventory import aws --authorization-details iam.json" />
      <p>Identities that only appear in logs are found by replaying them:</p>
      <Command line={`muster replay cloudtrail/*.json.gz --to ${window.location.origin}`} />
    </Empty>
  );
}
