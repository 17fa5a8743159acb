import { describe, expect, it } from "vitest";
import { cells, shade, shades } from "../src/identities/heat";

const now = new Date(2026, 2, 12, 9, 30);
const at = (day: number, hour: number) => new Date(2026, 2, day, hour).toISOString();

describe("the map of hours", () => {
  it("has every hour of every day, and counts fall into theirs", () => {
    const grid = cells(
      [
        { start: at(12, 9), count: 5, denied: 1 },
        { start: at(12, 9), count: 2, denied: 0 },
        { start: at(6, 0), count: 3, denied: 0 },
      ],
      7,
      now,
    );
    expect(grid).toHaveLength(7 * 24);
    expect(grid.filter((c) => c.count > 0)).toMatchObject([
      { day: 0, hour: 0, count: 3, denied: 0 },
      { day: 6, hour: 9, count: 7, denied: 1 },
    ]);
  });
  it("leaves out what lies before and after", () => {
    const grid = cells(
      [
        { start: at(5, 23), count: 1, denied: 0 },
        { start: at(13, 0), count: 1, denied: 0 },
      ],
      7,
      now,
    );
    expect(grid.every((c) => c.count === 0)).toBe(true);
  });
});

describe("the shades", () => {
  it("tell nothing from little, and little from much", () => {
    expect([0, 1, 10, 100, 1000].map((n) => shade(n, 1000))).toEqual([0, 1, 2, 3, 4]);
    expect(shade(7, 7)).toBe(shades);
  });
});
