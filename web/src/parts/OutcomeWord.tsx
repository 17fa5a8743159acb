import type { Decision } from "../api/client";
import { brokenGlass, observed, outcomes } from "../text/words";
import { Shape } from "./Shape";

/** OutcomeWord shows a decision as a shape and a word. What an observing point let pass is called by what it would be. */
export function OutcomeWord({ decision }: { decision: Pick<Decision, "outcome" | "would_refuse" | "glass"> }) {
  const { label, shape, tone } = decision.glass
    ? brokenGlass
    : decision.would_refuse
      ? observed
      : outcomes[decision.outcome];
  return (
    <span
      className={`inline-flex items-center gap-1.5 whitespace-nowrap ${tone}`}
      title={
        decision.glass
          ? "The policies refuse it: it passed only because two people had opened the point by a break-glass code."
          : decision.would_refuse
            ? "The point only observes: it let the request pass although the policies refuse it."
            : undefined
      }
    >
      <Shape name={shape} />
      {label}
    </span>
  );
}
