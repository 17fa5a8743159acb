import { useQuery } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useState } from "react";
import type { Point } from "../api/client";
import { points } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Failure } from "../parts/Failure";
import { Hostile } from "../parts/Hostile";
import { Shape } from "../parts/Shape";
import { Skeleton } from "../parts/Skeleton";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { Connect } from "./Connect";
import { EnrolDialog } from "./EnrolDialog";
import { ModeDialog } from "./ModeDialog";
import { Sources } from "./Sources";

/** PointsPage shows where decisions bite, and who reports logs and leaks. */
export function PointsPage() {
  const { data, error, refetch } = useQuery(points);
  const [enrolling, setEnrolling] = useState(false);
  const [changing, setChanging] = useState<Point>();
  if (!data) return error ? <Failure what="The points" error={error} again={refetch} /> : <Skeleton />;
  const all = data.items ?? [];
  return (
    <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
      <h1 className="sr-only">Points and sources</h1>
      <Card
        title={`Enforcement points: ${count(all.length)}`}
        flush
        aside={
          <Button onClick={() => setEnrolling(true)}>
            <Plus size={14} aria-hidden /> Enrol a point
          </Button>
        }
      >
        {all.length === 0 ? (
          <p className="px-4 pb-4 text-muted">
            Nothing asks Muster yet, so nothing is protected. Enrol the first point; it only observes until you switch
            it.
          </p>
        ) : (
          <ul>
            {all.map((p) => (
              <li key={p.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-hair px-4 py-2">
                <div className="min-w-0 flex-1 basis-60">
                  <Hostile text={p.name} className="block font-[600]" />
                  <span className="block truncate text-12 text-muted">
                    {p.dialect},{" "}
                    {(p.resources ?? []).length === 0
                      ? "every resource"
                      : plural((p.resources ?? []).length, "resource")}
                    , from {(p.sources ?? []).join(", ") || "loopback"}, since <Time at={p.created} />
                  </span>
                </div>
                <Protection p={p} />
                <Button onClick={() => setChanging(p)}>Change</Button>
              </li>
            ))}
          </ul>
        )}
      </Card>
      <Sources />
      <Connect />
      {enrolling && <EnrolDialog onClose={() => setEnrolling(false)} />}
      {changing && <ModeDialog point={changing} onClose={() => setChanging(undefined)} />}
    </div>
  );
}

function Protection({ p }: { p: Point }) {
  if (p.disabled) return <span className="basis-60 text-13 text-muted">Disabled: it gets no answers</span>;
  if (p.mode === "observe")
    return (
      <span className="flex basis-60 items-center gap-1.5 text-13 text-stepup">
        <Shape name="half" /> Observes, not protected: would have refused {count(p.would_refuse)}
      </span>
    );
  return (
    <span className={`flex basis-60 items-center gap-1.5 text-13 ${p.percent < 100 ? "text-stepup" : "text-allow"}`}>
      <Shape name={p.percent < 100 ? "half" : "dot"} /> Enforces {p.percent} % of requests
    </span>
  );
}
