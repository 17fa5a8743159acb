import type { Refusal } from "../api/client";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";

/** Caller is who was refused: the identity that was proven, or who the caller said to be. */
export function Caller({ r }: { r: Refusal }) {
  // What is in no inventory has no name, and no page.
  if (r.name) return <IdentityLink id={r.identity || r.claimed || ""} name={r.name} className="text-fg" />;
  if (r.identity) return <Hostile text={r.identity} className="mono min-w-0" />;
  if (r.claimed) return <Hostile text={r.claimed} className="mono min-w-0" />;
  return <span className="text-muted">nobody</span>;
}
