import { useEffect, useRef } from "react";
import { Scroll } from "../parts/Scroll";
import { clean } from "../text/hostile";

/** The most lines of a file that are shown: the file itself is a click away. */
const most = 5_000;

/** Cedar is the text of a file with the numbers of its lines; one line may be marked. */
export function Cedar({
  text,
  first = 1,
  marked,
  label,
}: {
  text: string;
  /** The number of the first line. */
  first?: number;
  marked?: number;
  label: string;
}) {
  const here = useRef<HTMLTableRowElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another mark is another place
  useEffect(() => here.current?.scrollIntoView({ block: "center" }), [marked]);
  const lines = text.replace(/\n$/, "").split("\n");
  return (
    <Scroll label={label} className="max-h-[60dvh] min-w-0 rounded-control border border-hair bg-bg">
      <table className="mono w-full border-collapse leading-[18px]">
        <tbody>
          {lines.slice(0, most).map((line, i) => {
            const n = first + i;
            return (
              <tr
                key={n}
                ref={n === marked ? here : undefined}
                aria-current={n === marked ? "true" : undefined}
                className={n === marked ? "bg-raised shadow-[inset_3px_0_0_var(--accent)]" : undefined}
              >
                <td className="w-px select-none px-2 text-right align-top text-muted">{n}</td>
                <td className="whitespace-pre-wrap pr-2 [overflow-wrap:anywhere]">{clean(line)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {lines.length > most && <p className="px-2 py-1 text-12 text-muted">The rest is left out here.</p>}
    </Scroll>
  );
}
