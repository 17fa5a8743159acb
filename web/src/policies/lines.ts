// What two sets of files differ in, line by line.

/** A Line of a difference: kept, gone from the old or new in the new, with its number there. */
export type Line = { kind: "same" | "gone" | "new"; text: string; old?: number; now?: number };
/** A Hole stands for lines that are the same and not shown. */
export type Hole = { kind: "hole"; lines: number };
export type FileDifference = {
  name: string;
  kind: "new" | "gone" | "changed";
  added: number;
  removed: number;
  /** Undefined when the texts are too different to be compared line by line. */
  rows?: readonly (Line | Hole)[];
};
export type File = { name: string; text: string };

/** The most steps that comparing two files takes: more is no comparison that anybody reads. */
const mostSteps = 500;
/** How many lines around a change are shown. */
const around = 3;

const linesOf = (text: string): string[] => {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
};

/** differences compares two sets of files by name. Files that are the same are left out. */
export function differences(old: readonly File[], now: readonly File[]): FileDifference[] {
  const before = new Map(old.map((f) => [f.name, f.text]));
  const after = new Map(now.map((f) => [f.name, f.text]));
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((name) => {
    const a = before.get(name);
    const b = after.get(name);
    if (a === b) return [];
    const lines = compare(linesOf(a ?? ""), linesOf(b ?? ""));
    return [
      {
        name,
        kind: a === undefined ? ("new" as const) : b === undefined ? ("gone" as const) : ("changed" as const),
        added: lines ? lines.filter((l) => l.kind === "new").length : linesOf(b ?? "").length,
        removed: lines ? lines.filter((l) => l.kind === "gone").length : linesOf(a ?? "").length,
        rows: lines && folded(lines),
      },
    ];
  });
}

/** compare finds the fewest lines that make b of a (Myers 1986), or nothing when they are too many. */
export function compare(a: readonly string[], b: readonly string[]): Line[] | undefined {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const middle = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail), head);
  if (!middle) return undefined;
  const same = (from: number, to: number, shift: number): Line[] =>
    a.slice(from, to).map((text, i) => ({ kind: "same", text, old: from + i + 1, now: from + i + 1 + shift }));
  return [...same(0, head, 0), ...middle, ...same(a.length - tail, a.length, b.length - a.length)];
}

function between(a: readonly string[], b: readonly string[], shift: number): Line[] | undefined {
  if (a.length === 0) return b.map((text, i) => ({ kind: "new", text, now: shift + i + 1 }));
  if (b.length === 0) return a.map((text, i) => ({ kind: "gone", text, old: shift + i + 1 }));
  const most = Math.min(a.length + b.length, mostSteps);
  let furthest = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let steps = 0; steps <= most; steps++) {
    trace.push(furthest);
    furthest = new Map(furthest);
    for (let k = -steps; k <= steps; k += 2) {
      const down = k === -steps || (k !== steps && at(furthest, k - 1) < at(furthest, k + 1));
      let x = down ? at(furthest, k + 1) : at(furthest, k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return walkBack(a, b, trace, steps, shift);
    }
  }
  return undefined;
}

const at = (m: Map<number, number>, k: number) => m.get(k) ?? -1;

function walkBack(
  a: readonly string[],
  b: readonly string[],
  trace: readonly Map<number, number>[],
  steps: number,
  shift: number,
): Line[] {
  const out: Line[] = [];
  let x = a.length;
  let y = b.length;
  const same = () => out.push({ kind: "same", text: a[--x] ?? "", old: x + shift + 1, now: --y + shift + 1 });
  for (let d = steps; d > 0; d--) {
    const before = trace[d] ?? new Map<number, number>();
    const k = x - y;
    const down = k === -d || (k !== d && at(before, k - 1) < at(before, k + 1));
    const fromX = at(before, down ? k + 1 : k - 1);
    const startX = down ? fromX : fromX + 1;
    while (x > startX) same();
    if (down) out.push({ kind: "new", text: b[--y] ?? "", now: y + shift + 1 });
    else out.push({ kind: "gone", text: a[--x] ?? "", old: x + shift + 1 });
  }
  while (x > 0 && y > 0) same();
  return out.reverse();
}

/** folded leaves out what is far from any change. */
function folded(lines: readonly Line[]): (Line | Hole)[] {
  const near = new Array<boolean>(lines.length).fill(false);
  for (const [i, l] of lines.entries()) {
    if (l.kind !== "same") near.fill(true, Math.max(0, i - around), i + around + 1);
  }
  const out: (Line | Hole)[] = [];
  for (const [i, l] of lines.entries()) {
    const last = out.at(-1);
    if (near[i]) out.push(l);
    else if (last?.kind === "hole") last.lines++;
    else out.push({ kind: "hole", lines: 1 });
  }
  return out;
}
