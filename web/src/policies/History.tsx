import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Snapshot } from "../api/client";
import { snapshots } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Command } from "../parts/Command";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Shape } from "../parts/Shape";
import { Time } from "../parts/Time";
import { count, counted } from "../text/format";
import { author, short, size, states } from "./states";

/** History is what was put into force, by whom, when and why. */
export function History() {
  const list = useInfiniteQuery(snapshots);
  if (!list.data) return <Pending what="The history of the policies" error={list.error} again={list.refetch} />;
  const rows = list.data.pages.flatMap((p) => p.items ?? []);
  return (
    <Card title="History, the newest first" flush>
      <ul aria-label="Snapshots, the newest first">
        {rows.map((s) => (
          <Row key={s.sequence} s={s} />
        ))}
      </ul>
      <p className="flex items-center gap-3 border-t border-hair px-4 py-2 text-12 text-muted">
        {count(rows.length)} of {counted(list.data.pages[0]?.total ?? rows.length, list.data.pages[0]?.at_least)}
        {list.hasNextPage && (
          <Button disabled={list.isFetchingNextPage} onClick={() => list.fetchNextPage()}>
            Show more
          </Button>
        )}
      </p>
      <div className="flex flex-col gap-2 border-t border-hair px-4 py-3 text-13">
        <p className="text-muted">Policies are files. A folder of them is checked, then put into force as a whole:</p>
        <Command line={'muster policy push DIR --note "what it is for"'} />
      </div>
    </Card>
  );
}

function Row({ s }: { s: Snapshot }) {
  const { label, shape, tone } = states[s.state];
  return (
    <li data-snapshot={s.digest} data-state={s.state} className="row border-t border-b-0 border-hair">
      <Link
        to="/policies"
        search={{ snapshot: s.digest }}
        className="grid grid-cols-[44px_minmax(0,1fr)] gap-x-3 px-4 py-2 text-13 text-fg no-underline hover:no-underline md:grid-cols-[44px_112px_minmax(0,1fr)_minmax(0,240px)]"
      >
        <span className="text-right text-muted tabular-nums">{count(s.sequence)}</span>
        <span className="mono self-center">{short(s.digest)}</span>
        <span className="col-start-2 flex min-w-0 flex-col md:col-start-auto">
          <Hostile text={s.note || "no reason given"} className={s.note ? "" : "text-muted"} />
          <span className="text-12 text-muted">{size(s)}</span>
        </span>
        <span className="col-start-2 flex min-w-0 flex-col md:col-start-auto">
          <span className={`flex min-w-0 items-center gap-1.5 ${tone}`}>
            <Shape name={shape} /> <span className="min-w-0">{label}</span>
          </span>
          <span className="flex min-w-0 gap-1 text-12 text-muted">
            <Hostile text={author(s)} className="min-w-0" />
            <span className="shrink-0">
              <Time at={s.at} />
            </span>
          </span>
        </span>
      </Link>
    </li>
  );
}
