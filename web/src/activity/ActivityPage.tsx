import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Pause, Play, X } from "lucide-react";
import { useCallback, useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import type { Decision } from "../api/client";
import { merge } from "../api/live";
import { decided, decision, decisions, points } from "../api/queries";
import { useLive } from "../api/useLive";
import { QueryField } from "../filter/QueryField";
import { Button } from "../parts/Button";
import { Choice } from "../parts/Choice";
import { Command } from "../parts/Command";
import { Empty } from "../parts/Empty";
import { Failure } from "../parts/Failure";
import { FilterField } from "../parts/FilterField";
import { filled } from "../parts/filled";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Shape } from "../parts/Shape";
import { Skeleton } from "../parts/Skeleton";
import { NewRows, useReading } from "../parts/Still";
import { typing } from "../parts/typing";
import { useHeld } from "../parts/useHeld";
import type { Since } from "../router";
import { count } from "../text/format";
import { outcomes } from "../text/words";
import { DecisionTable } from "./DecisionTable";
import { Export } from "./Export";
import { decisionFields } from "./fields";
import { matches } from "./filter";
import { Why } from "./Why";

const route = getRouteApi("/activity");

/** ActivityPage shows decisions as they are made, and why. */
export function ActivityPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = useCallback(
    (change: Partial<typeof search>, replace = true) =>
      navigate({ search: (before) => ({ ...before, ...change }), replace }),
    [navigate],
  );
  const [paused, setPaused] = useState(false);
  const { reading, place } = useReading();
  const found = search.filter !== undefined || search.since !== undefined;
  const live = useDecisions(search, !found);
  const asked = useFound(search, found);
  const { rows, error, refetch } = found ? asked : live;
  const { shown, waiting, release } = useHeld(rows, paused || reading || search.decision !== undefined);
  useSpace(() => setPaused((p) => !p));
  const table = useRef<HTMLDivElement>(null);

  const close = useCallback(() => {
    const id = search.decision;
    set({ decision: undefined }, false);
    // Focus returns to the row that was asked about.
    requestAnimationFrame(() => {
      const row = table.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id ?? "")}"]`);
      (row ?? table.current?.querySelector<HTMLElement>('[role="row"][tabindex="0"]'))?.focus();
    });
  }, [search.decision, set]);

  return (
    <div className={filled}>
      <Toolbar
        search={search}
        set={set}
        paused={paused}
        setPaused={setPaused}
        rows={shown.length}
        error={found ? asked.error : undefined}
      />
      <div className="flex min-h-0 min-w-0 flex-1">
        <div ref={table} className="relative flex min-w-0 flex-1 flex-col" {...place}>
          <NewRows waiting={waiting} onShow={release} />
          {rows.length === 0 && error && !(found && search.filter) ? (
            <Failure what="The decisions" error={error} again={refetch} />
          ) : found && asked.pending ? (
            <Skeleton rows={8} />
          ) : shown.length === 0 ? (
            <NoRows
              filtered={Boolean(search.outcome || search.q || search.identity || search.point || found)}
              past={search.since !== undefined}
              clear={() =>
                set({
                  outcome: undefined,
                  q: undefined,
                  identity: undefined,
                  point: undefined,
                  filter: undefined,
                  since: undefined,
                })
              }
            />
          ) : (
            <DecisionTable
              rows={shown}
              chosen={search.decision}
              onOpen={(id) => set({ decision: id }, search.decision !== undefined)}
              onNearEnd={found ? asked.more : undefined}
            />
          )}
        </div>
        {search.decision && <WhyOf id={search.decision} rows={rows} onClose={close} />}
      </div>
    </div>
  );
}

/** useDecisions joins what came live with what the server still knows of this filter. */
function useDecisions(search: ReturnType<typeof route.useSearch>, enabled: boolean) {
  const stream = useLive((s) => s.decisions);
  const { outcome, identity, point } = search;
  const older = useQuery({
    ...decisions({ outcome, identity, point }, 500),
    placeholderData: keepPreviousData,
    enabled,
  });
  const q = useDeferredValue(search.q ?? "");
  const rows = useMemo(() => {
    const wanted = (d: Decision) => matches(d, { outcome, identity, point, q });
    const fresh = stream.filter(wanted);
    const known = new Set(fresh.map((d) => d.id));
    const rest = (older.data?.items ?? []).filter((d) => !known.has(d.id) && wanted(d));
    return rest.length === 0 ? fresh : merge(fresh, rest);
  }, [stream, older.data, outcome, identity, point, q]);
  return { rows, error: older.error, refetch: older.refetch };
}

const hours: Record<Since, number> = { "1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24 };

/** from is when a time that is named begins. */
const from = (since: Since | undefined): string | undefined =>
  since && new Date(Date.now() - hours[since] * 3_600_000).toISOString();

/** useFound has the server look for what the fields say; words narrow what it found further. */
function useFound(search: ReturnType<typeof route.useSearch>, enabled: boolean) {
  const { outcome, identity, point, filter, since } = search;
  const list = useInfiniteQuery({
    ...decided({ outcome, identity, point, filter }, () => from(since), since ?? ""),
    enabled,
  });
  const q = useDeferredValue(search.q ?? "");
  const rows = useMemo(
    () => (list.data?.pages ?? []).flatMap((p) => p.items ?? []).filter((d) => matches(d, { q })),
    [list.data, q],
  );
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = list;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  return { rows, error: list.error, refetch: list.refetch, pending: list.isPending, more };
}

function useSpace(toggle: () => void) {
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const pressable = e.target instanceof HTMLElement && e.target.closest("button, a, summary, [role=menuitemradio]");
      if (e.key !== " " || e.ctrlKey || e.metaKey || e.altKey || pressable || typing(e.target)) return;
      e.preventDefault();
      toggle();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [toggle]);
}

function Toolbar({
  search,
  set,
  paused,
  setPaused,
  rows,
  error,
}: {
  search: ReturnType<typeof route.useSearch>;
  set: (change: Partial<ReturnType<typeof route.useSearch>>) => void;
  paused: boolean;
  setPaused: (paused: boolean) => void;
  rows: number;
  /** What the server said about the fields. */
  error: Error | null | undefined;
}) {
  const dropped = useLive((s) => s.dropped);
  return (
    <div className="flex flex-wrap items-center gap-2 border-b border-hair px-3 py-2 md:px-4">
      <h1 className="sr-only">Activity</h1>
      <Choice
        label="Outcome"
        value={search.outcome ?? "all"}
        onChange={(v) => set({ outcome: v === "all" ? undefined : v })}
        options={[
          { value: "all", label: "All" },
          ...(["allow", "step-up", "deny"] as const).map((value) => ({
            value,
            label: (
              <>
                <span className={outcomes[value].tone}>
                  <Shape name={outcomes[value].shape} />
                </span>
                {outcomes[value].label}
              </>
            ),
          })),
        ]}
      />
      <FilterField
        label="Filter by text"
        placeholder="Name, path, country, policy"
        value={search.q ?? ""}
        onChange={(q) => set({ q: q || undefined })}
      />
      <QueryField
        label="Narrow by fields"
        placeholder="policy:new-* sensitivity>=3"
        value={search.filter ?? ""}
        fields={decisionFields}
        known={() => []}
        slash={false}
        error={search.filter ? error?.message : undefined}
        onApply={(f) => set({ filter: f || undefined })}
      />
      <select
        aria-label="Time"
        className="field"
        value={search.since ?? ""}
        onChange={(e) => set({ since: (e.target.value || undefined) as Since | undefined })}
      >
        {times.map(({ value, label }) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
      <Button aria-pressed={paused} onClick={() => setPaused(!paused)} title="Space">
        {paused ? <Play size={14} aria-hidden /> : <Pause size={14} aria-hidden />}
        {paused ? "Go on" : "Pause"}
      </Button>
      {search.identity && (
        <span className="inline-flex h-8 max-w-full items-center gap-1 rounded-control border border-line pl-2.5 text-13">
          <IdentityLink id={search.identity} />
          <Button look="quiet" icon aria-label="All identities" onClick={() => set({ identity: undefined })}>
            <X size={14} aria-hidden />
          </Button>
        </span>
      )}
      {search.point && <PointChip id={search.point} clear={() => set({ point: undefined })} />}
      <span className="ml-auto text-12 text-muted">
        {count(rows)} shown
        {dropped > 0 && `, ${count(dropped)} were too fast for this tab`}
      </span>
      <Export
        query={{
          filter: search.filter,
          outcome: search.outcome,
          identity: search.identity,
          point: search.point,
          since: from(search.since),
        }}
      />
    </div>
  );
}

const times: readonly { value: Since | ""; label: string }[] = [
  { value: "", label: "The latest" },
  { value: "1h", label: "1 hour" },
  { value: "24h", label: "24 hours" },
  { value: "7d", label: "7 days" },
  { value: "30d", label: "30 days" },
];

function PointChip({ id, clear }: { id: string; clear: () => void }) {
  const all = useQuery(points).data?.items ?? [];
  return (
    <span className="inline-flex h-8 max-w-full items-center gap-1 rounded-control border border-line pl-2.5 text-13">
      Point <Hostile text={all.find((p) => p.id === id)?.name ?? id} className="min-w-0" />
      <Button look="quiet" icon aria-label="All points" onClick={clear}>
        <X size={14} aria-hidden />
      </Button>
    </span>
  );
}

function WhyOf({ id, rows, onClose }: { id: string; rows: readonly Decision[]; onClose: () => void }) {
  const here = rows.find((d) => d.id === id);
  const asked = useQuery({ ...decision(id), enabled: !here });
  return <Why decision={here ?? asked.data} error={asked.error} onClose={onClose} />;
}

function NoRows({ filtered, past, clear }: { filtered: boolean; past: boolean; clear: () => void }) {
  return filtered ? (
    <Empty title="No decision matches">
      <p>
        New ones that match appear here by themselves.{" "}
        {!past && "Only the latest decisions are searched; choose a time to search the record."}
      </p>
      <p>
        <Button onClick={clear}>Show all</Button>
      </p>
    </Empty>
  ) : (
    <Empty title={past ? "No decisions in this time" : "No decisions since the server started"}>
      <p>
        {!past && "Older ones are on record: choose a time above. "} New ones appear as soon as an enforcement point
        asks. Enrol one, then send a request through it:
      </p>
      <Command line="muster point enroll edge --dialect authzen -o json" />
      <Command
        line={`curl -H "Authorization: Bearer $POINT_KEY" -H "Content-Type: application/json" ${window.location.origin}/access/v1/evaluation -d '{"subject":{"type":"identity","id":"nhi_THE_ID_OF_WHO_ASKS"},"action":{"name":"read"},"resource":{"type":"resource","id":"payments/api"}}'`}
      />
    </Empty>
  );
}
