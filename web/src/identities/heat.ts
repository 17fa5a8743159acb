import type { UsageRow } from "../api/client";

// The hours of the last days, as a map and a table draw them.

/** A Cell is one hour of one day in the reader's zone; day 0 is the oldest. */
export type Cell = { day: number; hour: number; start: Date; count: number; denied: number };

/** cells puts hourly counts into the days and hours of the reader's zone; hours without a call are there, too. */
export function cells(rows: readonly Pick<UsageRow, "start" | "count" | "denied">[], days: number, now: Date): Cell[] {
  const first = new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1);
  const grid: Cell[] = [];
  for (let day = 0; day < days; day++) {
    for (let hour = 0; hour < 24; hour++) {
      const start = new Date(first.getFullYear(), first.getMonth(), first.getDate() + day, hour);
      grid.push({ day, hour, start, count: 0, denied: 0 });
    }
  }
  // Days are counted in calendar days, so a day of 23 or 25 hours is one day.
  const midnight = Date.UTC(first.getFullYear(), first.getMonth(), first.getDate());
  for (const row of rows) {
    const at = new Date(row.start);
    const day = Math.round((Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) - midnight) / 86_400_000);
    const cell = day >= 0 && day < days ? grid[day * 24 + at.getHours()] : undefined;
    if (cell) {
      cell.count += row.count;
      cell.denied += row.denied;
    }
  }
  return grid;
}

/** How many shades there are beside none. */
export const shades = 4;

/** shade puts a count into one of the shades, on a scale that lets the small ones be seen. */
export function shade(count: number, most: number): number {
  if (count <= 0) return 0;
  return Math.max(1, Math.ceil((Math.log1p(count) / Math.log1p(Math.max(1, most))) * shades));
}

/** zone names the reader's time zone. */
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
