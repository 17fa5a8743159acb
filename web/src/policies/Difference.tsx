import { useMemo } from "react";
import { Hostile } from "../parts/Hostile";
import { Scroll } from "../parts/Scroll";
import { count, plural } from "../text/format";
import { clean } from "../text/hostile";
import { differences, type File, type FileDifference, type Hole, type Line } from "./lines";

/** Difference shows what two sets of files differ in, line by line. */
export function Difference({ old, now }: { old: readonly File[]; now: readonly File[] }) {
  const files = useMemo(() => differences(old, now), [old, now]);
  if (files.length === 0) return <p className="px-4 pb-4 text-13 text-muted">Nothing: the files are the same.</p>;
  return (
    <ul aria-label="Files that differ">
      {files.map((f) => (
        <li key={f.name} data-file={f.name} className="border-t border-hair">
          <details open={files.length <= 10}>
            <summary className="flex flex-wrap items-baseline gap-x-3 px-4 py-2 text-13 hover:bg-raised">
              <Hostile text={f.name} className="mono min-w-0" />
              <span className="text-muted">{f.kind}</span>
              <span className="ml-auto text-muted">
                {count(f.added)} new, {plural(f.removed, "line")} gone
              </span>
            </summary>
            <Rows f={f} />
          </details>
        </li>
      ))}
    </ul>
  );
}

const looks: Record<Line["kind"], { sign: string; word: string; tone: string }> = {
  same: { sign: " ", word: "", tone: "" },
  gone: { sign: "−", word: "gone: ", tone: "text-deny" },
  new: { sign: "+", word: "new: ", tone: "text-allow" },
};

function Rows({ f }: { f: FileDifference }) {
  if (!f.rows)
    return (
      <p className="px-4 pb-3 text-13 text-muted">
        Too much is different to be shown line by line. On the command line: muster policy diff.
      </p>
    );
  return (
    <Scroll label={`Difference of ${clean(f.name)}`} className="max-h-[60dvh] pb-2">
      <table className="mono w-full border-collapse leading-[18px]">
        <tbody>
          {f.rows.map((r, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the rows of one difference never move
            <Row key={i} r={r} />
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

function Row({ r }: { r: Line | Hole }) {
  if (r.kind === "hole")
    return (
      <tr className="text-muted">
        <td colSpan={3} className="px-4">
          … {plural(r.lines, "line")} the same
        </td>
      </tr>
    );
  const { sign, word, tone } = looks[r.kind];
  return (
    <tr className={tone}>
      <td className="w-px select-none pr-2 pl-4 text-right align-top text-muted">{r.now ?? r.old}</td>
      <td className="w-px select-none px-1 align-top">
        <span aria-hidden>{sign}</span>
        {word && <span className="sr-only">{word}</span>}
      </td>
      <td className="whitespace-pre-wrap pr-4 [overflow-wrap:anywhere]">{clean(r.text)}</td>
    </tr>
  );
}
