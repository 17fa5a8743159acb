import type { Source } from "../api/client";
import { count, span } from "../text/format";

/** A Condition is how a source does, in one word, and what to do about it. */
export type Condition = { state: "works" | "waits" | "late" | "fails" | "disabled"; word: string; cure?: string };

/** A delivery further behind than this is late, in seconds: a thief is noticed no sooner than the log arrives. */
const late = 3_600;

/** condition says how a source does. */
export function condition(s: Pick<Source, "disabled" | "health">): Condition {
  const h = s.health;
  if (s.disabled) return { state: "disabled", word: "Disabled: what it sends is refused" };
  if (h.error)
    return {
      state: "fails",
      word: `Fails: the last delivery was not taken in (${count(h.failures)} in all)`,
      cure: "Nothing of a delivery that fails is kept, so it can be mended and sent again as a whole.",
    };
  if (h.deliveries === 0)
    return {
      state: "waits",
      word: "Nothing came from it since this process started",
      cure: "Send something with its key, as below. If the key is lost, add the source again under another name.",
    };
  if (h.lag !== undefined && h.lag > late)
    return {
      state: "late",
      word: `Late: its newest event was ${span(h.lag)} old when it came`,
      cure: "Send more often: a thief is noticed no sooner than the log arrives.",
    };
  if (h.events > 0 && h.refused > h.events)
    return {
      state: "late",
      word: "Most of what it sends is refused",
      cure: "Its log speaks about accounts that it is not declared for. Add a source that is.",
    };
  return { state: "works", word: "Works" };
}
