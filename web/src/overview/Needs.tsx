import { Link } from "@tanstack/react-router";
import type { Finding, Snapshot } from "../api/client";
import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { Severity } from "../parts/Severity";
import { Time } from "../parts/Time";
import { count } from "../text/format";
import { measures } from "../text/words";

/** Needs is what waits for a person, the worst first. */
export function Needs({
  findings,
  open,
  waiting,
}: {
  findings: readonly Finding[];
  open: number;
  waiting: readonly Snapshot[];
}) {
  return (
    <Card
      title="Needs you"
      flush
      aside={
        <Link to="/findings" className="text-13">
          All {count(open)} open
        </Link>
      }
    >
      {waiting.length > 0 && (
        <ul aria-label="Policies that wait">
          {waiting.map((s) => (
            <li key={s.sequence} data-waits={s.digest} className="border-t border-hair">
              <Link
                to="/policies"
                search={{ snapshot: s.digest }}
                className="flex flex-col gap-0.5 px-4 py-2 text-fg no-underline hover:bg-raised hover:no-underline"
              >
                <span className="flex items-baseline gap-2">
                  <span className="min-w-0 flex-1 font-[600]">A change of the policies waits for a second yes</span>
                  <span className="shrink-0 text-12 text-muted">
                    <Time at={s.at} />
                  </span>
                </span>
                <Hostile text={s.why[0] ?? s.note ?? ""} className="text-13 text-muted" />
              </Link>
            </li>
          ))}
        </ul>
      )}
      {findings.length === 0 && waiting.length > 0 ? null : findings.length === 0 ? (
        <p className="px-4 pb-4 text-muted">
          Nothing waits for you. Findings appear here as soon as something is wrong.
        </p>
      ) : (
        <ul aria-live="polite" aria-relevant="additions">
          {findings.map((f) => (
            <li key={f.id} data-finding={f.id} className="border-t border-hair">
              <Link
                to="/findings"
                search={{ id: f.id }}
                className="flex flex-col gap-0.5 px-4 py-2 text-fg no-underline hover:bg-raised hover:no-underline"
              >
                <span className="flex items-baseline gap-2">
                  <Hostile text={f.title} className="min-w-0 flex-1 font-[600]" />
                  <span className="shrink-0 text-12 text-muted">
                    <Time at={f.detected_at} />
                  </span>
                </span>
                <Hostile text={f.name || f.identity || "no identity is known"} className="text-13 text-muted" />
                <span className="flex min-w-0 items-center gap-3 text-12">
                  <Severity severity={f.severity} />
                  {f.action && (
                    <span className="min-w-0 truncate text-muted">
                      {f.action.status === "proposed"
                        ? `Waits for you: ${measures[f.action.measure].proposed.toLowerCase()}`
                        : f.action.status === "undone"
                          ? "Undone"
                          : measures[f.action.measure].done}
                    </span>
                  )}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
