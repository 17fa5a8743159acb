import { useQuery } from "@tanstack/react-query";
import { ArrowRight } from "lucide-react";
import type { ReactNode } from "react";
import type { IdentityDetail, LineageOf } from "../api/client";
import { lineage } from "../api/queries";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pending } from "../parts/Pending";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { countryName, resourceName } from "../text/words";
import { Reaches } from "./Reaches";

/** How many things a station shows before it says how many more there are. */
const few = 4;

/** Lineage follows an identity from its origin over where its secrets lie and who uses them to what it can reach. */
export function Lineage({ i }: { i: IdentityDetail }) {
  const { data: l, error, refetch } = useQuery(lineage(i.id));
  return (
    <section aria-label="Lineage" className="card min-w-0">
      {!l ? (
        <Pending what="The lineage" error={error} again={refetch} rows={4} />
      ) : (
        <>
          <ol className="grid min-w-0 gap-x-2 gap-y-4 p-4 md:grid-cols-2 xl:grid-cols-[1fr_1fr_1fr_1.4fr]">
            <Origin l={l} />
            <Stored l={l} />
            <Consumers l={l} />
            <Station title="Can reach" last count={(l.reaches ?? []).length} empty="No resource that Muster knows of.">
              <ReachSummary l={l} />
            </Station>
          </ol>
          <Reaches i={i} l={l} />
        </>
      )}
    </section>
  );
}

function Station({
  title,
  count: n,
  empty,
  last = false,
  children,
}: {
  title: string;
  count: number;
  empty: string;
  last?: boolean;
  children: ReactNode;
}) {
  return (
    <li className="flex min-w-0 flex-col gap-1 text-13">
      <h2 className="flex items-center gap-2 text-13 text-muted">
        {title}
        {!last && (
          <span className="flex flex-1 items-center" aria-hidden>
            <span className="h-px flex-1 bg-line" />
            <ArrowRight size={14} className="-ml-1 text-line" />
          </span>
        )}
      </h2>
      {n === 0 ? (
        <p className="text-muted">{empty}</p>
      ) : (
        <ul className="flex min-w-0 flex-col gap-1">
          {children}
          {n > few && !last && <li className="text-12 text-muted">and {count(n - few)} more</li>}
        </ul>
      )}
    </li>
  );
}

function Origin({ l }: { l: LineageOf }) {
  const all = l.origin ?? [];
  return (
    <Station title="Origin" count={all.length} empty="Nothing tells where it comes from.">
      {all.slice(0, few).map((o) => (
        <li key={o.kind + o.name + o.detail} className="min-w-0">
          <Hostile text={o.name} className="block" />
          <span className="flex min-w-0 gap-1.5 text-12 text-muted">
            <Hostile text={o.detail || o.kind} className="min-w-0" />
            {o.at && (
              <span className="shrink-0">
                <Time at={o.at} />
              </span>
            )}
          </span>
        </li>
      ))}
    </Station>
  );
}

function Stored({ l }: { l: LineageOf }) {
  const all = l.stored_in ?? [];
  return (
    <Station title="Stored in" count={all.length} empty="No place is known. A scan or a leak report tells of one.">
      {all.slice(0, few).map((s) => (
        <li key={s.place.kind + s.place.name + s.place.line + s.credential} className="min-w-0">
          <Hostile text={`${s.place.name}${s.place.line ? `:${s.place.line}` : ""}`} className="mono block" />
          <span className="text-12 text-muted">
            <span className={s.place.public ? "text-deny" : ""}>
              {s.place.kind}
              {s.place.public && ", public"}
            </span>
            , {s.verdict}, <Time at={s.at} />
          </span>
        </li>
      ))}
    </Station>
  );
}

const ways: Record<string, string> = { pinned: "pinned to it", seen: "seen", learned: "usual" };

function Consumers({ l }: { l: LineageOf }) {
  const all = l.consumers ?? [];
  return (
    <Station title="Consumed by" count={all.length} empty="Nobody was seen using it.">
      {all.slice(0, few).map((c) => (
        <li key={c.kind + c.name + (c.credential ?? "") + (c.country ?? "")} className="min-w-0">
          <span className="flex min-w-0">
            {c.identity ? <IdentityLink id={c.identity} name={c.name} /> : <Hostile text={c.name} />}
          </span>
          <span className="text-12 text-muted">
            {ways[c.kind] ?? c.kind}
            {c.country && `, ${countryName(c.country)}`}
            {c.count ? `, ${plural(c.count, "call")}` : ""}
            {c.last_used && (
              <>
                , <Time at={c.last_used} />
              </>
            )}
          </span>
        </li>
      ))}
    </Station>
  );
}

function ReachSummary({ l }: { l: LineageOf }) {
  const all = l.reaches ?? [];
  return (
    <>
      {all.slice(0, few).map((r) => {
        const actions = r.granted ?? [];
        const open = actions.some((a) => a.includes("*")); // a wildcard cannot be counted
        const granted = open ? 0 : actions.length;
        const used = (r.used ?? []).length;
        return (
          <li key={r.resource + r.service} className="min-w-0">
            <span className="flex min-w-0 items-center gap-2">
              <Hostile text={resourceName(r.resource)} className="min-w-0" />
              {r.admin && <span className="shrink-0 text-12 text-deny">administrator</span>}
              <span className="ml-auto shrink-0 text-12 text-muted">
                {open
                  ? `${count(used)} used of ${actions.includes("*") ? "every action" : "a wildcard"}`
                  : granted === 0
                    ? `${count(used)} used`
                    : `${count(used)} of ${count(granted)} used`}
              </span>
            </span>
            <svg viewBox="0 0 100 4" preserveAspectRatio="none" className="block h-1 w-full" aria-hidden="true">
              <rect width="100" height="4" className="fill-raised" />
              <rect
                width={open ? 0 : granted === 0 ? (used > 0 ? 100 : 0) : Math.min(100, (used / granted) * 100)}
                height="4"
                className="fill-accent"
              />
            </svg>
          </li>
        );
      })}
      {all.length > few && <li className="text-12 text-muted">and {count(all.length - few)} more, listed below</li>}
    </>
  );
}
