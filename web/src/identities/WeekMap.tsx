import { useWidth } from "../parts/useWidth";

const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const high = 13;
const left = 32;
/** The widest an hour becomes, in px. */
const widest = 26;

/** spans writes hours of a day as spans: 08 to 18, 22. */
export function spans(hours: readonly number[]): string {
  const out: string[] = [];
  const sorted = [...hours].sort((a, b) => a - b);
  for (let i = 0; i < sorted.length; i++) {
    const from = sorted[i] ?? 0;
    let to = from;
    while (sorted[i + 1] === to + 1) to = sorted[++i] ?? to;
    const two = (n: number) => String(n).padStart(2, "0");
    out.push(`${two(from)}:00 to ${two((to + 1) % 24)}:00`);
  }
  return out.length === 0 ? "not active" : out.join(", ");
}

/** WeekMap shows the hours of the week in which an identity is active, in UTC, as a map and as a list. */
export function WeekMap({ hours }: { hours: readonly number[] }) {
  const active = new Set(hours);
  const { ref, width } = useWidth<HTMLDivElement>();
  const step = Math.min(widest, (width - left) / 24);
  const ofDay = (day: number) => hours.filter((h) => Math.floor(h / 24) === day).map((h) => h % 24);
  return (
    <section aria-label="Active hours" className="flex min-w-0 flex-col gap-1">
      <h3>Active hours (UTC)</h3>
      <div ref={ref} style={{ minHeight: 14 + 7 * high }}>
        {width > 0 && (
          <svg
            role="img"
            aria-label={`Active in ${hours.length} of the 168 hours of the week; the list below says which`}
            width={left + 24 * step}
            height={14 + 7 * high}
            className="block text-12"
          >
            {[0, 6, 12, 18].map((h) => (
              <text key={h} x={left + h * step} y={10} className="fill-muted">
                {String(h).padStart(2, "0")}
              </text>
            ))}
            {days.map((name, day) => (
              <g key={name} transform={`translate(0 ${14 + day * high})`}>
                <text x={0} y={10} className="fill-muted">
                  {name}
                </text>
                {Array.from({ length: 24 }, (_, h) => (
                  <rect
                    // biome-ignore lint/suspicious/noArrayIndexKey: hours never move
                    key={h}
                    x={left + h * step}
                    width={step - (step > 8 ? 2 : 1)}
                    height={high - 2}
                    rx={2}
                    className={active.has(day * 24 + h) ? "fill-accent" : "fill-raised"}
                  />
                ))}
              </g>
            ))}
          </svg>
        )}
      </div>
      <details>
        <summary className="text-12 text-muted">As a list</summary>
        <ul className="pt-1 text-13">
          {days.map((name, day) => (
            <li key={name} className="flex gap-3">
              <span className="w-8 text-muted">{name}</span> {spans(ofDay(day))}
            </li>
          ))}
        </ul>
      </details>
    </section>
  );
}
