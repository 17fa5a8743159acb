import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { Act } from "../access/Act";
import type { Approval } from "../api/client";
import { approvals, overview } from "../api/queries";
import { Button } from "../parts/Button";
import { Choice } from "../parts/Choice";
import { Command } from "../parts/Command";
import { Empty } from "../parts/Empty";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pair, Pairs } from "../parts/Pairs";
import { Pending } from "../parts/Pending";
import { Clock, Time } from "../parts/Time";
import { count, counted, plural } from "../text/format";
import { AnswerDialog } from "./AnswerDialog";
import { states } from "./states";

const route = getRouteApi("/approvals");

const tabs = [
  { value: "pending", label: "Waiting" },
  { value: "history", label: "History" },
] as const;

/** ApprovalsPage is where people say yes or no to what identities ask, and see what others said. */
export function ApprovalsPage() {
  const { view = "pending", id } = route.useSearch();
  const navigate = route.useNavigate();
  const waiting = useQuery(overview).data?.waiting?.length ?? 0;
  return (
    <div className="flex min-w-0 flex-col">
      <div className="flex flex-wrap items-center gap-2 border-b border-hair px-3 py-2 md:px-4">
        <h1 className="sr-only">Approvals</h1>
        <Choice
          label="Which approvals"
          value={id ? "" : view}
          options={tabs}
          onChange={(v) => navigate({ search: v === "history" ? { view: v } : {} })}
        />
        {id && (
          <Button look="quiet" onClick={() => navigate({ search: {} })}>
            All that wait
          </Button>
        )}
        {waiting > 0 && (
          <Link to="/policies" className="ml-auto text-13">
            {plural(waiting, "change")} of the policies {waiting === 1 ? "waits" : "wait"} too
          </Link>
        )}
      </div>
      <List
        key={id ?? view}
        filter={id ? `id:"${id.replaceAll('"', "")}"` : view === "history" ? "-state:pending" : "state:pending"}
      />
    </div>
  );
}

function List({ filter }: { filter: string }) {
  const list = useInfiniteQuery(approvals(filter));
  const [answering, setAnswering] = useState<{ approval: Approval; yes: boolean }>();
  if (!list.data) return <Pending what="The approvals" error={list.error} again={list.refetch} />;
  const rows = list.data.pages.flatMap((p) => p.items ?? []);
  if (rows.length === 0) return <Nothing />;
  return (
    <>
      <ul aria-label="What identities ask, the newest first" className="flex flex-col gap-3 p-3 md:p-4">
        {rows.map((a) => (
          <li key={a.id} data-approval={a.id} className="card min-w-0 p-4">
            <Question approval={a} onAnswer={(yes) => setAnswering({ approval: a, yes })} />
          </li>
        ))}
      </ul>
      <p className="flex items-center gap-3 px-4 pb-3 text-12 text-muted">
        {count(rows.length)} of {counted(list.data.pages[0]?.total ?? rows.length, list.data.pages[0]?.at_least)}
        {list.hasNextPage && (
          <Button disabled={list.isFetchingNextPage} onClick={() => list.fetchNextPage()}>
            Show more
          </Button>
        )}
      </p>
      {answering && <AnswerDialog {...answering} onClose={() => setAnswering(undefined)} />}
    </>
  );
}

function Question({ approval: a, onAnswer }: { approval: Approval; onAnswer: (yes: boolean) => void }) {
  const votes = a.votes ?? [];
  const reasons = a.reasons ?? [];
  const yeses = votes.filter((v) => v.yes).length;
  return (
    <div className="flex min-w-0 flex-wrap items-start gap-3">
      <div className="flex min-w-0 flex-1 basis-64 flex-col gap-2">
        <h2 className="flex min-w-0 flex-wrap items-baseline gap-x-2">
          <IdentityLink id={a.identity} name={a.name} />
          <span>
            asks to {a.action} <Hostile text={a.resource} className="whitespace-normal break-all" />
          </span>
        </h2>
        <p className="text-13 text-muted">
          {states[a.state]}
          {a.state === "pending" && (
            <>
              , until <Clock at={a.expires} />; {count(yeses)} of {count(a.needed)} said yes
            </>
          )}
          . Asked <Time at={a.asked} />.
        </p>
        <Pairs>
          <Pair name="What">
            <Hostile text={a.operation || a.action} className="mono whitespace-normal break-all" />, sensitivity{" "}
            {a.sensitivity}
          </Pair>
          {a.purpose && (
            <Pair name="What for">
              <Hostile text={a.purpose} className="whitespace-normal" />
            </Pair>
          )}
          {reasons.map((r) => (
            <Pair key={r.policy} name="Why">
              <Hostile text={r.text || r.policy} className="whitespace-normal" />
            </Pair>
          ))}
          <Pair name="From">
            <Hostile
              text={[a.address, a.network, a.country, a.agent].filter(Boolean).join(", ") || "unknown"}
              className="whitespace-normal"
            />
          </Pair>
          {a.point && (
            <Pair name="Point">
              <Hostile text={a.point_name || a.point} className="whitespace-normal" />
            </Pair>
          )}
          {votes.map((v) => (
            <Pair key={v.person} name={v.yes ? "Yes" : "No"}>
              <Hostile text={v.name || v.person} className="whitespace-normal" /> <Time at={v.at} />
              {v.comment && (
                <>
                  : <Hostile text={v.comment} className="whitespace-normal break-words" />
                </>
              )}
            </Pair>
          ))}
          {a.cancelled_by && (
            <Pair name="Closed by">
              <Hostile text={a.cancelled_by} className="whitespace-normal break-all" />
            </Pair>
          )}
        </Pairs>
      </div>
      {a.state === "pending" && (
        <div className="flex flex-wrap gap-2">
          <Act right="respond" look="danger" onClick={() => onAnswer(false)}>
            Deny
          </Act>
          <Act right="respond" look="main" onClick={() => onAnswer(true)}>
            Approve
          </Act>
        </div>
      )}
    </div>
  );
}

function Nothing() {
  return (
    <Empty title="Nobody waits for an answer here">
      <p>
        When a policy wants a person to say yes to a request, the question stands here, and the same request passes once
        after enough people said yes. A template writes such a policy:
      </p>
      <Command line="muster policy template render approval --id a-person --set sensitivity=4" />
    </Empty>
  );
}
