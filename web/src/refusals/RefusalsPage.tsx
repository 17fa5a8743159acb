import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useCallback, useMemo, useRef } from "react";
import { Problem } from "../api/client";
import { refusals } from "../api/queries";
import { QueryField } from "../filter/QueryField";
import { refusalFields } from "../filter/refusalFields";
import { holds, terms } from "../filter/terms";
import { Button } from "../parts/Button";
import { Choice } from "../parts/Choice";
import { Copy } from "../parts/Copy";
import { Empty } from "../parts/Empty";
import { filled } from "../parts/filled";
import { Pending } from "../parts/Pending";
import { NewRows, useReading } from "../parts/Still";
import { useHeld } from "../parts/useHeld";
import { count, plural } from "../text/format";
import { quote } from "../text/hostile";
import { refusalKinds } from "../text/words";
import { RefusalDetail } from "./RefusalDetail";
import { RefusalTable } from "./RefusalTable";

const route = getRouteApi("/refusals");

/** What is asked for first, each a term of the filter. */
const asked = [
  ...Object.entries(refusalKinds).map(([kind, { label }]) => ({ value: `kind:${kind}`, label })),
  { value: "reason:environment-crossing", label: "Crosses environments" },
];
const spans = [
  { value: "1h", label: "1 hour" },
  { value: "1d", label: "1 day" },
  { value: "all", label: "All" },
] as const;

/** without takes every term of a field out of a filter. */
const without = (filter: string, field: string) =>
  terms(filter)
    .filter((t) => t.field !== field)
    .map((t) => filter.slice(t.from, t.to))
    .join(" ");

/** RefusalsPage lists who was not let in, and why. The address holds the filter and the row that is open. */
export function RefusalsPage() {
  const { filter = "", id } = route.useSearch();
  const navigate = route.useNavigate();
  const set = useCallback((to: string) => navigate({ search: { filter: to.trim() || undefined } }), [navigate]);
  const list = useInfiniteQuery({ ...refusals(filter), placeholderData: keepPreviousData });
  const all = useMemo(() => list.data?.pages.flatMap((p) => p.items ?? []) ?? [], [list.data]);
  const { reading, place } = useReading();
  const { shown, waiting, release } = useHeld(all, reading || id !== undefined);
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = list;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage().then(release);
  }, [fetchNextPage, hasNextPage, isFetchingNextPage, release]);
  const table = useRef<HTMLDivElement>(null);
  const open = (to: string) => navigate({ search: (before) => ({ ...before, id: to }), replace: id !== undefined });
  const close = useCallback(() => {
    navigate({ search: (before) => ({ ...before, id: undefined }) });
    // Focus returns to the row that was asked about.
    requestAnimationFrame(() =>
      table.current
        ?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id ?? "")}"], [role="row"][tabindex="0"]`)
        ?.focus(),
    );
  }, [navigate, id]);
  const wrong = list.error instanceof Problem && list.error.status === 422 ? list.error.message : undefined;
  return (
    <div className={filled}>
      <Toolbar filter={filter} set={set} wrong={wrong} />
      <div className="flex min-h-0 min-w-0 flex-1">
        <div ref={table} className="relative flex min-w-0 flex-1 flex-col" {...place}>
          <NewRows waiting={waiting} onShow={release} />
          {wrong || !list.data ? (
            wrong ? (
              <WrongFilter clear={() => set("")} />
            ) : (
              <Pending what="The refusals" error={list.error} again={list.refetch} rows={12} />
            )
          ) : shown.length === 0 ? (
            <Nothing filtered={filter !== ""} clear={() => set("")} />
          ) : (
            <>
              <RefusalTable key={filter} rows={shown} chosen={id} onOpen={open} onNearEnd={more} />
              <p className="border-t border-hair px-3 py-1.5 text-12 text-muted md:px-4" role="status">
                {count(shown.length)} {hasNextPage ? "and more" : plural(shown.length, "refusal").replace(/^\S+ /, "")},
                the newest first; kept for 90 days
              </p>
            </>
          )}
        </div>
        {id && <RefusalDetail refusal={all.find((r) => r.id === id)} pending={list.isPending} onClose={close} />}
      </div>
    </div>
  );
}

function Toolbar({ filter, set, wrong }: { filter: string; set: (filter: string) => void; wrong: string | undefined }) {
  const rest = without(without(filter, "kind"), "reason");
  const now = asked.find(({ value }) => {
    const [field = "", word] = value.split(":");
    return holds(filter, field, word);
  });
  const at = terms(filter).find((t) => t.field === "at" && t.sign.startsWith(">"))?.values[0]?.text;
  const span = spans.find((s) => s.value === at)?.value ?? "all";
  return (
    <div className="flex flex-wrap items-start gap-2 border-b border-hair px-3 py-2 md:px-4">
      <h1 className="sr-only">Refusals</h1>
      <Choice
        label="Which refusals"
        value={now?.value ?? "all"}
        onChange={(term) => set(term === "all" ? rest : `${rest} ${term}`)}
        options={[{ value: "all", label: "All" }, ...asked]}
      />
      <Choice
        label="How far back"
        value={span}
        onChange={(s) => set(`${without(filter, "at")}${s === "all" ? "" : ` at>${s}`}`)}
        options={spans}
      />
      <QueryField
        label="Filter refusals"
        placeholder="address:203.0.113.8, or a name"
        value={filter}
        fields={refusalFields}
        known={() => []}
        error={wrong}
        onApply={set}
      />
      <Copy
        label="Copy as curl"
        text={`curl --get -H "Authorization: Bearer $MUSTER_TOKEN" ${filter ? `--data-urlencode ${quote(`filter=${filter}`)} ` : ""}${window.location.origin}/v1/refusals`}
      />
    </div>
  );
}

function WrongFilter({ clear }: { clear: () => void }) {
  return (
    <Empty title="The filter was not understood">
      <p>What is above says where. The fields, and what can be said about them, are offered while you write.</p>
      <p>
        <Button onClick={clear}>Show all</Button>
      </p>
    </Empty>
  );
}

function Nothing({ filtered, clear }: { filtered: boolean; clear: () => void }) {
  return filtered ? (
    <Empty title="No refusal matches">
      <p>Nobody was turned away in the way that the filter describes. New ones that match appear here by themselves.</p>
      <p>
        <Button onClick={clear}>Show all</Button>
      </p>
    </Empty>
  ) : (
    <Empty title="Nobody was turned away yet">
      <p>
        Whoever fails to prove who they are, is in no inventory, or asks for what a policy refuses, is listed here: at
        the enforcement points and at Muster itself. A point that only observes refuses nobody.
      </p>
    </Empty>
  );
}
