// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Live, merge } from "../src/api/live";
import { decision } from "./decision";

/** Source is an EventSource that the test speaks through. */
class Source extends EventTarget {
  static readonly CLOSED = 2;
  static last: Source;
  static made = 0;
  readyState = 1;
  onerror: (() => void) | undefined;
  constructor(readonly url: string) {
    super();
    Source.last = this;
    Source.made++;
  }
  close() {
    this.readyState = Source.CLOSED;
  }
  say(event: string, data: unknown) {
    this.dispatchEvent(new MessageEvent(event, { data: JSON.stringify(data) }));
  }
}

let live: Live;
beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", Source);
  Source.made = 0;
  live = new Live();
  live.start();
  Source.last.say("hello", { generation: 1 });
});
afterEach(() => {
  live.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the live stream", () => {
  it("opens one connection for every topic", () => {
    live.start();
    expect(Source.made).toBe(1);
    expect(Source.last.url).toBe("/v1/stream?topics=decision,finding,action,approval");
    expect(live.read().connection).toBe("live");
  });

  it("tells a burst of decisions at once, the newest first", () => {
    const told = vi.fn();
    live.subscribe(told);
    for (const id of ["a", "b", "c"]) Source.last.say("decision", decision({ id }));
    expect(told).not.toHaveBeenCalled();
    vi.advanceTimersByTime(600);
    expect(told).toHaveBeenCalledTimes(1);
    expect(live.read().decisions.map((d) => d.id)).toEqual(["c", "b", "a"]);
  });

  it("joins the past to what came live without showing anything twice", () => {
    Source.last.say("decision", decision({ id: "b", at: "2026-03-12T09:14:08Z" }));
    vi.advanceTimersByTime(600);
    live.add([decision({ id: "b", at: "2026-03-12T09:14:08Z" }), decision({ id: "a" })]);
    expect(live.read().decisions.map((d) => d.id)).toEqual(["b", "a"]);
    expect(live.read().places.get("NL")).toEqual({ allow: 2, "step-up": 0, deny: 0 });
  });

  it("counts places for five minutes", () => {
    Source.last.say("decision", decision({ id: "a", outcome: "deny" }));
    Source.last.say("decision", decision({ id: "b", at: "2026-03-12T09:20:07Z", country: "US" }));
    vi.advanceTimersByTime(600);
    expect([...live.read().places.keys()]).toEqual(["US"]);
  });

  it("forgets the oldest of very many", () => {
    for (let i = 0; i < 2_500; i++) Source.last.say("decision", decision({ id: `d${i}` }));
    vi.advanceTimersByTime(600);
    expect(live.read().decisions).toHaveLength(2_000);
    expect(live.read().decisions[0]?.id).toBe("d2499");
  });

  it("says what is no longer fresh", () => {
    const changed: string[] = [];
    live.onChange = (topic) => changed.push(topic);
    Source.last.say("finding", {});
    Source.last.say("action", {});
    expect(changed).toEqual(["finding", "action"]);
  });

  it("tells how many decisions it was too slow for", () => {
    Source.last.say("dropped", { decisions: 7 });
    expect(live.read().dropped).toBe(7);
  });

  it("connects again after a loss, and says so", () => {
    Source.last.onerror?.();
    expect(live.read().connection).toBe("reconnecting");
    vi.advanceTimersByTime(2_000);
    expect(Source.made).toBe(2);
    Source.last.say("hello", {});
    expect(live.read().connection).toBe("live");
    expect(live.read().lostAt).toBe(0);
  });

  it("is offline after some losses in a row", () => {
    for (let i = 0; i < 4; i++) {
      Source.last.onerror?.();
      vi.advanceTimersByTime(20_000);
    }
    expect(live.read().connection).toBe("offline");
  });

  it("takes a silent connection for dead", () => {
    vi.advanceTimersByTime(41_000);
    expect(live.read().connection).toBe("reconnecting");
  });

  it("asks who it is when the stream is refused", () => {
    const refused = vi.fn();
    live.onRefused = refused;
    Source.last.close();
    Source.last.onerror?.();
    expect(refused).toHaveBeenCalledOnce();
  });
});

describe("two lists of decisions", () => {
  const list = (...seconds: number[]) => seconds.map((s) => decision({ id: `d${s}`, at: `2026-03-12T09:14:0${s}Z` }));
  it.each([
    ["one after the other", list(5, 4), list(3, 2), "d5 d4 d3 d2"],
    ["interleaved", list(5, 3), list(4, 2), "d5 d4 d3 d2"],
    ["the second one newer", list(3), list(5, 4), "d5 d4 d3"],
    ["an empty one", list(), list(2, 1), "d2 d1"],
  ])("become one, the newest first: %s", (_, a, b, want) => {
    expect(
      merge(a, b)
        .map((d) => d.id)
        .join(" "),
    ).toBe(want);
  });
});
