import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMay } from "../access/useMay";
import { me } from "../api/queries";
import { Skeleton } from "../parts/Skeleton";
import { tab } from "../parts/tab";
import type { SettingsPart } from "../router";
import { About } from "./About";
import { AuditLog } from "./AuditLog";
import { Health } from "./Health";
import { People } from "./People";
import { Tokens } from "./Tokens";
import { You } from "./You";

const route = getRouteApi("/settings");

/** SettingsPage is about those who use Muster, and how this installation does. */
export function SettingsPage() {
  const { part = "you" } = route.useSearch();
  const who = useQuery(me).data;
  const administers = useMay("administer");
  const audits = useMay("audit");
  if (!who) return <Skeleton />;
  const parts: { part: SettingsPart; label: string }[] = [
    { part: "you", label: "You" },
    ...(administers
      ? ([
          { part: "people", label: "People" },
          { part: "tokens", label: "Tokens" },
        ] as const)
      : []),
    ...(audits ? ([{ part: "audit", label: "Audit" }] as const) : []),
    { part: "health", label: "Health" },
    { part: "about", label: "About" },
  ];
  return (
    <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
      <h1 className="sr-only">Settings</h1>
      <nav aria-label="Settings" className="flex flex-wrap gap-x-1 border-b border-hair">
        {parts.map((p) => (
          <Link
            key={p.part}
            to="/settings"
            search={{ part: p.part === "you" ? undefined : p.part }}
            activeOptions={{ exact: true, includeSearch: true }}
            className={tab}
          >
            {p.label}
          </Link>
        ))}
      </nav>
      {part === "you" && <You me={who} />}
      {part === "people" && administers && <People />}
      {part === "tokens" && administers && <Tokens />}
      {part === "audit" && audits && <AuditLog />}
      {part === "health" && <Health />}
      {part === "about" && <About version={who.version} />}
    </div>
  );
}
