import {
  Activity,
  Ban,
  Cable,
  Fingerprint,
  LayoutDashboard,
  ScrollText,
  Settings,
  ShieldCheck,
  TriangleAlert,
  UserCheck,
} from "lucide-react";

/**
 * The pages, in the order of the navigation; g then the letter goes there. A
 * narrow window has room for the main ones, the others are behind More.
 */
export const pages = [
  { to: "/", label: "Overview", key: "o", icon: LayoutDashboard, main: true },
  { to: "/activity", label: "Activity", key: "a", icon: Activity, main: true },
  { to: "/refusals", label: "Refusals", key: "r", icon: Ban, main: false },
  { to: "/findings", label: "Findings", key: "f", icon: TriangleAlert, main: true },
  { to: "/approvals", label: "Approvals", key: "v", icon: UserCheck, main: false },
  { to: "/identities", label: "Identities", key: "i", icon: Fingerprint, main: true },
  { to: "/policies", label: "Policies", key: "l", icon: ScrollText, main: false },
  { to: "/points", label: "Points", key: "p", icon: ShieldCheck, main: false },
  { to: "/sources", label: "Sources", key: "s", icon: Cable, main: false },
  { to: "/settings", label: "Settings", key: "e", icon: Settings, main: false },
] as const;

/** titleOf is what the window is called at a path: tabs and histories tell pages apart by it. */
export function titleOf(path: string): string {
  const page = pages.find((p) => (p.to === "/" ? path === "/" : path === p.to || path.startsWith(`${p.to}/`)));
  return page ? `${page.label} · Muster` : "Muster";
}
