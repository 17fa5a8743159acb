import { Copy } from "./Copy";

/** Command shows a line to run in a terminal, with a button that copies it. */
export function Command({ line, label = "Copy" }: { line: string; label?: string }) {
  return (
    <div className="flex items-start gap-2 rounded-control border border-hair bg-bg p-2">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section className="min-w-0 flex-1 self-center overflow-x-auto" tabIndex={0} aria-label="To run in a terminal">
        <pre className="mono leading-[18px]">{line}</pre>
      </section>
      <Copy text={line} label={label} />
    </div>
  );
}
