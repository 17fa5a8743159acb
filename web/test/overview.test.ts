import { describe, expect, it } from "vitest";
import { callouts, type Dot } from "../src/overview/callouts";
import { minutes } from "../src/overview/minutes";

describe("the last hour", () => {
  it("has sixty minutes, whatever the server knows", () => {
    const now = new Date("2026-03-12T09:14:07Z");
    const known = { minute: "2026-03-12T09:13:00Z", allow: 7, step_up: 1, deny: 2, would_refuse: 3 };
    const hour = minutes([known], now);
    expect(hour).toHaveLength(60);
    expect(hour.at(-1)?.minute).toBe("2026-03-12T09:14:00.000Z");
    expect(hour.at(-2)).toBe(known);
    expect(hour[0]).toEqual({ minute: "2026-03-12T08:15:00.000Z", allow: 0, step_up: 0, deny: 0, would_refuse: 0 });
  });
});

describe("notes on the map", () => {
  const dot = (country: string, x: number, y: number, deny = 1): Dot => ({
    place: { country, allow: 5, "step-up": 0, deny, total: 5 + deny },
    x,
    y,
    r: 4,
  });
  const bounds = { x: 0, y: 0, width: 400, height: 200 };
  const europe = [dot("NL", 200, 60), dot("BE", 202, 64), dot("DE", 208, 62), dot("FR", 198, 72), dot("IE", 185, 58)];

  it("cover neither each other nor a dot, and stay inside", () => {
    const notes = callouts(europe, () => 50, bounds);
    expect(notes).toHaveLength(europe.length);
    for (const [i, a] of notes.entries()) {
      expect(a.x).toBeGreaterThanOrEqual(0);
      expect(a.x + a.width).toBeLessThanOrEqual(400);
      expect(a.y).toBeGreaterThanOrEqual(0);
      const others = [...notes.slice(i + 1), ...europe.map((d) => ({ x: d.x - 4, y: d.y - 4, width: 8, height: 8 }))];
      for (const b of others) {
        const overlap = a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
        expect(overlap).toBe(false);
      }
    }
  });

  it("are only for what was stopped, the worst first", () => {
    const notes = callouts([dot("US", 50, 50, 0), dot("NL", 200, 60, 1), dot("BR", 100, 150, 9)], () => 50, bounds);
    expect(notes.map((n) => n.dot.place.country)).toEqual(["BR", "NL"]);
  });
});
