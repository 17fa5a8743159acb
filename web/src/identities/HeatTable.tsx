import { Scroll } from "../parts/Scroll";
import { count, full } from "../text/format";
import type { Cell } from "./heat";

/** HeatTable lists the hours in which it did something, the newest first. */
export function HeatTable({ grid }: { grid: readonly Cell[] }) {
  return (
    <Scroll label="Hours in which it acted" className="max-h-[340px]">
      <table className="w-full text-13">
        <thead className="sticky top-0 bg-panel">
          <tr>
            <th>Hour that begins</th>
            <th className="text-right">Calls</th>
            <th className="text-right">Refused</th>
          </tr>
        </thead>
        <tbody>
          {grid
            .filter((c) => c.count > 0)
            .toReversed()
            .map((c) => (
              <tr key={c.start.getTime()} className="border-t border-hair">
                <td>{full(c.start)}</td>
                <td className="text-right">{count(c.count)}</td>
                <td className={`text-right ${c.denied > 0 ? "text-deny" : ""}`}>{count(c.denied)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </Scroll>
  );
}
