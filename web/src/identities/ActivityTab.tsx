import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { usage } from "../api/queries";
import { Choice } from "../parts/Choice";
import { Pending } from "../parts/Pending";
import { TableSwitch } from "../parts/TableSwitch";
import { count, plural } from "../text/format";
import { HeatMap } from "./HeatMap";
import { HeatTable } from "./HeatTable";
import { type Cell, cells, zone } from "./heat";

const spans = ["7", "28", "90"] as const;

/** ActivityTab shows when it acts: each hour of the last days, and where it was refused. */
export function ActivityTab({ id, days }: { id: string; days: number }) {
  const navigate = useNavigate();
  const [table, setTable] = useState(false);
  const { data, error, refetch } = useQuery(usage(id, days));
  const grid = useMemo(() => cells(data ?? [], days, new Date()), [data, days]);
  const value = spans.find((s) => Number(s) === days) ?? "28";
  return (
    <div className="flex min-w-0 flex-col gap-3 p-4">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <h2>When it acts</h2>
        <Choice
          label="How far back"
          value={value}
          options={spans.map((s) => ({ value: s, label: `${s} days` }))}
          onChange={(to) =>
            navigate({
              to: "/identities/$id",
              params: { id },
              search: (before) => ({ ...before, days: to === "28" ? undefined : to }),
              replace: true,
              resetScroll: false,
            })
          }
        />
        <TableSwitch table={table} picture="map" onChange={setTable} />
      </div>
      {!data ? (
        <Pending what="Its use" error={error} again={refetch} rows={6} />
      ) : (
        <>
          <p className="max-w-none text-13">{summary(grid, days)}</p>
          {table ? <HeatTable grid={grid} /> : <HeatMap grid={grid} days={days} summary={summary(grid, days)} />}
        </>
      )}
    </div>
  );
}

/** summary says the map in a sentence. */
function summary(grid: readonly Cell[], days: number): string {
  const calls = grid.reduce((n, c) => n + c.count, 0);
  if (calls === 0) return `It did nothing that Muster saw in the last ${days} days.`;
  const refused = grid.reduce((n, c) => n + c.denied, 0);
  const active = new Set(grid.filter((c) => c.count > 0).map((c) => c.day)).size;
  const hours = new Map<number, number>();
  for (const c of grid) hours.set(c.hour, (hours.get(c.hour) ?? 0) + c.count);
  const [busiest] = [...hours].sort((a, b) => b[1] - a[1])[0] ?? [0];
  return `${plural(calls, "call")} on ${active} of ${days} days, ${refused === 0 ? "none" : count(refused)} refused; busiest between ${String(busiest).padStart(2, "0")}:00 and ${String((busiest + 1) % 24).padStart(2, "0")}:00 (${zone()}).`;
}
