import { useQuery } from "@tanstack/react-query";
import type { Me } from "../api/client";
import { me } from "../api/queries";

/** A Right is what a role allows beyond looking. */
export type Right = "read" | "triage" | "respond" | "administer" | "audit" | "report";

const takes: Partial<Record<Right, string>> = {
  triage: "This takes the role analyst, responder or admin, which you do not have. An administrator can grant it.",
  respond: "This takes the role responder or admin, which you do not have. An administrator can grant it.",
  administer: "This takes the role admin, which you do not have. An administrator can grant it.",
  audit: "This takes the role auditor or admin, which you do not have. An administrator can grant it.",
};

/** refusal says why somebody may not use a right, or nothing when they may. The server decides again on every request. */
export function refusal(who: Me | undefined, right: Right): string | undefined {
  if (!who) return "Muster has not said yet what you may do.";
  if ((who.rights ?? []).includes(right)) return undefined;
  return takes[right] ?? "Your role does not allow this.";
}

/** useRefusal is refusal for whoever is signed in. */
export function useRefusal(right: Right): string | undefined {
  return refusal(useQuery(me).data, right);
}

/** useMay says whether whoever is signed in has a right. */
export const useMay = (right: Right): boolean => useRefusal(right) === undefined;
