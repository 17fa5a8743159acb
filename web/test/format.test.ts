import { describe, expect, it } from "vitest";
import { ago, bits, count, duration, instant, plural, rate, short } from "../src/text/format";

describe("numbers", () => {
  it("have separators and units", () => {
    expect([
      count(4812),
      plural(1, "key"),
      plural(2, "identity", "identities"),
      rate(0),
      rate(0.42),
      rate(48.2),
      rate(3410),
    ]).toEqual(["4,812", "1 key", "2 identities", "0", "0.4", "48", "3,410"]);
    expect([bits(13.24), duration(9.36), duration(1234), duration(0)]).toEqual([
      "13.2 bits",
      "9.4 µs",
      "1.2 ms",
      "0.0 µs",
    ]);
  });
});

describe("times", () => {
  const now = new Date("2026-03-12T09:14:07Z");
  const before = (seconds: number) => new Date(now.getTime() - seconds * 1_000);

  it.each([
    [0, "now"],
    [1, "now"],
    [2, "2 s ago"],
    [59, "59 s ago"],
    [60, "1 min ago"],
    [3_599, "59 min ago"],
    [3_600, "1 h ago"],
    [86_400, "1 d ago"],
    [59 * 86_400, "59 d ago"],
    [61 * 86_400, "10 Jan 2026"],
    [-90, "in 1 min"],
  ])("%d seconds ago is %s", (seconds, want) => {
    expect(ago(before(seconds), now)).toBe(want);
  });

  it("that the server does not know are none", () => {
    expect(instant("0001-01-01T00:00:00Z")).toBeUndefined();
    expect(instant(undefined)).toBeUndefined();
    expect(instant("soon")).toBeUndefined();
    expect(instant("2026-03-12T09:14:07Z")).toEqual(now);
  });
});

describe("long ids", () => {
  it("keep both ends", () => {
    expect(short("nhi_mzxw6ytboimzxw6ytboi5a2q")).toBe("nhi_mzxw6ytb…5a2q");
    expect(short("nhi_short")).toBe("nhi_short");
  });
});
