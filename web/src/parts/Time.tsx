import { useSyncExternalStore } from "react";
import { ago, clock, full, instant } from "../text/format";

// One clock for every relative time on the page.
let now = new Date();
const listeners = new Set<() => void>();
let timer: number | undefined;

function subscribe(listener: () => void) {
  listeners.add(listener);
  timer ??= window.setInterval(() => {
    now = new Date();
    for (const tell of listeners) tell();
  }, 5_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** Time writes how long ago something was; hovering shows date, time and zone. */
export function Time({ at, never = "never" }: { at: string | undefined; never?: string }) {
  const seen = useSyncExternalStore(subscribe, () => now);
  const t = instant(at);
  if (!t) return <span className="text-muted">{never}</span>;
  return (
    <time dateTime={t.toISOString()} title={full(t)} className="whitespace-nowrap">
      {ago(t, new Date(Math.max(seen.getTime(), t.getTime() > seen.getTime() + 60_000 ? 0 : t.getTime())))}
    </time>
  );
}

/** Clock writes the time of day; hovering shows date and zone. */
export function Clock({ at }: { at: string }) {
  const t = instant(at);
  if (!t) return <span className="text-muted">unknown</span>;
  return (
    <time dateTime={t.toISOString()} title={full(t)} className="whitespace-nowrap">
      {clock(t)}
    </time>
  );
}
