import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { Act } from "../access/Act";
import type { SnapshotDetail } from "../api/client";
import { snapshot, snapshots } from "../api/queries";
import { Card } from "../parts/Card";
import { Choice } from "../parts/Choice";
import { Copy } from "../parts/Copy";
import { Hostile } from "../parts/Hostile";
import { Pair, Pairs } from "../parts/Pairs";
import { Pending } from "../parts/Pending";
import { Shape } from "../parts/Shape";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { Cedar } from "./Cedar";
import { Difference } from "./Difference";
import { SnapshotDialog } from "./SnapshotDialog";
import { author, short, size, states } from "./states";
import { Waiting } from "./Waiting";

const route = getRouteApi("/policies");

/** SnapshotView is one entry of the history: who, when and why, what it changed, and its files. */
export function SnapshotView({ digest }: { digest: string }) {
  const { data: s, error, refetch } = useQuery(snapshot(digest));
  if (!s) return <Pending what="The snapshot" error={error} again={refetch} rows={10} />;
  return (
    <>
      {s.state === "waiting" && <Waiting snapshot={s} />}
      <Head s={s} />
      <Changes s={s} />
      <Files s={s} />
    </>
  );
}

function Head({ s }: { s: SnapshotDetail }) {
  const navigate = route.useNavigate();
  const [going, setGoing] = useState(false);
  const { label, shape, tone } = states[s.state];
  return (
    <Card
      title={`Snapshot ${count(s.sequence)}`}
      aside={
        s.state !== "active" &&
        s.state !== "waiting" &&
        s.state !== "staged" && (
          <Act right="administer" onClick={() => setGoing(true)}>
            Go back to it
          </Act>
        )
      }
    >
      <Pairs>
        <Pair name="State">
          <span className={`inline-flex flex-wrap items-center gap-1.5 ${tone}`}>
            <Shape name={shape} /> {label}
          </span>
        </Pair>
        <Pair name="By">
          <Hostile text={author(s)} className="whitespace-normal break-all" /> <Time at={s.at} />
        </Pair>
        {s.note && (
          <Pair name="Why">
            <Hostile text={s.note} className="whitespace-normal break-words" />
          </Pair>
        )}
        {s.confirmed.map((c) => (
          <Pair key={c.person} name="Confirmed">
            <Hostile text={c.name || c.person} className="whitespace-normal" /> <Time at={c.at} />
          </Pair>
        ))}
        {s.activated && (
          <Pair name="In force">
            since <Time at={s.activated} />
            {s.ended && (
              <>
                , until <Time at={s.ended} />
              </>
            )}
          </Pair>
        )}
        {s.ended_by && (
          <Pair name="Withdrawn">
            by <Hostile text={s.ended_by} className="whitespace-normal break-all" /> <Time at={s.ended} />
            {s.ended_why && (
              <>
                : <Hostile text={s.ended_why} className="whitespace-normal break-words" />
              </>
            )}
          </Pair>
        )}
        <Pair name="Change">{size(s)}</Pair>
        <Pair name="Content">
          {plural(s.policies, "policy", "policies")} in {plural(s.files, "file")}
        </Pair>
        <Pair name="Digest">
          <span className="flex min-w-0 items-center gap-2">
            <span className="mono min-w-0 break-all">{s.digest}</span>
            <Copy text={s.digest} label="Copy the digest" />
          </span>
        </Pair>
        <Pair name="Decisions">
          <Link to="/activity" search={{ filter: `snapshot:${s.effective}`, since: "7d" }}>
            Made by it in the last 7 days
          </Link>
        </Pair>
      </Pairs>
      {going && (
        <SnapshotDialog
          kind="rollback"
          snapshot={s}
          onClose={() => setGoing(false)}
          onDone={(now) => navigate({ search: { snapshot: now.digest } })}
        />
      )}
    </Card>
  );
}

/** Changes compares a snapshot with the one before it, or with the one in force. */
function Changes({ s }: { s: SnapshotDetail }) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const active = useInfiniteQuery(snapshots).data?.pages[0]?.items.find((x) => x.state === "active");
  const force = search.with === "force" && active && active.digest !== s.digest;
  const other = force ? active.digest : s.parent;
  return (
    <Card
      title={force ? "What is different from what is in force" : "What it changed"}
      flush
      aside={
        active && active.digest !== s.digest && active.digest !== s.parent ? (
          <Choice
            label="Compare with"
            value={force ? "force" : "before"}
            options={[
              { value: "before", label: "The one before" },
              { value: "force", label: "In force" },
            ]}
            onChange={(v) =>
              navigate({ search: (b) => ({ ...b, with: v === "force" ? v : undefined }), replace: true })
            }
          />
        ) : undefined
      }
    >
      {other ? (
        <Against s={s} digest={other} />
      ) : (
        <p className="px-4 pb-4 text-13 text-muted">It is the first: the history begins with it.</p>
      )}
    </Card>
  );
}

function Against({ s, digest }: { s: SnapshotDetail; digest: string }) {
  const { data: old, error, refetch } = useQuery(snapshot(digest));
  if (!old) return <Pending what={`Snapshot ${short(digest)}`} error={error} again={refetch} rows={4} />;
  return <Difference old={old.contents} now={s.contents} />;
}

/** Files shows one file of the snapshot at a time: policies, grants and tests. */
function Files({ s }: { s: SnapshotDetail }) {
  const { file, line } = route.useSearch();
  const navigate = route.useNavigate();
  const first = s.contents[0];
  if (!first)
    return (
      <Card title="Files">
        <p className="text-13 text-muted">None: only the built-in guards decide.</p>
      </Card>
    );
  const shown = s.contents.find((f) => f.name === file) ?? first;
  return (
    <Card title={`Files: ${count(s.contents.length)}`}>
      <div className="grid min-w-0 gap-3 lg:grid-cols-[minmax(200px,280px)_minmax(0,1fr)]">
        <ul aria-label="Files" className="flex max-h-[60dvh] min-w-0 flex-col overflow-auto text-13">
          {s.contents.map((f) => (
            <li key={f.name}>
              <button
                type="button"
                aria-current={f === shown ? "true" : undefined}
                onClick={() =>
                  navigate({
                    search: (b) => ({ ...b, file: f.name, line: undefined }),
                    replace: true,
                    resetScroll: false,
                  })
                }
                className="row flex w-full min-w-0 items-center gap-2 border-b-0 px-2 text-left"
              >
                <Hostile text={f.name} className="mono min-w-0" />
                {f.generated && <span className="ml-auto shrink-0 text-12 text-muted">from grants</span>}
              </button>
            </li>
          ))}
        </ul>
        <Cedar key={shown.name} text={shown.text} marked={Number(line) || undefined} label={`File ${shown.name}`} />
      </div>
    </Card>
  );
}
