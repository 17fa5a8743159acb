import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decisionFields } from "../src/activity/fields";
import { complete } from "../src/filter/complete";
import { identityFields } from "../src/filter/identityFields";
import { refusalFields } from "../src/filter/refusalFields";
import { errorColumn, holds, terms, toggle, written } from "../src/filter/terms";
import { policyFields } from "../src/policies/fields";

describe("the terms of a filter", () => {
  it("are found with their place", () => {
    expect(terms('kind:iam-user,agent -owner:* risk>=50 "two words"')).toEqual([
      {
        from: 0,
        to: 19,
        not: false,
        field: "kind",
        sign: ":",
        values: [
          { text: "iam-user", quoted: false, from: 5, to: 13 },
          { text: "agent", quoted: false, from: 14, to: 19 },
        ],
      },
      {
        from: 20,
        to: 28,
        not: true,
        field: "owner",
        sign: ":",
        values: [{ text: "*", quoted: false, from: 27, to: 28 }],
      },
      {
        from: 29,
        to: 37,
        not: false,
        field: "risk",
        sign: ">=",
        values: [{ text: "50", quoted: false, from: 35, to: 37 }],
      },
      {
        from: 38,
        to: 49,
        not: false,
        field: "",
        sign: "",
        values: [{ text: "two words", quoted: true, from: 38, to: 49 }],
      },
    ]);
  });
  it.each(["arn:aws:iam::1:user/x", "https://example.com", "-", '"open', "kind:", "kind:a,"])(
    "%j does not end in a loop",
    (text) => {
      expect(terms(text).at(-1)?.to).toBe(text.length);
    },
  );
  it("an ARN is a word", () => {
    expect(terms("arn:aws:iam::1:user/x")[0]?.field).toBe("");
  });
});

describe("a facet", () => {
  it("joins the values of its field, and leaves again", () => {
    const one = toggle("worker", "kind", "agent");
    expect(one).toBe("worker kind:agent");
    const two = toggle(one, "kind", "iam-user");
    expect(two).toBe("worker kind:agent,iam-user");
    expect(holds(two, "kind", "agent")).toBe(true);
    expect(toggle(toggle(two, "kind", "agent"), "kind", "iam-user")).toBe("worker");
  });
  it("asks for absence", () => {
    const none = toggle("", "owner", undefined, true);
    expect(none).toBe("-owner:*");
    expect(holds(none, "owner", undefined, true)).toBe(true);
    expect(holds(none, "owner", undefined)).toBe(false);
    expect(toggle(none, "owner", undefined, true)).toBe("");
  });
  it("takes any value as it is", () => {
    for (const value of ["a b", 'say "hi"', "back\\slash", "a,b", "-x", "*", "", "x:y", "ünï"]) {
      const text = toggle("", "name", value);
      expect(holds(text, "name", value), text).toBe(true);
      expect(toggle(text, "name", value)).toBe("");
    }
    expect(written("plain-1/2")).toBe("plain-1/2");
  });
});

describe("the completion", () => {
  const known = (field: string) => (field === "kind" ? [{ value: "iam-user", count: 900 }] : []);
  const labels = (text: string, caret = text.length) =>
    complete(text, caret, identityFields, known).map((o) => o.label);

  it("offers fields by their beginning, then their values with what is known of them", () => {
    expect(labels("ki")).toEqual(["kind:"]);
    expect(labels("kind:")).toEqual(["iam-user", "*"]);
    expect(labels("state:d")).toContain("dormant");
    expect(labels("risk")).toEqual(["risk>="]);
    expect(labels("last_used<")).toContain("30d");
    expect(labels("-sha")).toEqual(["shadow:"]);
  });
  it("replaces only the value that the caret is in", () => {
    const text = "kind:ia worker";
    const [first] = complete(text, 7, identityFields, known);
    expect(first && text.slice(0, first.from) + first.insert + text.slice(first.to).trimStart()).toBe(
      "kind:iam-user worker",
    );
  });
  it("offers nothing for a field that is not there", () => {
    expect(labels("nonsense:x")).toEqual([]);
  });
});

it("the place of an error is read from what the server says", () => {
  expect(errorColumn('filter, column 12: there is no field "ownr"')).toBe(12);
  expect(errorColumn("something else")).toBeUndefined();
});

it("the fields that are offered are those of the manual", () => {
  const manual = readFileSync("../docs/reference/filter.md", "utf8");
  for (const [list, fields] of [
    ["Identities", identityFields],
    ["Refusals", refusalFields],
    ["Decisions", decisionFields],
    ["Policies", policyFields],
  ] as const) {
    const section = manual.split(`\n## ${list}\n`)[1]?.split("\n## ")[0] ?? "";
    const documented = [...section.matchAll(/^\| `(\w+)`/gm)].map((m) => m[1]);
    expect(documented.length, list).toBeGreaterThan(5);
    expect(fields.map((f) => f.name).sort(), list).toEqual(documented.sort());
  }
});
