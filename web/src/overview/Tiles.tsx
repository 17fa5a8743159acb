import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Overview } from "../api/client";
import { count, rate } from "../text/format";

/** Tiles are the numbers of the installation; each leads to the rows behind it. */
export function Tiles({ overview: o }: { overview: Overview }) {
  return (
    <ul aria-label="Numbers" className="grid grid-cols-2 gap-3 sm:grid-cols-3 xl:grid-cols-6">
      <Tile name="Identities" value={count(o.identities)} detail={`${count(o.shadow)} only in logs`}>
        <Link to="/identities">Identities</Link>
      </Tile>
      <Tile name="Unowned" value={count(o.unowned)} detail="without an owner" warn={o.unowned > 0}>
        <Link to="/identities" search={{ filter: "-owner:*" }}>
          Unowned
        </Link>
      </Tile>
      <Tile name="Static secrets" value={count(o.static)} detail={`of ${count(o.credentials)} credentials`}>
        <Link to="/identities" search={{ filter: "static:true" }}>
          Static secrets
        </Link>
      </Tile>
      <Tile name="Contained" value={count(o.contained)} detail="can be undone">
        <Link to="/findings" search={{ view: "actions" }}>
          Contained
        </Link>
      </Tile>
      <Tile name="Decisions" value={rate(o.per_second)} detail="a second">
        <Link to="/activity">Decisions</Link>
      </Tile>
      <Tile
        name="Open findings"
        value={count(o.findings)}
        detail={o.critical > 0 ? `${count(o.critical)} critical` : "none critical"}
        alarm={o.critical > 0}
      >
        <Link to="/findings">Open findings</Link>
      </Tile>
    </ul>
  );
}

/** Tile is one number. Its link covers it, so the whole tile can be pressed. */
function Tile({
  name,
  value,
  detail,
  children,
  warn = false,
  alarm = false,
}: {
  name: string;
  value: string;
  detail: string;
  children: ReactNode;
  warn?: boolean;
  alarm?: boolean;
}) {
  return (
    <li
      data-tile={name}
      className="card relative flex min-w-0 flex-col px-4 py-3 hover:border-line [&_a]:text-12 [&_a]:text-muted [&_a]:no-underline [&_a]:after:absolute [&_a]:after:inset-0 [&_a]:after:rounded-card"
    >
      {children}
      <span className={`text-28 font-[600] ${alarm ? "text-deny" : ""}`}>{value}</span>
      <span className={`text-12 ${alarm ? "text-deny" : warn ? "text-stepup" : "text-muted"}`}>{detail}</span>
    </li>
  );
}
