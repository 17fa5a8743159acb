import { useWidth } from "../parts/useWidth";
import { count, plural } from "../text/format";
import { type Cell, shade, shades } from "./heat";

const high = 13;
const left = 26;
const top = 16;
/** The widest a column becomes, in px: wider ones would no longer read as a map. */
const widest = 34;
const fills = ["fill-raised", "fill-heat1", "fill-heat2", "fill-heat3", "fill-heat4"];
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const longFormat = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

/** HeatMap draws a column a day and a row an hour, as wide as there is room; a frame marks refusals. The table beside it says the same. */
export function HeatMap({ grid, days, summary }: { grid: readonly Cell[]; days: number; summary: string }) {
  const { ref, width } = useWidth<HTMLDivElement>();
  const step = Math.min(widest, (width - left) / days);
  const gap = step > 8 ? 2 : step > 4 ? 1 : 0.3;
  const most = grid.reduce((n, c) => Math.max(n, c.count), 0);
  // As many dates as fit beside each other, the newest always.
  const every = Math.max(1, Math.ceil(52 / Math.max(1, step)));
  return (
    <>
      <div ref={ref} style={{ minHeight: top + 24 * high }}>
        {width > 0 && (
          <svg
            role="img"
            aria-label={summary}
            width={left + days * step}
            height={top + 24 * high}
            className="block text-12"
          >
            {[0, 6, 12, 18].map((h) => (
              <text key={h} x={left - 6} y={top + h * high + 10} textAnchor="end" className="fill-muted">
                {String(h).padStart(2, "0")}
              </text>
            ))}
            {grid
              .filter((c) => c.hour === 0 && (days - 1 - c.day) % every === 0 && (c.day + 1) * step > 36)
              .map((c) => (
                <text key={c.day} x={left + (c.day + 1) * step - gap} y={10} textAnchor="end" className="fill-muted">
                  {dayFormat.format(c.start)}
                </text>
              ))}
            {grid.map((c) => (
              <rect
                key={`${c.day} ${c.hour}`}
                x={left + c.day * step + (c.denied > 0 ? 0.75 : 0)}
                y={top + c.hour * high + (c.denied > 0 ? 0.75 : 0)}
                width={Math.max(0.5, step - gap - (c.denied > 0 ? 1.5 : 0))}
                height={high - 2 - (c.denied > 0 ? 1.5 : 0)}
                rx={step > 8 ? 2 : 0}
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
        )}
      </div>
      <p className="flex flex-wrap items-center gap-x-2 text-12 text-muted" aria-hidden>
        fewer
        <svg aria-hidden="true" width={(shades + 1) * high} height={high - 2}>
          {fills.map((fill, n) => (
            <rect key={fill} x={n * high} width={high - 2} height={high - 2} rx={2} className={fill} />
          ))}
        </svg>
        more, at most {count(most)} an hour
        <svg aria-hidden="true" width={high - 2} height={high - 2} className="ml-3">
          <rect
            x={0.75}
            y={0.75}
            width={high - 3.5}
            height={high - 3.5}
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
