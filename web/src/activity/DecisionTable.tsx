import type { Decision } from "../api/client";
import { type Column, cell, Grid } from "../parts/Grid";
import { Hostile } from "../parts/Hostile";
import { OutcomeWord } from "../parts/OutcomeWord";
import { Clock } from "../parts/Time";
import { duration } from "../text/format";
import { from } from "../text/words";
import { determining } from "./filter";

// The columns follow the width of the table, which the explanation beside it
// takes from: first the time it took, then the policy give way.
const columns =
  "grid grid-cols-[72px_minmax(96px,116px)_minmax(110px,1fr)_minmax(130px,1.3fr)_minmax(96px,1fr)_64px] @min-[860px]:grid-cols-[72px_minmax(104px,124px)_minmax(110px,1.1fr)_minmax(130px,1.5fr)_minmax(100px,1fr)_minmax(100px,1fr)_64px] @min-[1000px]:grid-cols-[72px_minmax(104px,124px)_minmax(110px,1.1fr)_minmax(130px,1.5fr)_minmax(100px,1fr)_minmax(100px,1fr)_64px_72px] items-center gap-x-3 px-4";
const fromMedium = "hidden @min-[860px]:flex";
const fromWide = "hidden @min-[1000px]:block";

const headings: readonly Column[] = [
  { name: "Time" },
  { name: "Outcome" },
  { name: "Identity" },
  { name: "Action and resource" },
  { name: "From" },
  { name: "Policy", className: fromMedium },
  {
    name: "Surprise",
    className: "text-right",
    title: "How unlikely the call is under what the identity usually does",
  },
  { name: "Took", className: `text-right ${fromWide}` },
];

/** DecisionTable is the list of decisions. Enter asks why. */
export function DecisionTable({
  rows,
  chosen,
  onOpen,
  onNearEnd,
}: {
  rows: readonly Decision[];
  chosen: string | undefined;
  onOpen: (id: string) => void;
  /** Called when the last rows come near, where there are more. */
  onNearEnd?: () => void;
}) {
  return (
    <Grid
      label="Decisions, the newest first"
      rows={rows}
      id={(d) => d.id}
      total={rows.length}
      columns={headings}
      template={columns}
      cells={(d) => <Cells d={d} />}
      narrowCells={(d) => <NarrowCells d={d} />}
      narrowHeight={60}
      chosen={chosen}
      mark={(d) => ({ "data-outcome": d.outcome })}
      onOpen={(d) => onOpen(d.id)}
      onNearEnd={onNearEnd}
    />
  );
}

function Cells({ d }: { d: Decision }) {
  const policy = determining(d);
  return (
    <>
      <span {...cell} className="text-muted">
        <Clock at={d.at} />
      </span>
      <span {...cell} className="truncate">
        <OutcomeWord decision={d} />
      </span>
      <span {...cell} className="flex min-w-0">
        <Hostile text={d.name || d.key_id || "nobody known"} />
      </span>
      <span {...cell} className="flex min-w-0 gap-1.5">
        <Hostile text={d.operation || d.action} className="max-w-[65%] shrink-0" />
        <Hostile text={d.resource} className="min-w-0 text-muted" />
      </span>
      <span {...cell} className="flex min-w-0">
        <Hostile text={from(d)} />
      </span>
      <span {...cell} className={`min-w-0 text-muted ${fromMedium}`}>
        <Hostile text={policy || "default"} />
      </span>
      <span {...cell} className={`text-right ${d.surprise >= 13 ? "text-deny" : "text-muted"}`}>
        {d.surprise.toFixed(1)}
      </span>
      <span {...cell} className={`text-right text-muted ${fromWide}`}>
        {duration(d.micros)}
      </span>
    </>
  );
}

function NarrowCells({ d }: { d: Decision }) {
  return (
    <>
      <span {...cell} className="flex min-w-0 items-center gap-2">
        <OutcomeWord decision={d} />
        <Hostile text={d.name || d.key_id || "nobody known"} className="min-w-0 flex-1 font-[500]" />
        <span className="shrink-0 text-12 text-muted">
          <Clock at={d.at} />
        </span>
      </span>
      <span {...cell} className="flex min-w-0 gap-2 text-12 text-muted">
        <Hostile text={`${d.operation || d.action} ${d.resource}`} className="min-w-0 flex-1" />
        <Hostile text={from(d)} className="max-w-[40%] shrink-0" />
      </span>
    </>
  );
}
