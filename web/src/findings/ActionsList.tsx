import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Action } from "../api/client";
import { actions } from "../api/queries";
import { Button } from "../parts/Button";
import { Empty } from "../parts/Empty";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pending } from "../parts/Pending";
import { Time } from "../parts/Time";
import { actionStatuses, measures } from "../text/words";
import { UndoDialog } from "./ActionCard";
import { useActs } from "./useActs";

/** ActionsList is everything that was done, the newest first, each with its way back. */
export function ActionsList() {
  const { data, error, refetch } = useQuery(actions);
  const [undoing, setUndoing] = useState<Action>();
  const { approve } = useActs();
  if (!data) return <Pending what="What was done" error={error} again={refetch} />;
  const done = data.items ?? [];
  if (done.length === 0)
    return (
      <Empty title="Nothing was contained yet">
        <p>When a leak is confirmed, its key is narrowed or suspended, and stands here with a way back.</p>
      </Empty>
    );
  return (
    <>
      <ul aria-label="What was done, the newest first">
        {done.map((a) => (
          <li
            key={a.id}
            className="row grid grid-cols-[minmax(0,1fr)_auto] items-center gap-x-4 px-4 py-1 text-13 md:grid-cols-[84px_minmax(210px,1fr)_minmax(0,1fr)_minmax(0,1.4fr)_auto]"
          >
            <span className="hidden text-muted md:block">
              <Time at={a.at} />
            </span>
            <span className="min-w-0">
              {a.status === "proposed" ? measures[a.measure].proposed : measures[a.measure].done}
            </span>
            <span className="col-start-1 flex min-w-0 md:col-start-auto">
              <IdentityLink id={a.identity} />
            </span>
            <span className="col-start-1 flex min-w-0 gap-x-3 text-muted md:col-start-auto">
              <span className="shrink-0">{actionStatuses[a.status]}</span>
              <span className="shrink-0 md:hidden">
                <Time at={a.at} />
              </span>
              <Hostile text={a.reason} className="hidden md:block" />
            </span>
            <span className="col-start-2 row-span-3 row-start-1 flex items-center justify-end gap-3 md:col-start-auto md:row-span-1">
              {a.finding && (
                <Link to="/findings" search={{ status: "all", id: a.finding }}>
                  Finding
                </Link>
              )}
              {a.status === "proposed" && (
                <Button look="main" disabled={approve.isPending} onClick={() => approve.mutate(a)}>
                  Approve
                </Button>
              )}
              {a.undoable && a.status === "done" && <Button onClick={() => setUndoing(a)}>Undo</Button>}
            </span>
          </li>
        ))}
      </ul>
      {undoing && <UndoDialog action={undoing} name={undefined} onClose={() => setUndoing(undefined)} />}
    </>
  );
}
