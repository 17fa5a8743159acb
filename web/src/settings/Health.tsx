import { useQuery } from "@tanstack/react-query";
import { health } from "../api/queries";
import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Shape } from "../parts/Shape";

const states = {
  ok: { label: "OK", shape: "dot", tone: "text-allow", rank: 2 },
  degraded: { label: "Degraded", shape: "half", tone: "text-stepup", rank: 1 },
  failed: { label: "Failed", shape: "square", tone: "text-deny", rank: 0 },
} as const;

/** Health is what each part of the process that answers says about itself, the worst first. */
export function Health() {
  const { data, error, refetch } = useQuery(health);
  if (!data) return <Pending what="The health" error={error} again={refetch} />;
  const checks = (data.checks ?? []).toSorted((a, b) => states[a.state].rank - states[b.state].rank);
  return (
    <Card title={data.ready ? "Ready: decisions are made" : "Not ready: decisions are refused"} flush>
      <ul aria-label="Checks">
        {checks.map((c) => (
          <li
            key={c.name}
            className="grid grid-cols-[96px_minmax(0,1fr)] gap-x-4 border-t border-hair px-4 py-2 text-13 md:grid-cols-[96px_140px_minmax(0,1fr)]"
          >
            <span className={`inline-flex items-center gap-1.5 self-start ${states[c.state].tone}`}>
              <Shape name={states[c.state].shape} /> {states[c.state].label}
            </span>
            <span className="flex min-w-0 gap-2 font-[500]">
              <Hostile text={c.name} className="min-w-0" />
              {c.vital && <span className="font-[400] text-muted">vital</span>}
            </span>
            <span className="col-start-2 min-w-0 md:col-start-auto">
              {c.why && <Hostile text={c.why} className="block whitespace-normal break-words" />}
              {c.cure && <Hostile text={c.cure} className="block whitespace-normal break-words text-muted" />}
            </span>
          </li>
        ))}
      </ul>
      <p className="max-w-none border-t border-hair px-4 py-2 text-12 text-muted">
        Decisions need the vital ones. The same as <span className="mono">/readyz?verbose</span> of the operations
        listener; with several processes, each answers for itself.
      </p>
    </Card>
  );
}
