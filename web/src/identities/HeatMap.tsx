import { count, plural } from "../text/format";
import { type Cell, shade, shades } from "./heat";

const side = 11;
const step = 13;
const left = 26;
const top = 16;
const fills = ["fill-raised", "fill-heat1", "fill-heat2", "fill-heat3", "fill-heat4"];
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const longFormat = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

/** HeatMap draws a column a day and a row an hour; a frame marks refusals. The table beside it says the same. */
export function HeatMap({ grid, days, summary }: { grid: readonly Cell[]; days: number; summary: string }) {
  const most = grid.reduce((n, c) => Math.max(n, c.count), 0);
  const wide = left + days * step;
  const every = days > 40 ? 14 : days > 10 ? 7 : 1;
  const room = days <= 10 ? 34 : step;
  const width = days <= 10 ? left + days * room : wide;
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section aria-label="Map of hours" tabIndex={0} className="max-w-full overflow-x-auto">
        <svg role="img" aria-label={summary} width={width} height={top + 24 * step} className="block text-12">
          {[0, 6, 12, 18].map((h) => (
            <text key={h} x={left - 6} y={top + h * step + 10} textAnchor="end" className="fill-muted">
              {String(h).padStart(2, "0")}
            </text>
          ))}
          {grid
            .filter((c) => c.hour === 0 && (days - 1 - c.day) % every === 0)
            .map((c) => (
              <text
                key={c.day}
                x={left + c.day * room + (days <= 10 ? 0 : side)}
                y={10}
                textAnchor={days <= 10 ? "start" : c.day * room < 40 ? "start" : "end"}
                className="fill-muted"
              >
                {dayFormat.format(c.start)}
              </text>
            ))}
          {grid.map((c) => (
            <rect
              key={`${c.day} ${c.hour}`}
              x={left + c.day * room + (c.denied > 0 ? 0.75 : 0)}
              y={top + c.hour * step + (c.denied > 0 ? 0.75 : 0)}
              width={(days <= 10 ? room - 2 : side) - (c.denied > 0 ? 1.5 : 0)}
              height={side - (c.denied > 0 ? 1.5 : 0)}
              rx={2}
              strokeWidth={c.denied > 0 ? 1.5 : 0}
              className={`${fills[shade(c.count, most)]} ${c.denied > 0 ? "stroke-deny" : ""}`}
            >
              {c.count > 0 && (
                <title>
                  {`${longFormat.format(c.start)}: ${plural(c.count, "call")}${c.denied > 0 ? `, ${count(c.denied)} refused` : ""}`}
                </title>
              )}
            </rect>
          ))}
        </svg>
      </section>
      <p className="flex flex-wrap items-center gap-x-2 text-12 text-muted" aria-hidden>
        fewer
        <svg aria-hidden="true" width={(shades + 1) * step} height={side}>
          {fills.map((fill, n) => (
            <rect key={fill} x={n * step} width={side} height={side} rx={2} className={fill} />
          ))}
        </svg>
        more, at most {count(most)} an hour
        <svg aria-hidden="true" width={side} height={side} className="ml-3">
          <rect
            x={0.75}
            y={0.75}
            width={side - 1.5}
            height={side - 1.5}
            rx={2}
            strokeWidth={1.5}
            className="fill-none stroke-deny"
          />
        </svg>
        some were refused
      </p>
    </>
  );
}
