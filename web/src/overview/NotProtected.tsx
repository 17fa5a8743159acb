import { Link } from "@tanstack/react-router";
import { ShieldOff, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import type { Overview } from "../api/client";
import { Hostile } from "../parts/Hostile";
import { count, full, instant, plural } from "../text/format";

/** NotProtected says loudly what keeps the installation from being protected. */
export function NotProtected({ overview: o }: { overview: Overview }) {
  const observing = o.unprotected ?? [];
  const noPoint = (o.points ?? []).filter((p) => !p.disabled).length === 0;
  const built = instant(o.geo_built);
  return (
    <>
      {noPoint && (
        <Warning title="Not protected: there is no enforcement point">
          Nothing asks Muster before it serves a request. <Link to="/points">Enrol a point</Link>
        </Warning>
      )}
      {observing.length > 0 && (
        <Warning
          title={`Not protected: ${plural(observing.length, "point")} only ${observing.length === 1 ? "observes" : "observe"}`}
        >
          <span className="inline-flex max-w-full flex-wrap gap-x-2">
            {observing.slice(0, 5).map((name) => (
              <Hostile key={name} text={name} className="font-[600]" />
            ))}
            {observing.length > 5 && <span>and {count(observing.length - 5)} more</span>}
          </span>{" "}
          let {plural(o.would_refuse, "request")} pass that the policies refuse.{" "}
          <Link to="/points">Switch to enforce</Link>
        </Warning>
      )}
      {o.unlogged > 0 && (
        <Warning title={`${plural(o.unlogged, "decision")} could not be recorded`}>
          The journal is full or its disk fails; what must be recorded first is denied. Free space in the data folder.
        </Warning>
      )}
      {o.geo_stale && (
        <Warning title="The network data is old">
          Countries and networks were compiled {built ? full(built) : "long ago"}: new networks may be mistaken for
          unusual ones. Update Muster.
        </Warning>
      )}
    </>
  );
}

function Warning({ title, children }: { title: string; children: ReactNode }) {
  const Icon = title.startsWith("Not protected") ? ShieldOff : TriangleAlert;
  return (
    <section aria-label={title} className="card flex gap-3 border-stepup px-4 py-3">
      <Icon size={20} aria-hidden className="mt-0.5 shrink-0 text-stepup" />
      <div className="min-w-0">
        <h2 className="text-stepup">{title}</h2>
        <p>{children}</p>
      </div>
    </section>
  );
}
