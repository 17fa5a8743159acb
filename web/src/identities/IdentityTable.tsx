import { Link } from "@tanstack/react-router";
import type { Identity } from "../api/client";
import { type Column, cell, Grid } from "../parts/Grid";
import { Hostile } from "../parts/Hostile";
import { Time } from "../parts/Time";
import { kindName } from "../text/words";
import { Risk } from "./Risk";

const template =
  "grid grid-cols-[minmax(150px,2fr)_minmax(100px,1fr)_minmax(90px,1fr)_84px_84px] @min-[900px]:grid-cols-[minmax(200px,2.4fr)_minmax(110px,1fr)_minmax(90px,0.8fr)_minmax(140px,1.4fr)_84px_96px] items-center gap-x-3 px-4";
const fromMedium = "hidden @min-[900px]:flex";

const headings: readonly Column[] = [
  { name: "Name", order: "name" },
  { name: "Kind" },
  { name: "Environment" },
  { name: "Owner", className: fromMedium },
  { name: "Risk", order: "risk" },
  { name: "Last used", order: "last_used" },
];

/** IdentityTable is the list of who exists. Enter opens one. */
export function IdentityTable({
  rows,
  total,
  order,
  onOrder,
  onOpen,
  onNearEnd,
}: {
  rows: readonly Identity[];
  total: number | undefined;
  order: string;
  onOrder: (order: string) => void;
  onOpen: (id: string) => void;
  onNearEnd: () => void;
}) {
  return (
    <Grid
      label="Identities"
      rows={rows}
      id={(i) => i.id}
      total={total}
      columns={headings}
      template={template}
      cells={(i) => <Cells i={i} />}
      narrowCells={(i) => <NarrowCells i={i} />}
      narrowHeight={60}
      order={order}
      onOrder={onOrder}
      onOpen={(i) => onOpen(i.id)}
      onNearEnd={onNearEnd}
    />
  );
}

function Name({ i }: { i: Identity }) {
  return (
    <Link to="/identities/$id" params={{ id: i.id }} tabIndex={-1} className="flex min-w-0 text-fg">
      <Hostile text={i.name} />
    </Link>
  );
}

function Cells({ i }: { i: Identity }) {
  return (
    <>
      <span {...cell} className="flex min-w-0 items-center gap-2">
        <Name i={i} />
        {i.shadow && <Mark title="Seen acting, in no inventory">logs only</Mark>}
        {i.state !== "active" && <Mark title="Where it stands in its life">{i.state}</Mark>}
      </span>
      <span {...cell} className="flex min-w-0 text-muted">
        <Hostile text={kindName(i.kind)} />
      </span>
      <span {...cell} className="flex min-w-0">
        <Hostile
          text={i.environment.name || "none"}
          className={i.environment.class === "production" ? "" : "text-muted"}
        />
      </span>
      <span {...cell} className={`min-w-0 ${fromMedium}`}>
        {i.owner.ref ? <Hostile text={i.owner.ref} /> : <span className="text-stepup">nobody</span>}
      </span>
      <span {...cell}>
        <Risk risk={i.risk} />
      </span>
      <span {...cell} className="text-muted">
        <Time at={i.last_seen} />
      </span>
    </>
  );
}

function NarrowCells({ i }: { i: Identity }) {
  return (
    <>
      <span {...cell} className="flex min-w-0 items-center gap-2">
        <span className="flex min-w-0 flex-1 font-[500]">
          <Name i={i} />
        </span>
        <Risk risk={i.risk} />
      </span>
      <span {...cell} className="flex min-w-0 gap-2 text-12 text-muted">
        <Hostile
          text={`${kindName(i.kind)} · ${i.environment.name || "no environment"} · ${i.owner.ref || "nobody answers"}`}
          className="min-w-0 flex-1"
        />
        <span className="shrink-0">
          <Time at={i.last_seen} />
        </span>
      </span>
    </>
  );
}

function Mark({ title, children }: { title: string; children: string }) {
  return (
    <span title={title} className="shrink-0 rounded-control border border-hair px-1.5 text-12 text-muted">
      {children}
    </span>
  );
}
