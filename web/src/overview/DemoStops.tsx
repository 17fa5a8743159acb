import { Link } from "@tanstack/react-router";
import { ChevronDown, X } from "lucide-react";
import { useState } from "react";
import type { Overview } from "../api/client";
import { Button } from "../parts/Button";
import { useNarrow } from "../parts/useMedia";
import { count, rate } from "../text/format";

const key = "muster-demo-stops";

function dismissed(): boolean {
  try {
    return sessionStorage.getItem(key) === "away";
  } catch {
    return false;
  }
}

/** DemoStops explains the demonstration in five stops; it can be put away. */
export function DemoStops({ overview: o }: { overview: Overview }) {
  const [away, setAway] = useState(dismissed);
  const narrow = useNarrow();
  const [open, setOpen] = useState(false);
  if (away) return null;
  const contained = (o.needs ?? []).find((f) => f.action?.status === "done");
  return (
    <section aria-label="What you are seeing" className="card px-4 py-3">
      <div className="flex items-center justify-between gap-2">
        <h2>
          {narrow ? (
            <button
              type="button"
              aria-expanded={open}
              className="inline-flex items-center gap-1 font-[600]"
              onClick={() => setOpen(!open)}
            >
              What you are seeing
              <ChevronDown size={16} aria-hidden className={open ? "rotate-180" : ""} />
            </button>
          ) : (
            "What you are seeing"
          )}
        </h2>
        <Button
          look="quiet"
          icon
          className="-mr-2"
          aria-label="Put this away"
          onClick={() => {
            setAway(true);
            try {
              sessionStorage.setItem(key, "away");
            } catch {
              // Without storage it comes back with the next page load.
            }
          }}
        >
          <X size={16} aria-hidden />
        </Button>
      </div>
      <ol
        hidden={narrow && !open}
        className="mt-1 grid list-none gap-x-5 gap-y-3 text-13 sm:grid-cols-2 xl:grid-cols-5"
      >
        <Stop n={1} title="A company that does not exist">
          Its <Link to="/identities">{count(o.identities)} identities</Link> came in through the real importers, their
          habits from replayed logs.
        </Stop>
        <Stop n={2} title="Decisions that are real">
          About {rate(o.per_second)} requests a second are decided by policy and habit.{" "}
          <Link to="/activity">Watch them</Link>
        </Stop>
        <Stop n={3} title="A key leaks">
          A thief uses it from elsewhere:{" "}
          <Link to="/activity" search={{ outcome: "step-up" }}>
            stepped up
          </Link>{" "}
          or{" "}
          <Link to="/activity" search={{ outcome: "deny" }}>
            denied
          </Link>{" "}
          at the first unusual call.
        </Stop>
        <Stop n={4} title="The leak is found">
          The key is narrowed or suspended everywhere.{" "}
          {contained ? (
            <Link to="/findings" search={{ id: contained.id }}>
              See the finding
            </Link>
          ) : (
            <Link to="/findings">See the findings</Link>
          )}
        </Stop>
        <Stop n={5} title="The workload goes on">
          It proves itself by its platform, not by the key. Every act{" "}
          <Link to="/findings" search={{ view: "actions" }}>
            can be undone
          </Link>
          .
        </Stop>
      </ol>
    </section>
  );
}

function Stop({ n, title, children }: { n: number; title: string; children: React.ReactNode }) {
  return (
    <li className="min-w-0">
      <h3>
        <span className="text-muted">{n}</span> {title}
      </h3>
      <p className="text-muted">{children}</p>
    </li>
  );
}
