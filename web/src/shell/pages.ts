import { Activity, Fingerprint, LayoutDashboard, ShieldCheck, TriangleAlert } from "lucide-react";

/** The pages, in the order of the navigation; g then the letter goes there. */
export const pages = [
  { to: "/", label: "Overview", key: "o", icon: LayoutDashboard },
  { to: "/activity", label: "Activity", key: "a", icon: Activity },
  { to: "/findings", label: "Findings", key: "f", icon: TriangleAlert },
  { to: "/identities", label: "Identities", key: "i", icon: Fingerprint },
  { to: "/points", label: "Points", key: "p", icon: ShieldCheck },
] as const;
