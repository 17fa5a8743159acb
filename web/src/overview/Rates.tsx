import { useMemo, useState } from "react";
import type { Rate } from "../api/client";
import { Card } from "../parts/Card";
import { Scroll } from "../parts/Scroll";
import { Shape } from "../parts/Shape";
import { TableSwitch } from "../parts/TableSwitch";
import { count, minute, rate } from "../text/format";
import { observed, outcomes } from "../text/words";
import { minutes } from "./minutes";

const height = 96;
const slot = 12;
/** What was stopped is rare beside what went through; a bar this high is still seen. */
const least = 3;

type Bar = { rate: Rate; at: Date; allow: number; step: number; deny: number; would: number };

function bars(rates: readonly Rate[]): { bars: Bar[]; top: number } {
  const top = Math.max(10, ...rates.map((r) => r.allow + r.step_up + r.deny + r.would_refuse));
  const scale = (n: number, floor: number) => (n === 0 ? 0 : Math.max(floor, (n / top) * (height - 3 * least)));
  return {
    top,
    bars: rates.map((r) => ({
      rate: r,
      at: new Date(r.minute),
      allow: scale(r.allow, 1),
      step: scale(r.step_up, least),
      deny: scale(r.deny, least),
      would: scale(r.would_refuse, least),
    })),
  };
}

/** Rates draws the decisions of the last hour, a bar a minute, with the same numbers as a table. */
export function Rates({ rates: known, perSecond }: { rates: readonly Rate[]; perSecond: number }) {
  const rates = useMemo(() => minutes(known, new Date()), [known]);
  const [table, setTable] = useState(false);
  const [over, setOver] = useState<number>();
  const drawn = useMemo(() => bars(rates), [rates]);
  const sum = (pick: (r: Rate) => number) => rates.reduce((n, r) => n + pick(r), 0);
  const allow = sum((r) => r.allow);
  const step = sum((r) => r.step_up);
  const deny = sum((r) => r.deny);
  const would = sum((r) => r.would_refuse);
  const shown = over === undefined ? undefined : drawn.bars[over];
  const summary = `Last ${rates.length} minutes: ${count(allow)} allowed, ${count(step)} stepped up, ${count(deny)} denied, ${count(would)} passed a point that only observes and would be refused; now ${rate(perSecond)} a second.`;
  return (
    <Card title="Decisions, last hour" aside={<TableSwitch table={table} picture="chart" onChange={setTable} />}>
      <p className="flex max-w-none flex-wrap gap-x-4 text-13">
        <span className="w-28 text-muted">{shown ? `${minute(shown.at)}, one minute` : "In the hour"}</span>
        <Legend look={outcomes.allow} n={shown ? shown.rate.allow : allow} />
        <Legend look={outcomes["step-up"]} n={shown ? shown.rate.step_up : step} />
        <Legend look={outcomes.deny} n={shown ? shown.rate.deny : deny} />
        {would > 0 && <Legend look={observed} n={shown ? shown.rate.would_refuse : would} />}
      </p>
      {table ? (
        <Table rates={rates} />
      ) : (
        <svg
          viewBox={`0 0 ${Math.max(1, drawn.bars.length) * slot} ${height + 18}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={summary}
          className="mt-2 block h-[124px] w-full"
          onPointerLeave={() => setOver(undefined)}
          onPointerMove={(e) => {
            const box = e.currentTarget.getBoundingClientRect();
            setOver(
              Math.max(
                0,
                Math.min(drawn.bars.length - 1, Math.floor(((e.clientX - box.left) / box.width) * drawn.bars.length)),
              ),
            );
          }}
        >
          <line x1="0" x2="100%" y1={height} y2={height} className="stroke-line" vectorEffect="non-scaling-stroke" />
          {drawn.bars.map((b, i) => (
            <g
              key={b.rate.minute}
              transform={`translate(${i * slot + 1.5} 0)`}
              opacity={over === undefined || over === i ? 1 : 0.55}
            >
              <rect y={height - b.allow} width={slot - 3} height={b.allow} className="fill-allow" />
              <rect y={height - b.allow - b.would} width={slot - 3} height={b.would} className="fill-stepup/40" />
              <rect y={height - b.allow - b.would - b.step} width={slot - 3} height={b.step} className="fill-stepup" />
              <rect
                y={height - b.allow - b.would - b.step - b.deny}
                width={slot - 3}
                height={b.deny}
                className="fill-deny"
              />
            </g>
          ))}
        </svg>
      )}
      {!table && drawn.bars.length > 1 && (
        <p className="-mt-4 flex max-w-none justify-between text-12 text-muted" aria-hidden>
          <span>{minute(drawn.bars[0]?.at ?? new Date())}</span>
          <span>tallest: {count(drawn.top)} a minute</span>
          <span>{minute(drawn.bars.at(-1)?.at ?? new Date())}</span>
        </p>
      )}
    </Card>
  );
}

function Legend({ look: { label, shape, tone }, n }: { look: typeof observed; n: number }) {
  return (
    <span className={`inline-flex items-center gap-1.5 ${tone}`}>
      <Shape name={shape} />
      {label} <span className="text-fg">{count(n)}</span>
    </span>
  );
}

function Table({ rates }: { rates: readonly Rate[] }) {
  return (
    <Scroll label="Decisions by minute" className="mt-2 max-h-[240px]">
      <table className="w-full text-13">
        <thead className="sticky top-0 bg-panel">
          <tr>
            <th>Minute</th>
            <th className="text-right">Allow</th>
            <th className="text-right">Step-up</th>
            <th className="text-right">Deny</th>
            <th className="text-right">Would refuse</th>
          </tr>
        </thead>
        <tbody>
          {rates.toReversed().map((r) => (
            <tr key={r.minute} className="border-t border-hair">
              <td>{minute(new Date(r.minute))}</td>
              <td className="text-right">{count(r.allow)}</td>
              <td className="text-right">{count(r.step_up)}</td>
              <td className="text-right">{count(r.deny)}</td>
              <td className="text-right">{count(r.would_refuse)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
