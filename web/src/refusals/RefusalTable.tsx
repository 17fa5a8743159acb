import type { Refusal } from "../api/client";
import { type Column, cell, Grid } from "../parts/Grid";
import { Hostile } from "../parts/Hostile";
import { Shape } from "../parts/Shape";
import { Clock, Time } from "../parts/Time";
import { count } from "../text/format";
import { refusalKinds } from "../text/words";
import { Caller } from "./Caller";

const template =
  "grid grid-cols-[84px_140px_minmax(110px,1fr)_minmax(130px,1.4fr)_minmax(96px,1fr)_56px] @min-[900px]:grid-cols-[84px_148px_minmax(120px,1.1fr)_minmax(150px,1.6fr)_minmax(110px,0.9fr)_minmax(120px,1fr)_56px] items-center gap-x-3 px-4";
const fromMedium = "hidden @min-[900px]:flex";

const headings: readonly Column[] = [
  { name: "When" },
  { name: "Why" },
  { name: "Who" },
  { name: "Asked for" },
  { name: "Address" },
  { name: "Refused by", className: fromMedium },
  { name: "Times", className: "text-right", title: "More than 1: a flood, counted instead of listed" },
];

/** RefusalTable is the list of those who were not let in. Enter explains one. */
export function RefusalTable({
  rows,
  chosen,
  onOpen,
  onNearEnd,
}: {
  rows: readonly Refusal[];
  chosen: string | undefined;
  onOpen: (id: string) => void;
  onNearEnd: () => void;
}) {
  return (
    <Grid
      label="Refusals, the newest first"
      rows={rows}
      id={(r) => r.id}
      total={undefined}
      columns={headings}
      template={template}
      cells={(r) => <Cells r={r} />}
      narrowCells={(r) => <NarrowCells r={r} />}
      narrowHeight={60}
      chosen={chosen}
      mark={(r) => ({ "data-kind": r.kind })}
      onOpen={(r) => onOpen(r.id)}
      onNearEnd={onNearEnd}
    />
  );
}

/** Kind says why somebody was not let in: a shape and a word. */
export function Kind({ kind }: { kind: string }) {
  const k = refusalKinds[kind];
  if (!k) return <Hostile text={kind} />;
  return (
    <span className={`inline-flex items-center gap-1.5 whitespace-nowrap ${k.tone}`}>
      <Shape name={k.shape} /> {k.label}
    </span>
  );
}

function Cells({ r }: { r: Refusal }) {
  return (
    <>
      <span {...cell} className="text-muted">
        <Time at={r.at} />
      </span>
      <span {...cell} className="truncate">
        <Kind kind={r.kind} />
      </span>
      <span {...cell} className="flex min-w-0">
        <Caller r={r} />
      </span>
      <span {...cell} className="flex min-w-0 gap-1.5">
        {r.operation && <Hostile text={r.operation} className="max-w-[65%] shrink-0" />}
        <Hostile text={r.resource || (r.operation ? "" : "not known")} className="min-w-0 text-muted" />
      </span>
      <span {...cell} className="flex min-w-0">
        <Hostile text={r.address || "unknown"} className="mono" />
      </span>
      <span {...cell} className={`min-w-0 text-muted ${fromMedium}`}>
        <Hostile text={r.reason || "no policy permits it"} />
      </span>
      <span {...cell} className={`text-right ${r.count > 1 ? "text-stepup" : "text-muted"}`}>
        {count(r.count)}
      </span>
    </>
  );
}

function NarrowCells({ r }: { r: Refusal }) {
  return (
    <>
      <span {...cell} className="flex min-w-0 items-center gap-2">
        <Kind kind={r.kind} />
        <span className="flex min-w-0 flex-1 font-[500]">
          <Caller r={r} />
        </span>
        <span className="shrink-0 text-12 text-muted">
          <Clock at={r.at} />
        </span>
      </span>
      <span {...cell} className="flex min-w-0 gap-2 text-12 text-muted">
        <Hostile text={`${r.operation ?? ""} ${r.resource ?? ""}`.trim() || "not known"} className="min-w-0 flex-1" />
        <Hostile text={r.address || "unknown"} className="max-w-[40%] shrink-0" />
        {r.count > 1 && <span className="shrink-0 text-stepup">{count(r.count)} times</span>}
      </span>
    </>
  );
}
