import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import type { FindingStatus } from "./api/queries";
import { NotFound } from "./shell/NotFound";
import { Shell } from "./shell/Shell";

// The address bar holds the state of every page. Unknown or malformed values
// are dropped, so an old link still opens something sensible.

type Raw = Record<string, unknown>;
const text = (v: unknown) => (typeof v === "string" && v !== "" ? v.slice(0, 2_048) : undefined);
const oneOf =
  <T extends string>(...allowed: T[]) =>
  (v: unknown) =>
    allowed.find((a) => a === v);

const outcome = oneOf("allow", "step-up", "deny");
const status = oneOf<FindingStatus | "all">("open", "acknowledged", "resolved", "dismissed", "all");
// The first tab needs no name: one page has one address.
const tab = oneOf<IdentityTab>("normal", "credentials", "decisions", "changes");
const days = oneOf<"7" | "28" | "90">("7", "28", "90");
const since = oneOf<Since>("1h", "24h", "7d", "30d");
const part = oneOf<SettingsPart>("people", "tokens", "audit", "health", "about");

export type ActivitySearch = {
  outcome?: "allow" | "step-up" | "deny";
  q?: string;
  identity?: string;
  point?: string;
  filter?: string;
  since?: Since;
  decision?: string;
};
export type Since = "1h" | "24h" | "7d" | "30d";
export type RefusalsSearch = { filter?: string; id?: string };
export type ApprovalsSearch = { view?: "history"; id?: string };
export type IdentitiesSearch = { filter?: string; order?: string };
export type IdentityTab = "activity" | "normal" | "credentials" | "decisions" | "changes";
export type IdentitySearch = { tab?: IdentityTab; days?: "7" | "28" | "90" };
export type PoliciesSearch = {
  view?: "history";
  filter?: string;
  snapshot?: string;
  with?: "force";
  file?: string;
  line?: string;
};
export type PointsSearch = { point?: string };
export type SettingsPart = "you" | "people" | "tokens" | "audit" | "health" | "about";
export type SettingsSearch = { part?: SettingsPart };
export type FindingsSearch = { status?: FindingStatus | "all"; view?: "actions"; id?: string };

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: lazyRouteComponent(() => import("./overview/OverviewPage"), "OverviewPage"),
});
const activity = createRoute({
  getParentRoute: () => root,
  path: "/activity",
  validateSearch: (s: Raw): ActivitySearch => ({
    outcome: outcome(s.outcome),
    q: text(s.q),
    identity: text(s.identity),
    point: text(s.point),
    filter: text(s.filter),
    since: since(s.since),
    decision: text(s.decision),
  }),
  component: lazyRouteComponent(() => import("./activity/ActivityPage"), "ActivityPage"),
});
const refusals = createRoute({
  getParentRoute: () => root,
  path: "/refusals",
  validateSearch: (s: Raw): RefusalsSearch => ({ filter: text(s.filter), id: text(s.id) }),
  component: lazyRouteComponent(() => import("./refusals/RefusalsPage"), "RefusalsPage"),
});
const findings = createRoute({
  getParentRoute: () => root,
  path: "/findings",
  validateSearch: (s: Raw): FindingsSearch => ({
    status: status(s.status),
    view: s.view === "actions" ? "actions" : undefined,
    id: text(s.id),
  }),
  component: lazyRouteComponent(() => import("./findings/FindingsPage"), "FindingsPage"),
});
const approvals = createRoute({
  getParentRoute: () => root,
  path: "/approvals",
  validateSearch: (s: Raw): ApprovalsSearch => ({ view: s.view === "history" ? "history" : undefined, id: text(s.id) }),
  component: lazyRouteComponent(() => import("./approvals/ApprovalsPage"), "ApprovalsPage"),
});
const identities = createRoute({
  getParentRoute: () => root,
  path: "/identities",
  validateSearch: (s: Raw): IdentitiesSearch => ({ filter: text(s.filter), order: text(s.order) }),
  component: lazyRouteComponent(() => import("./identities/IdentitiesPage"), "IdentitiesPage"),
});
const identity = createRoute({
  getParentRoute: () => root,
  path: "/identities/$id",
  validateSearch: (s: Raw): IdentitySearch => ({ tab: tab(s.tab), days: days(s.days) }),
  component: lazyRouteComponent(() => import("./identities/IdentityPage"), "IdentityPage"),
});
const policies = createRoute({
  getParentRoute: () => root,
  path: "/policies",
  validateSearch: (s: Raw): PoliciesSearch => ({
    view: s.view === "history" ? "history" : undefined,
    filter: text(s.filter),
    snapshot: text(s.snapshot),
    with: s.with === "force" ? "force" : undefined,
    file: text(s.file),
    line: text(s.line),
  }),
  component: lazyRouteComponent(() => import("./policies/PoliciesPage"), "PoliciesPage"),
});
const points = createRoute({
  getParentRoute: () => root,
  path: "/points",
  validateSearch: (s: Raw): PointsSearch => ({ point: text(s.point) }),
  component: lazyRouteComponent(() => import("./points/PointsPage"), "PointsPage"),
});
const sources = createRoute({
  getParentRoute: () => root,
  path: "/sources",
  component: lazyRouteComponent(() => import("./sources/SourcesPage"), "SourcesPage"),
});
const settings = createRoute({
  getParentRoute: () => root,
  path: "/settings",
  validateSearch: (s: Raw): SettingsSearch => ({ part: part(s.part) }),
  component: lazyRouteComponent(() => import("./settings/SettingsPage"), "SettingsPage"),
});

/** search reads and writes the address with plain words: ?outcome=deny, not JSON. */
const parseSearch = (s: string): Raw => Object.fromEntries(new URLSearchParams(s));
const stringifySearch = (s: Raw): string => {
  const out = new URLSearchParams();
  for (const [key, value] of Object.entries(s)) if (value !== undefined && value !== "") out.set(key, String(value));
  const written = out.toString();
  return written ? `?${written}` : "";
};

export const router = createRouter({
  routeTree: root.addChildren([
    overview,
    activity,
    refusals,
    findings,
    approvals,
    identities,
    identity,
    policies,
    points,
    sources,
    settings,
  ]),
  parseSearch,
  stringifySearch,
  defaultPreload: "intent",
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
