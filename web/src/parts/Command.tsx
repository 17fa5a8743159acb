import { Copy } from "./Copy";

/** Command shows a line to run in a terminal, with a button that copies it. */
export function Command({ line, label = "Copy" }: { line: string; label?: string }) {
  return (
    <div className="flex flex-wrap items-start justify-end gap-2 rounded-control border border-hair bg-bg p-2">
      <pre className="mono min-w-0 flex-1 basis-48 self-center whitespace-pre-wrap leading-[18px] [overflow-wrap:anywhere]">
        {line}
      </pre>
      <Copy text={line} label={label} />
    </div>
  );
}
