import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Action } from "../api/client";
import { actions } from "../api/queries";
import { Button } from "../parts/Button";
import { Empty } from "../parts/Empty";
import { Failure } from "../parts/Failure";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Skeleton } from "../parts/Skeleton";
import { Time } from "../parts/Time";
import { actionStatuses, measures } from "../text/words";
import { UndoDialog } from "./ActionCard";
import { useActs } from "./useActs";

/** ActionsList is everything that was done, the newest first, each with its way back. */
export function ActionsList() {
  const { data, error, refetch } = useQuery(actions);
  const [undoing, setUndoing] = useState<Action>();
  const { approve } = useActs();
  if (!data) return error ? <Failure what="What was done" error={error} again={refetch} /> : <Skeleton />;
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
          <li key={a.id} className="row flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2 text-13">
            <span className="w-20 text-muted">
              <Time at={a.at} />
            </span>
            <span className="min-w-0 basis-52">
              {a.status === "proposed" ? measures[a.measure].proposed : measures[a.measure].done}
            </span>
            <span className="flex min-w-0 flex-1 basis-40">
              <IdentityLink id={a.identity} />
            </span>
            <span className="hidden min-w-0 flex-1 text-muted xl:flex">
              <Hostile text={a.reason} />
            </span>
            <span className="w-32 text-muted">{actionStatuses[a.status]}</span>
            <span className="flex w-40 justify-end gap-2">
              {a.finding && (
                <Link to="/findings" search={{ status: "all", id: a.finding }} className="self-center">
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
      {undoing && <UndoDialog action={undoing} name={undefined} open onClose={() => setUndoing(undefined)} />}
    </>
  );
}
