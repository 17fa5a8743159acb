import { describe, expect, it } from "vitest";
import type { Source } from "../src/api/client";
import { condition } from "../src/sources/condition";

const health: Source["health"] = {
  since: "2026-03-12T09:00:00Z",
  deliveries: 0,
  events: 0,
  unparsable: 0,
  refused: 0,
  failures: 0,
};
const of = (change: Partial<Source["health"]>, disabled = false) =>
  condition({ disabled, health: { ...health, ...change } }).state;

describe("the condition of a source", () => {
  it("says what is wrong, the worst first", () => {
    expect(of({})).toBe("waits");
    expect(of({ deliveries: 2, events: 9, lag: 30 })).toBe("works");
    expect(of({ deliveries: 2, events: 9, lag: 7200 })).toBe("late");
    expect(of({ deliveries: 2, events: 9, lag: 7200, error: "line 4", failures: 1 })).toBe("fails");
    expect(of({ error: "line 4", failures: 1 }, true)).toBe("disabled");
    expect(of({ deliveries: 1, events: 1, refused: 900, lag: 1 })).toBe("late");
  });
  it("always says what to do about what is wrong", () => {
    for (const h of [{}, { deliveries: 1, events: 1, lag: 9999 }, { error: "x", failures: 1 }]) {
      expect(condition({ disabled: false, health: { ...health, ...h } }).cure).toBeTruthy();
    }
  });
});
