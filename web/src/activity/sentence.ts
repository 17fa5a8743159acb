import type { Decision } from "../api/client";
import { clean } from "../text/hostile";
import { countryName, featureName } from "../text/words";

/** sentence says in words what was asked and what came of it. */
export function sentence(d: Decision): string {
  const who = clean(d.name || d.key_id || "A caller that nobody knows");
  const what = clean(d.operation || d.action || "something");
  const where = d.country ? ` from ${countryName(d.country)}` : "";
  const via = d.resource ? ` on ${clean(d.resource)}` : "";
  const strange = [...(d.features ?? [])].sort((a, b) => b.bits - a.bits)[0];
  const because =
    strange && strange.bits >= 6
      ? ` The most unusual about it: ${featureName(strange.name).toLowerCase()} ${clean(strange.seen)}.`
      : "";
  if (d.glass)
    return `${who} asked for ${what}${via}${where}. The policies refuse it, and it went through because two people had opened the point by a break-glass code.${because}`;
  if (d.would_refuse)
    return `${who} asked for ${what}${via}${where}. The policies refuse it, but the point only observes, so it went through.${because}`;
  switch (d.outcome) {
    case "allow":
      return `${who} asked for ${what}${via}${where}, and may.`;
    case "step-up":
      return `${who} asked for ${what}${via}${where} and was stopped until it proves more.${because}`;
    default:
      return `${who} asked for ${what}${via}${where} and was stopped.${because}`;
  }
}
