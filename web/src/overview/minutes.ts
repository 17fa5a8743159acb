import type { Rate } from "../api/client";

const minute = 60_000;

/** minutes fills what the server left out: sixty minutes up to the newest, with zeros where nothing was decided. */
export function minutes(rates: readonly Rate[], now: Date): Rate[] {
  const known = new Map(rates.map((r) => [Math.floor(Date.parse(r.minute) / minute), r]));
  const last = Math.max(Math.floor(now.getTime() / minute), ...known.keys());
  return Array.from({ length: 60 }, (_, i) => {
    const at = last - 59 + i;
    return (
      known.get(at) ?? { minute: new Date(at * minute).toISOString(), allow: 0, step_up: 0, deny: 0, would_refuse: 0 }
    );
  });
}
