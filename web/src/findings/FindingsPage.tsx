import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Finding } from "../api/client";
import { type FindingStatus, findings } from "../api/queries";
import { Button } from "../parts/Button";
import { Choice } from "../parts/Choice";
import { Command } from "../parts/Command";
import { Empty } from "../parts/Empty";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Severity } from "../parts/Severity";
import { Time } from "../parts/Time";
import { useMedia } from "../parts/useMedia";
import { count, counted } from "../text/format";
import { actionStatuses, statuses } from "../text/words";
import { ActionsList } from "./ActionsList";
import { FindingDetail } from "./FindingDetail";

const route = getRouteApi("/findings");

const tabs = [
  { value: "open", label: "Open" },
  { value: "acknowledged", label: "Acknowledged" },
  { value: "resolved", label: "Resolved" },
  { value: "dismissed", label: "Dismissed" },
  { value: "all", label: "All" },
  { value: "actions", label: "What was done" },
] as const;

/** FindingsPage shows what is wrong, what was done about it, and takes it back. */
export function FindingsPage() {
  const { status = "open", view, id } = route.useSearch();
  const navigate = route.useNavigate();
  const list = useFindings(status, view === undefined);
  // Where there is room for both, the worst finding is open from the start.
  const [opened, setOpened] = useState<{ status: string; id: string }>();
  const first = list.data?.pages[0]?.items?.[0]?.id;
  // It stays open when a worse one arrives: nobody is moved while reading.
  if (first && opened?.status !== status) setOpened({ status, id: first });
  const wide = useMedia("(min-width: 1080px)");
  const shown = id ?? (wide && opened?.status === status ? opened.id : undefined);
  return (
    <div className="flex min-w-0 flex-col">
      <div className="flex flex-wrap items-center gap-2 border-b border-hair px-3 py-2 md:px-4">
        <h1 className="sr-only">Findings</h1>
        <Choice
          label="Which findings"
          value={view ?? status}
          options={tabs}
          onChange={(v) =>
            navigate({
              search: v === "actions" ? { view: "actions" } : { status: v === "open" ? undefined : v },
            })
          }
        />
      </div>
      {view === "actions" ? (
        <ActionsList />
      ) : (
        <div className="grid min-w-0 lg:grid-cols-[minmax(320px,5fr)_minmax(0,7fr)]">
          <div
            className={`min-w-0 border-hair lg:sticky lg:top-12 lg:h-[calc(100dvh-97px)] lg:overflow-y-auto lg:border-r ${id ? "hidden lg:block" : ""}`}
          >
            <List list={list} status={status} shown={shown} />
          </div>
          <div className="min-w-0">{shown && <FindingDetail key={shown} id={shown} />}</div>
        </div>
      )}
    </div>
  );
}

function useFindings(status: FindingStatus | "all", enabled: boolean) {
  return useInfiniteQuery({ ...findings(status === "all" ? {} : { status }), enabled });
}

function List({
  list,
  status,
  shown,
}: {
  list: ReturnType<typeof useFindings>;
  status: FindingStatus | "all";
  shown: string | undefined;
}) {
  if (!list.data) return <Pending what="The findings" error={list.error} again={list.refetch} />;
  const found = list.data.pages.flatMap((p) => p.items ?? []);
  const total = list.data.pages[0]?.total ?? found.length;
  if (found.length === 0) return <Nothing status={status} />;
  return (
    <>
      <ul aria-label="Findings, the worst first">
        {found.map((f) => (
          <li key={f.id}>
            <Row f={f} chosen={f.id === shown} />
          </li>
        ))}
      </ul>
      <p className="flex items-center gap-3 px-4 py-3 text-12 text-muted">
        {count(found.length)} of {counted(total, list.data.pages[0]?.at_least)}
        {list.hasNextPage && (
          <Button disabled={list.isFetchingNextPage} onClick={() => list.fetchNextPage()}>
            Show more
          </Button>
        )}
      </p>
    </>
  );
}

function Row({ f, chosen }: { f: Finding; chosen: boolean }) {
  return (
    <Link
      from="/findings"
      to="/findings"
      search={(before) => ({ ...before, id: f.id })}
      aria-current={chosen ? "true" : undefined}
      data-finding={f.id}
      className="row flex flex-col gap-0.5 px-4 py-2 text-fg no-underline hover:no-underline"
    >
      <span className="flex items-baseline gap-2">
        <Hostile text={f.title} className="min-w-0 flex-1 font-[600]" />
        <span className="shrink-0 text-12 text-muted">
          <Time at={f.last_seen} />
        </span>
      </span>
      <span className="flex min-w-0 items-center gap-3 text-12 text-muted">
        <Severity severity={f.severity} />
        <Hostile text={f.name || f.identity || "no identity is known"} className="min-w-0 flex-1" />
        <span className="shrink-0">{f.action ? actionStatuses[f.action.status] : statuses[f.status]}</span>
      </span>
    </Link>
  );
}

function Nothing({ status }: { status: FindingStatus | "all" }) {
  if (status !== "open" && status !== "all")
    return (
      <Empty title={`No ${statuses[status].toLowerCase()} findings`}>
        <p>What you decide about a finding moves it here.</p>
      </Empty>
    );
  return (
    <Empty title="Nothing is wrong, as far as Muster can see">
      <p>
        It sees leaks that are reported, and behaviour in the logs it is given. To look for leaked keys in a folder of
        yours:
      </p>
      <Command line={`muster scan . --report-to ${window.location.origin}`} />
      <p>To compare what identities did with what they usually do:</p>
      <Command line={`muster replay cloudtrail/*.json.gz --to ${window.location.origin}`} />
    </Empty>
  );
}
