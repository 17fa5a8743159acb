import type { Decision } from "../api/client";
import { countryName } from "../text/words";

export type Wanted = { outcome?: string; identity?: string; point?: string; q: string };

/**
 * determining is the policy that determined a decision first: of a refusal one that forbids, because a permit
 * that is a reason beside it did not decide.
 */
export function determining(d: Decision): string {
  const reasons = d.reasons ?? [];
  const refused = d.outcome !== "allow" || d.would_refuse || !!d.glass;
  return ((refused && reasons.find((r) => r.effect !== "permit")) || reasons[0])?.policy ?? "";
}

/** matches says whether a decision is wanted; every word of q must be somewhere in what its row shows. */
export function matches(d: Decision, want: Wanted): boolean {
  if (want.outcome && d.outcome !== want.outcome) return false;
  if (want.identity && d.identity !== want.identity) return false;
  if (want.point && d.point !== want.point) return false;
  if (!want.q.trim()) return true;
  const words = want.q.toLowerCase().split(/\s+/).filter(Boolean);
  const row = [
    d.name,
    d.identity,
    d.credential,
    d.key_id,
    d.action,
    d.operation,
    d.resource,
    d.address,
    d.country,
    d.country && countryName(d.country),
    d.network,
    d.asn ? `as${d.asn}` : "",
    d.agent,
    d.point_name,
    ...(d.reasons ?? []).flatMap((r) => [r.policy, r.text]),
  ]
    .join("\n")
    .toLowerCase();
  return words.every((w) => row.includes(w));
}
