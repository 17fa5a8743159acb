import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import type { Decision } from "../api/client";
import { Hostile } from "../parts/Hostile";
import { OutcomeWord } from "../parts/OutcomeWord";
import { Clock } from "../parts/Time";
import { useNarrow } from "../parts/useMedia";
import { duration } from "../text/format";
import { from } from "../text/words";

// The columns follow the width of the table, which the explanation beside it
// takes from: first the time it took, then the policy give way.
const columns =
  "grid grid-cols-[72px_minmax(96px,116px)_minmax(110px,1fr)_minmax(130px,1.3fr)_minmax(96px,1fr)_64px] @min-[860px]:grid-cols-[72px_minmax(104px,124px)_minmax(110px,1.1fr)_minmax(130px,1.5fr)_minmax(100px,1fr)_minmax(100px,1fr)_64px] @min-[1000px]:grid-cols-[72px_minmax(104px,124px)_minmax(110px,1.1fr)_minmax(130px,1.5fr)_minmax(100px,1fr)_minmax(100px,1fr)_64px_72px] items-center gap-x-3 px-4";
const fromMedium = "hidden @min-[860px]:flex";
const fromWide = "hidden @min-[1000px]:block";

/**
 * DecisionTable is the list of decisions. Only the rows in sight exist. Arrow
 * keys move, Enter asks why.
 */
export function DecisionTable({
  rows,
  chosen,
  onOpen,
}: {
  rows: readonly Decision[];
  chosen: string | undefined;
  onOpen: (id: string) => void;
}) {
  const narrow = useNarrow();
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<string>();

  const height = narrow ? 60 : 36;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 8,
    getItemKey: (i) => rows[i]?.id ?? i,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: heights change with the layout, not with the measurer
  useEffect(() => virtual.measure(), [height]);
  const at = Math.max(
    0,
    rows.findIndex((d) => d.id === (active ?? chosen)),
  );

  // An address that names a decision shows its row.
  const opened = useRef(chosen);
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the page is opened
  useEffect(() => {
    const i = rows.findIndex((d) => d.id === opened.current);
    if (i > 0) virtual.scrollToIndex(i, { align: "center" });
  }, []);

  const move = (to: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    const row = rows[next];
    if (!row) return;
    setActive(row.id);
    virtual.scrollToIndex(next);
    requestAnimationFrame(() =>
      scroller.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(row.id)}"]`)?.focus(),
    );
    if (chosen && chosen !== row.id) onOpen(row.id);
  };
  const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / height) - 2);
  const steps: Record<string, number> = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: rows.length - 1,
  };
  return (
    <div
      role="grid"
      aria-label="Decisions, the newest first"
      aria-rowcount={rows.length + 1}
      className="@container flex min-h-0 flex-1 flex-col"
      onKeyDown={(e) => {
        const to = steps[e.key];
        if (to !== undefined) {
          e.preventDefault();
          move(to);
        }
        const row = rows[at];
        if (e.key === "Enter" && row) {
          e.preventDefault();
          onOpen(row.id);
        }
      }}
    >
      <div role="rowgroup">
        <div
          role="row"
          tabIndex={-1}
          aria-rowindex={1}
          className={narrow ? "sr-only" : `${columns} h-9 border-b border-hair text-12 text-muted`}
        >
          {["Time", "Outcome", "Identity", "Action and resource", "From"].map((name) => (
            <span key={name} role="columnheader" tabIndex={-1}>
              {name}
            </span>
          ))}
          <span role="columnheader" tabIndex={-1} className={fromMedium}>
            Policy
          </span>
          <span
            role="columnheader"
            tabIndex={-1}
            className="text-right"
            title="How unlikely the call is under what the identity usually does"
          >
            Surprise
          </span>
          <span role="columnheader" tabIndex={-1} className={`text-right ${fromWide}`}>
            Took
          </span>
        </div>
      </div>
      <div ref={scroller} role="rowgroup" className="relative min-h-0 flex-1 overflow-y-auto overflow-x-hidden">
        <div role="presentation" style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const d = rows[item.index];
            if (!d) return null;
            return (
              // biome-ignore lint/a11y/useKeyWithClickEvents: the grid handles keys for all of its rows
              <div
                key={d.id}
                role="row"
                data-id={d.id}
                data-outcome={d.outcome}
                aria-rowindex={item.index + 2}
                aria-selected={d.id === chosen}
                tabIndex={item.index === at ? 0 : -1}
                onFocus={() => setActive(d.id)}
                onClick={() => {
                  setActive(d.id);
                  onOpen(d.id);
                }}
                style={{
                  position: "absolute",
                  insetInline: 0,
                  top: 0,
                  height,
                  transform: `translateY(${item.start}px)`,
                }}
                className={`row cursor-pointer text-13 ${narrow ? "px-3 py-1.5" : columns}`}
              >
                {narrow ? <NarrowCells d={d} /> : <Cells d={d} />}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

const cell = { role: "gridcell", tabIndex: -1 } as const;

function Cells({ d }: { d: Decision }) {
  const policy = (d.reasons ?? [])[0]?.policy ?? "";
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
        <OutcomeWord decision={{ ...d, would_refuse: false }} />
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
