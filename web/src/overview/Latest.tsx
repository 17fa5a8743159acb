import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { useLive } from "../api/useLive";
import { Hostile } from "../parts/Hostile";
import { OutcomeWord } from "../parts/OutcomeWord";
import { Clock } from "../parts/Time";
import { from } from "../text/words";

/** Latest lists the newest calls that were stopped. */
export function Latest() {
  const decisions = useLive((s) => s.decisions);
  const refused = useMemo(
    () => decisions.filter((d) => d.outcome !== "allow" || d.would_refuse).slice(0, 8),
    [decisions],
  );
  if (refused.length === 0) {
    return <p className="px-4 pb-4 text-muted">Nothing was refused among the latest calls.</p>;
  }
  return (
    <ul>
      {refused.map((d) => (
        <li key={d.id} className="border-t border-hair">
          <Link
            to="/activity"
            search={{ decision: d.id, outcome: d.would_refuse ? undefined : d.outcome }}
            className="grid grid-cols-[64px_100px_minmax(0,1fr)] items-center gap-x-2 px-4 py-1.5 text-13 text-fg no-underline hover:bg-raised hover:no-underline"
          >
            <span className="text-muted">
              <Clock at={d.at} />
            </span>
            <OutcomeWord decision={d} />
            <span className="flex min-w-0 gap-2">
              <Hostile text={d.name || d.key_id || "nobody known"} className="min-w-0 flex-1" />
              <span className="shrink-0 text-muted" title={from(d)}>
                {d.country || "–"}
              </span>
            </span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
