// @vitest-environment jsdom
import { act, renderHook } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { shownParts } from "../src/activity/Conditions";
import { determining, matches } from "../src/activity/filter";
import { sentence } from "../src/activity/sentence";
import { useHeld } from "../src/parts/useHeld";
import { decision } from "./decision";

describe("the filter", () => {
  it.each([
    ["", true],
    ["release", true],
    ["RELEASE payments", true],
    ["release nowhere", false],
    ["netherlands", true],
    ["as9009", true],
    ["203.0.113", true],
    ["   ", true],
  ])("%j finds the row: %s", (q, want) => {
    expect(matches(decision(), { q })).toBe(want);
  });
  it("asks for the outcome, the identity and the point as well", () => {
    expect(matches(decision(), { q: "", outcome: "deny" })).toBe(false);
    expect(matches(decision(), { q: "", identity: "nhi_other" })).toBe(false);
    expect(matches(decision(), { q: "", point: "nhi_point" })).toBe(true);
  });
});

describe("the policy that decided", () => {
  const reason = (policy: string, effect: string) => ({ policy, effect, position: "", text: "" });
  const both = [reason("base-permit", "permit"), reason("lease-none", "forbid")];
  it("is one that forbids when it was refused, or would have been", () => {
    expect(determining(decision({ outcome: "deny", reasons: both }))).toBe("lease-none");
    expect(determining(decision({ would_refuse: true, reasons: both }))).toBe("lease-none");
    expect(determining(decision({ glass: "1", reasons: both }))).toBe("lease-none");
  });
  it("is the first one otherwise", () => {
    expect(determining(decision({ reasons: both }))).toBe("base-permit");
    expect(determining(decision({ outcome: "deny", reasons: both.slice(0, 1) }))).toBe("base-permit");
    expect(determining(decision({ outcome: "deny" }))).toBe("");
  });
});

describe("the conditions", () => {
  const part = (
    depth: number,
    text: string,
    truth: "true" | "false" | "not reached",
    join: "" | "and" | "or" = "",
  ) => ({
    clause: "when" as const,
    depth,
    text,
    truth,
    join,
    values: [],
  });
  it("say how parts belong together instead of all their text, and leave out what was not reached", () => {
    const shown = shownParts([
      part(0, "a && (b || c)", "false", "and"),
      part(1, "a", "false"),
      part(1, "b || c", "not reached", "or"),
      part(2, "b", "not reached"),
      part(0, "d", "true"),
    ]);
    expect(shown.map((c) => c.text)).toEqual(["all of", "a", "b || c", "d"]);
  });
});

describe("the sentence", () => {
  it("says what was asked and what came of it", () => {
    expect(sentence(decision())).toBe(
      "ci/release-bot asked for GET /payments/{id} on payments/api from Netherlands, and may.",
    );
  });
  it("names the most unusual thing about a refusal", () => {
    const d = decision({
      outcome: "deny",
      features: [
        { name: "hour", usual: "02", seen: "21", bits: 3 },
        { name: "network", usual: "AMAZON-02", seen: "M247", bits: 14 },
      ],
    });
    expect(sentence(d)).toContain("was stopped. The most unusual about it: network M247.");
  });
  it("does not claim that an observing point stopped anything", () => {
    expect(sentence(decision({ outcome: "allow", would_refuse: true }))).toContain("went through");
  });
  it("shows what a name hides", () => {
    expect(sentence(decision({ name: "x\u202Ey" }))).toContain("⟨U+202E⟩");
  });
});

describe("a list that somebody reads", () => {
  const [a, b, c] = [decision({ id: "a" }), decision({ id: "b" }), decision({ id: "c" })];
  const at = (rows: ReturnType<typeof decision>[], hold: boolean) => ({ rows, hold });

  it("stands still, counts what waits, and lets it in when asked", () => {
    const hook = renderHook(({ rows, hold }) => useHeld(rows, hold), { initialProps: at([a], false) });
    hook.rerender(at([a], true));
    hook.rerender(at([c, b, a], true));
    expect(hook.result.current.shown).toEqual([a]);
    expect(hook.result.current.waiting).toBe(2);
    act(() => hook.result.current.release());
    expect(hook.result.current.shown).toEqual([c, b, a]);
    expect(hook.result.current.waiting).toBe(0);
  });
  it("goes on when nobody reads any more", () => {
    const hook = renderHook(({ rows, hold }) => useHeld(rows, hold), { initialProps: at([a], true) });
    hook.rerender(at([b, a], false));
    expect(hook.result.current.shown).toEqual([b, a]);
  });
  it("shows the rows of another filter at once", () => {
    const hook = renderHook(({ rows, hold }) => useHeld(rows, hold), { initialProps: at([b, a], true) });
    hook.rerender(at([c], true));
    expect(hook.result.current.shown).toEqual([c]);
  });
  it("shows the first rows even while held", () => {
    const hook = renderHook(({ rows, hold }) => useHeld(rows, hold), { initialProps: at([], true) });
    hook.rerender(at([a], true));
    expect(hook.result.current.shown).toEqual([a]);
  });
});
