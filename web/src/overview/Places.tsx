import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import type { PlaceCount } from "../api/live";
import { useLive } from "../api/useLive";
import { Card } from "../parts/Card";
import { Scroll } from "../parts/Scroll";
import { Shape } from "../parts/Shape";
import { TableSwitch } from "../parts/TableSwitch";
import { count, plural } from "../text/format";
import { countryName, outcomes } from "../text/words";

const WorldMap = lazy(() => import("./WorldMap"));

export type Place = { country: string; total: number } & PlaceCount;

/** Places shows where the calls of the last minutes came from: a map, or the same as a table. */
export function Places() {
  const places = useLive((s) => s.places);
  const [table, setTable] = useState(false);
  const rows = useMemo(
    () =>
      [...places]
        .map(([country, n]): Place => ({ country, ...n, total: n.allow + n["step-up"] + n.deny }))
        .sort((a, b) => b.total - a.total || a.country.localeCompare(b.country)),
    [places],
  );
  const total = rows.reduce((n, p) => n + p.total, 0);
  const stopped = rows
    .filter((p) => p.deny + p["step-up"] > 0)
    .sort((a, b) => b.deny + b["step-up"] - a.deny - a["step-up"]);
  const summary =
    total === 0
      ? "No calls yet."
      : `${plural(total, "call")} ${origin(rows)} in this tab's last five minutes. ${
          stopped.length === 0
            ? "None was stopped."
            : `Stopped: ${stopped
                .slice(0, 3)
                .map(
                  (p) =>
                    `${count(p.deny + p["step-up"])} from ${p.country ? countryName(p.country) : "unknown places"}`,
                )
                .join(", ")}.`
        }`;
  return (
    <Card title="Where calls come from" aside={<TableSwitch table={table} picture="map" onChange={setTable} />}>
      <p className="max-w-none text-13 text-muted">{summary}</p>
      {!table && (
        <p className="mt-1 flex max-w-none flex-wrap gap-x-4 text-12">
          {(["allow", "step-up", "deny"] as const).map((o) => (
            <span key={o} className={`inline-flex items-center gap-1.5 ${outcomes[o].tone}`}>
              <Shape name={outcomes[o].shape} />
              {outcomes[o].label}
            </span>
          ))}
        </p>
      )}
      {table ? (
        <Table rows={rows} />
      ) : (
        <div className="mt-2">
          <Suspense fallback={<div className="aspect-[25/9]" />}>
            <WorldMap places={rows} summary={summary} />
          </Suspense>
        </div>
      )}
    </Card>
  );
}

/** origin says from how many countries; a private address belongs to none. */
function origin(rows: readonly Place[]): string {
  const known = rows.filter((p) => p.country).length;
  const places = known === rows.length ? [] : ["unknown places"];
  if (known > 0) places.unshift(plural(known, "country", "countries"));
  return `from ${places.join(" and ")}`;
}

function Table({ rows }: { rows: readonly Place[] }) {
  return (
    <Scroll label="Calls by country" className="mt-2 max-h-[340px]">
      <table className="w-full text-13">
        <thead className="sticky top-0 bg-panel">
          <tr>
            <th>Country</th>
            <th className="text-right">Allow</th>
            <th className="text-right">Step-up</th>
            <th className="text-right">Deny</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((p) => (
            <tr key={p.country} className="border-t border-hair">
              <td className="py-1">
                {p.country ? (
                  <Link to="/activity" search={{ q: p.country }}>
                    {countryName(p.country)}
                  </Link>
                ) : (
                  "Unknown place"
                )}
              </td>
              <td className="py-1 text-right">{count(p.allow)}</td>
              <td className="py-1 text-right text-stepup">{count(p["step-up"])}</td>
              <td className="py-1 text-right text-deny">{count(p.deny)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
