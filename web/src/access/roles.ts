import type { Me } from "../api/client";

type Grant = NonNullable<Me["roles"]>[number];

/** The roles, from the least to the most, and what each is for. */
export const roles = {
  viewer: "Sees everything that is not the audit log.",
  analyst: "Also judges findings, names owners, saves views.",
  responder: "Also contains, undoes, and changes the state of credentials.",
  auditor: "Sees everything, the audit log included, and changes nothing.",
  admin: "May do everything, people and settings included.",
} as const;

export type Role = keyof typeof roles;

/** grantText writes a grant in words: responder of team:payments in production. */
export function grantText(g: Grant): string {
  return [
    g.role,
    g.team && `of ${g.team.startsWith("team:") ? g.team : `team:${g.team}`}`,
    g.environment && `in ${g.environment}`,
  ]
    .filter(Boolean)
    .join(" ");
}
