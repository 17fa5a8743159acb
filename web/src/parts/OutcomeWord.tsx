import type { Decision } from "../api/client";
import { outcomes } from "../text/words";
import { Shape } from "./Shape";

/** OutcomeWord shows a decision as a shape and a word; an observing point's refusal says that nothing was stopped. */
export function OutcomeWord({ decision }: { decision: Pick<Decision, "outcome" | "would_refuse"> }) {
  const { label, shape, tone } = outcomes[decision.outcome];
  return (
    <span className={`inline-flex items-center gap-1.5 whitespace-nowrap ${tone}`}>
      <Shape name={shape} />
      {label}
      {decision.would_refuse && (
        <span
          className="text-stepup"
          title="The point only observes: it let the request pass although the policies refuse it."
        >
          , would refuse
        </span>
      )}
    </span>
  );
}
