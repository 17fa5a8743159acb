import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useState } from "react";
import { Act } from "../access/Act";
import type { Point } from "../api/client";
import { points } from "../api/queries";
import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Shape } from "../parts/Shape";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { Connect } from "./Connect";
import { EnrolDialog } from "./EnrolDialog";
import { GlassDialog } from "./GlassDialog";
import { PointDialog } from "./PointDialog";
import { dialectNames } from "./snippets";

const route = getRouteApi("/points");

/** PointsPage shows where decisions bite. */
export function PointsPage() {
  const { point } = route.useSearch();
  const { data, error, refetch } = useQuery(points);
  const [enrolling, setEnrolling] = useState(false);
  const [changing, setChanging] = useState<Point>();
  const [glass, setGlass] = useState<Point>();
  if (!data) return <Pending what="The points" error={error} again={refetch} />;
  const all = data.items ?? [];
  return (
    <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
      <h1 className="sr-only">Points</h1>
      <Card
        title={`Enforcement points: ${count(all.length)}`}
        flush
        aside={
          <Act right="administer" onClick={() => setEnrolling(true)}>
            <Plus size={14} aria-hidden /> Enrol a point
          </Act>
        }
      >
        {all.length === 0 ? (
          <p className="px-4 pb-4 text-muted">
            Nothing asks Muster yet, so nothing is protected. Enrol the first point; it only observes until you switch
            it.
          </p>
        ) : (
          <ul aria-label="Enforcement points">
            {all.map((p) => (
              <Row
                key={p.id}
                p={p}
                chosen={p.id === point}
                onChange={() => setChanging(p)}
                onGlass={() => setGlass(p)}
              />
            ))}
          </ul>
        )}
      </Card>
      <Connect preferred={all[0]?.dialect ?? "nginx"} />
      {enrolling && <EnrolDialog onClose={() => setEnrolling(false)} />}
      {changing && <PointDialog point={changing} onClose={() => setChanging(undefined)} />}
      {glass && <GlassDialog point={glass} onClose={() => setGlass(undefined)} />}
    </div>
  );
}

type RowProps = { p: Point; chosen: boolean; onChange: () => void; onGlass: () => void };

function Row({ p, chosen, onChange, onGlass }: RowProps) {
  const resources = p.resources ?? [];
  const sources = p.sources ?? [];
  return (
    <li
      aria-current={chosen ? "true" : undefined}
      className="row flex flex-wrap items-center gap-x-6 gap-y-1 border-t border-b-0 border-hair px-4 py-2"
    >
      <div className="min-w-0 flex-1 basis-60">
        <Hostile text={p.name} className="block font-[600]" />
        <span className="flex min-w-0 flex-wrap gap-x-1.5 text-12 text-muted">
          <span>{dialectNames[p.dialect]},</span>
          {p.assert && <span title="The application behind can check each decision">signs its decisions,</span>}
          <span title={resources.join(", ").slice(0, 2_000)}>
            {resources.length === 0 ? "guards every resource" : `guards ${plural(resources.length, "resource")}`},
          </span>
          <Hostile text={`from ${sources.join(", ") || "this machine"},`} className="min-w-0" />
          <span>
            since <Time at={p.created} />
          </span>
        </span>
      </div>
      <Protection p={p} />
      <span className="flex items-center gap-3">
        <Link to="/activity" search={{ point: p.id }} className="text-13">
          Decisions
        </Link>
        <Act right="administer" onClick={onGlass}>
          Break-glass
        </Act>
        <Act right="administer" onClick={onChange}>
          Change
        </Act>
      </span>
    </li>
  );
}

function Protection({ p }: { p: Point }) {
  if (p.disabled)
    return (
      <span className="flex basis-60 items-center gap-1.5 text-13 text-muted">
        <Shape name="square" /> Disabled: it gets no answers
      </span>
    );
  if (p.mode === "observe")
    return (
      <span className="flex basis-60 items-center gap-1.5 text-13 text-stepup">
        <Shape name="half" /> Observes, not protected: would have refused {count(p.would_refuse)} since the start
      </span>
    );
  return (
    <span className={`flex basis-60 items-center gap-1.5 text-13 ${p.percent < 100 ? "text-stepup" : "text-allow"}`}>
      <Shape name={p.percent < 100 ? "half" : "dot"} /> Enforces for {p.percent} % of callers
    </span>
  );
}
