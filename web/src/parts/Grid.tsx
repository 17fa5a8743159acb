import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { useNarrow } from "./useMedia";

/** A Column is a heading of a grid; className hides it where there is no room, or aligns it. order names the order that it stands for. */
export type Column = { name: string; className?: string; title?: string; order?: string };

/** What every cell of a row must carry. Cells are reached with their row. */
export const cell = { role: "gridcell", tabIndex: -1 } as const;

/** How many rows before the end the next ones are asked for. */
const ahead = 100;

/**
 * Grid is a long list in columns. Only the rows in sight exist, so a hundred
 * thousand scroll like ten. Arrow keys, Page, Home and End move; Enter opens.
 */
export function Grid<T>({
  label,
  rows,
  id,
  total,
  columns,
  template,
  cells,
  narrowCells,
  narrowHeight,
  chosen,
  mark,
  onOpen,
  onNearEnd,
  order,
  onOrder,
}: {
  label: string;
  rows: readonly T[];
  id: (row: T) => string;
  /** How many rows there are in all, those that are not here yet included; undefined when nobody counted. */
  total: number | undefined;
  columns: readonly Column[];
  /** The classes that lay a row out in columns. */
  template: string;
  cells: (row: T) => ReactNode;
  narrowCells: (row: T) => ReactNode;
  narrowHeight: number;
  chosen?: string;
  /** What a row is marked with for styles and tests. */
  mark?: (row: T) => Record<`data-${string}`, string>;
  onOpen: (row: T) => void;
  /** Called when the last of the rows that are here come near. */
  onNearEnd?: () => void;
  /** The order in force: the name of a column's order, after a "-" when it descends. */
  order?: string;
  onOrder?: (order: string) => void;
}) {
  const narrow = useNarrow();
  const scroller = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<string>();
  const height = narrow ? narrowHeight : 36;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 8,
    getItemKey: (i) => {
      const row = rows[i];
      return row ? id(row) : i;
    },
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: heights change with the layout, not with the measurer
  useEffect(() => virtual.measure(), [height]);
  const wanted = active ?? chosen;
  // Looked for when it changes only: among two hundred thousand that is felt.
  // biome-ignore lint/correctness/useExhaustiveDependencies: a row's id does not depend on who asks
  const at = useMemo(
    () =>
      wanted === undefined
        ? 0
        : Math.max(
            0,
            rows.findIndex((row) => id(row) === wanted),
          ),
    [rows, wanted],
  );
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (rows.length > 0 && last >= rows.length - ahead) onNearEnd?.();
  }, [last, rows.length, onNearEnd]);

  // An address that names a row shows it.
  const opened = useRef(chosen);
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the page is opened
  useEffect(() => {
    const i = rows.findIndex((row) => id(row) === opened.current);
    if (i > 0) virtual.scrollToIndex(i, { align: "center" });
  }, []);

  const move = (to: number) => {
    const row = rows[Math.max(0, Math.min(rows.length - 1, to))];
    if (!row) return;
    setActive(id(row));
    virtual.scrollToIndex(Math.max(0, Math.min(rows.length - 1, to)));
    requestAnimationFrame(() =>
      scroller.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id(row))}"]`)?.focus(),
    );
    if (chosen && chosen !== id(row)) onOpen(row);
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
      aria-label={label}
      aria-rowcount={total === undefined ? -1 : Math.max(total, rows.length) + 1}
      aria-colcount={columns.length}
      className="@container flex min-h-0 min-w-0 flex-1 flex-col"
      onKeyDown={(e) => {
        if (e.ctrlKey || e.metaKey || e.altKey) return;
        const to = steps[e.key];
        if (to !== undefined) {
          e.preventDefault();
          move(to);
        }
        const row = rows[at];
        if (e.key === "Enter" && row && !(e.target instanceof HTMLElement && e.target.closest("a, button"))) {
          e.preventDefault();
          onOpen(row);
        }
      }}
    >
      <div role="rowgroup">
        <div
          role="row"
          tabIndex={-1}
          aria-rowindex={1}
          className={narrow ? "sr-only" : `${template} h-9 border-b border-hair text-12 text-muted`}
        >
          {columns.map((c) => (
            <Heading key={c.name} column={c} order={order} onOrder={narrow ? undefined : onOrder} />
          ))}
        </div>
      </div>
      <div ref={scroller} role="rowgroup" className="relative min-h-0 flex-1 overflow-y-auto overflow-x-hidden">
        <div role="presentation" style={{ height: virtual.getTotalSize() }}>
          {items.map((item) => {
            const row = rows[item.index];
            if (!row) return null;
            const name = id(row);
            return (
              // biome-ignore lint/a11y/useKeyWithClickEvents: the grid handles keys for all of its rows
              <div
                key={name}
                role="row"
                data-id={name}
                {...mark?.(row)}
                aria-rowindex={item.index + 2}
                aria-selected={name === chosen}
                tabIndex={item.index === at ? 0 : -1}
                onFocus={() => setActive(name)}
                onClick={(e) => {
                  setActive(name);
                  // A link inside does what links do, in another tab, too.
                  if (!(e.target instanceof HTMLElement && e.target.closest("a, button"))) onOpen(row);
                }}
                style={{
                  position: "absolute",
                  insetInline: 0,
                  top: 0,
                  height,
                  transform: `translateY(${item.start}px)`,
                }}
                className={`row cursor-pointer text-13 ${narrow ? "flex flex-col justify-center gap-0.5 px-3" : template}`}
              >
                {narrow ? narrowCells(row) : cells(row)}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

const directions = { ascending: "↑", descending: "↓", none: "" } as const;

function Heading({
  column: c,
  order,
  onOrder,
}: {
  column: Column;
  order: string | undefined;
  onOrder: ((order: string) => void) | undefined;
}) {
  if (!c.order || !onOrder) {
    return (
      <span role="columnheader" tabIndex={-1} title={c.title} className={c.className}>
        {c.name}
      </span>
    );
  }
  const sorted = order === c.order ? "ascending" : order === `-${c.order}` ? "descending" : "none";
  return (
    <span role="columnheader" tabIndex={-1} aria-sort={sorted} className={c.className}>
      <button
        type="button"
        title={c.title ?? `Order by ${c.name.toLowerCase()}`}
        onClick={() => onOrder(sorted === "descending" ? (c.order ?? "") : `-${c.order}`)}
        className="-mx-1 inline-flex h-6 items-center gap-1 rounded-control px-1 hover:text-fg"
      >
        {c.name} <span aria-hidden>{directions[sorted]}</span>
      </button>
    </span>
  );
}
