import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Policy } from "../api/client";
import { inForce, snapshots } from "../api/queries";
import { QueryField } from "../filter/QueryField";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Command } from "../parts/Command";
import { Empty } from "../parts/Empty";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Shape } from "../parts/Shape";
import { Time } from "../parts/Time";
import { count, counted } from "../text/format";
import { obligations } from "../text/words";
import { Cedar } from "./Cedar";
import { policyFields } from "./fields";
import { author, short } from "./states";

const route = getRouteApi("/policies");

/** InForce is every policy that decides now, with where it stands and what is doubtful about it. */
export function InForce({ filter }: { filter: string }) {
  const navigate = route.useNavigate();
  const list = useInfiniteQuery(inForce(filter));
  const history = useInfiniteQuery(snapshots);
  const active = history.data?.pages[0]?.items.find((s) => s.state === "active");
  const rows = list.data?.pages.flatMap((p) => p.items ?? []) ?? [];
  return (
    <>
      {active && (
        <p className="max-w-none text-13">
          <span className="mr-1.5 inline-block text-allow">
            <Shape name="dot" />
          </span>
          Snapshot{" "}
          <Link to="/policies" search={{ snapshot: active.digest }}>
            {count(active.sequence)} (<span className="mono">{short(active.digest)}</span>)
          </Link>{" "}
          came into force <Time at={active.activated ?? active.at} />, by{" "}
          <Hostile text={author(active)} className="whitespace-normal break-all" />{" "}
          {active.note && <Hostile text={`“${active.note}”`} className="whitespace-normal break-words" />}
        </p>
      )}
      <div className="flex min-w-0">
        <QueryField
          label="Narrow the policies"
          placeholder="effect:permit unscoped:true warnings>0"
          value={filter}
          fields={policyFields}
          known={() => []}
          error={list.error?.message}
          onApply={(f) => navigate({ search: { filter: f || undefined }, replace: true })}
        />
      </div>
      {!list.data ? (
        !list.error && <Pending what="The policies" error={list.error} again={list.refetch} />
      ) : rows.length === 0 ? (
        <Empty title="No policy matches">
          <p>
            <Button onClick={() => navigate({ search: {}, replace: true })}>Show all</Button>
          </p>
        </Empty>
      ) : (
        <Card
          title={`Policies in force: ${counted(list.data.pages[0]?.total ?? rows.length, list.data.pages[0]?.at_least)}`}
          flush
        >
          <ul aria-label="Policies in force">
            {rows.map((p) => (
              <Row key={`${p.file} ${p.id}`} p={p} digest={active?.digest} />
            ))}
          </ul>
          {list.hasNextPage && (
            <p className="border-t border-hair px-4 py-2">
              <Button disabled={list.isFetchingNextPage} onClick={() => list.fetchNextPage()}>
                Show more
              </Button>
            </p>
          )}
          <div className="border-t border-hair px-4 py-3">
            <Command line="muster policy pull DIR" />
          </div>
        </Card>
      )}
    </>
  );
}

function Row({ p, digest }: { p: Policy; digest: string | undefined }) {
  const [open, setOpen] = useState(false);
  return (
    <li data-policy={p.id} className="border-t border-hair">
      <details onToggle={(e) => setOpen(e.currentTarget.open)}>
        <summary className="flex flex-wrap items-baseline gap-x-3 gap-y-0.5 px-4 py-2 text-13 hover:bg-raised">
          <span
            className={`flex w-18 shrink-0 items-center gap-1.5 self-center ${p.effect === "permit" ? "text-allow" : p.step_up ? "text-stepup" : "text-deny"}`}
          >
            <Shape name={p.effect === "permit" ? "dot" : p.step_up ? "half" : "square"} />
            {p.step_up ? "step-up" : p.effect}
          </span>
          <Hostile text={p.id} className="font-[600]" />
          {p.guard && <span className="text-12 text-muted">built in</span>}
          {p.unscoped && p.effect === "permit" && <span className="text-12 text-stepup">for everybody</span>}
          {p.warnings.length > 0 && <span className="text-12 text-stepup">{count(p.warnings.length)} doubtful</span>}
          <Hostile text={`${p.file}:${p.line}`} className="mono ml-auto min-w-0 text-muted" />
          <Hostile text={p.text} className="w-full whitespace-normal break-words text-muted md:pl-21" />
        </summary>
        {open && (
          <div className="flex min-w-0 flex-col gap-2 px-4 pb-3">
            {p.warnings.map((w) => (
              <p key={w} className="text-13 text-stepup">
                <Hostile text={w} className="whitespace-normal break-words" />
              </p>
            ))}
            {p.step_up && obligations[p.step_up] && <p className="text-13 text-muted">{obligations[p.step_up]}</p>}
            <Cedar text={p.source} first={p.line} label={`Cedar of ${p.id}`} />
            {!p.guard && digest && (
              <p className="text-13">
                <Link to="/policies" search={{ snapshot: digest, file: p.file, line: String(p.line) }}>
                  In its file
                </Link>
                {" · "}
                <Link to="/activity" search={{ filter: `policy:"${p.id.replaceAll('"', "")}"` }}>
                  Decisions by it
                </Link>
              </p>
            )}
          </div>
        )}
      </details>
    </li>
  );
}
