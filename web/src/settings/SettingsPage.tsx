import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMay } from "../access/useMay";
import { me } from "../api/queries";
import { Skeleton } from "../parts/Skeleton";
import type { SettingsPart } from "../router";
import { About } from "./About";
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
  if (!who) return <Skeleton />;
  const parts: { part: SettingsPart; label: string }[] = [
    { part: "you", label: "You" },
    ...(administers
      ? ([
          { part: "people", label: "People" },
          { part: "tokens", label: "API tokens" },
        ] as const)
      : []),
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
            className="flex h-9 items-center border-b-2 border-transparent px-2.5 text-13 text-muted no-underline hover:text-fg hover:no-underline aria-[current=page]:border-accent aria-[current=page]:font-[500] aria-[current=page]:text-fg"
          >
            {p.label}
          </Link>
        ))}
      </nav>
      {part === "you" && <You me={who} />}
      {part === "people" && administers && <People />}
      {part === "tokens" && administers && <Tokens />}
      {part === "health" && <Health />}
      {part === "about" && <About version={who.version} />}
    </div>
  );
}
