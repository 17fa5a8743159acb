import type { Approval } from "../api/client";

/** states are where an approval can stand, in words. */
export const states: Record<Approval["state"], string> = {
  pending: "Waits for people",
  approved: "Approved, not used yet",
  denied: "Denied",
  used: "Approved and used",
  cancelled: "Closed",
  expired: "Nobody answered or used it in time",
};
