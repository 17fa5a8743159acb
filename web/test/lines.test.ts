import { describe, expect, it } from "vitest";
import { compare, differences } from "../src/policies/lines";

/** written is a difference as a patch shows it. */
const written = (a: string, b: string) =>
  compare([...a], [...b])?.map((l) => ({ same: " ", gone: "-", new: "+" })[l.kind] + l.text);

/** sides are what a difference says that the old and the new were. */
function sides(a: readonly string[], b: readonly string[]) {
  const lines = compare(a, b) ?? [];
  const old = lines.filter((l) => l.kind !== "new");
  const now = lines.filter((l) => l.kind !== "gone");
  return { old, now, changes: lines.filter((l) => l.kind !== "same").length };
}

describe("difference", () => {
  it("says which lines went and came, the fewest", () => {
    expect(written("abc", "abc")).toEqual([" a", " b", " c"]);
    expect(written("", "ab")).toEqual(["+a", "+b"]);
    expect(written("ab", "")).toEqual(["-a", "-b"]);
    expect(written("abc", "axc")).toEqual([" a", "-b", "+x", " c"]);
    expect(sides([..."abcabba"], [..."cbabac"]).changes).toBe(5);
  });

  it("gives both sides back whole, with their numbers, whatever they are", () => {
    let seed = 7;
    const random = (n: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * n);
    };
    for (let i = 0; i < 100; i++) {
      const make = () => Array.from({ length: random(9) }, () => "abc".charAt(random(3)));
      const a = make();
      const b = make();
      const { old, now } = sides(a, b);
      expect(old.map((l) => l.text)).toEqual(a);
      expect(now.map((l) => l.text)).toEqual(b);
      expect(old.map((l) => l.old)).toEqual(a.map((_, n) => n + 1));
      expect(now.map((l) => l.now)).toEqual(b.map((_, n) => n + 1));
    }
  });

  it("compares files by name, and folds what is far from a change", () => {
    const long = Array.from({ length: 40 }, (_, i) => `line ${i}`);
    const found = differences(
      [
        { name: "a.cedar", text: long.join("\n") },
        { name: "gone.cedar", text: "x\n" },
        { name: "same.cedar", text: "s" },
      ],
      [
        { name: "a.cedar", text: long.with(20, "other").join("\n") },
        { name: "new.cedar", text: "y\nz\n" },
        { name: "same.cedar", text: "s" },
      ],
    );
    expect(found.map((f) => [f.name, f.kind, f.added, f.removed])).toEqual([
      ["a.cedar", "changed", 1, 1],
      ["gone.cedar", "gone", 0, 1],
      ["new.cedar", "new", 2, 0],
    ]);
    const rows = found[0]?.rows ?? [];
    expect(rows[0]).toEqual({ kind: "hole", lines: 17 });
    expect(rows.at(-1)).toEqual({ kind: "hole", lines: 16 });
    expect(rows).toHaveLength(10);
  });

  it("gives up on what nobody would read", () => {
    const a = Array.from({ length: 3_000 }, (_, i) => `a${i}`);
    const b = Array.from({ length: 3_000 }, (_, i) => `b${i}`);
    expect(compare(a, b)).toBeUndefined();
  });
});
