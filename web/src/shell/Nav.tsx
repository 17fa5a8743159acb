import { useQuery } from "@tanstack/react-query";
import { Link, useRouterState } from "@tanstack/react-router";
import { Ellipsis } from "lucide-react";
import { overview } from "../api/queries";
import { Menu } from "../parts/Menu";
import { count } from "../text/format";
import { pages } from "./pages";

const item =
  "group relative flex w-full flex-col items-center gap-0.5 rounded-control px-1 py-2 text-12 text-muted no-underline hover:bg-raised hover:text-fg hover:no-underline data-[status=active]:font-[600] data-[status=active]:text-fg md:h-9 md:flex-row md:gap-2.5 md:px-2 md:py-0 md:text-14 md:data-[status=active]:bg-raised";
const bar =
  "absolute inset-x-3 top-0 hidden h-0.5 rounded-control bg-accent group-data-[status=active]:block md:inset-x-auto md:inset-y-2 md:left-0 md:h-auto md:w-0.5";

/** Nav leads to the pages: a column on the left, a bar at the bottom where the window is narrow. */
export function Nav() {
  const { data } = useQuery(overview);
  const badges: Partial<Record<(typeof pages)[number]["to"], { n: number; of: string }>> = {
    "/findings": { n: data?.findings ?? 0, of: "open" },
    "/policies": { n: data?.waiting?.length ?? 0, of: "waiting" },
  };
  const path = useRouterState({ select: (s) => s.location.pathname });
  const more = pages.filter((p) => !p.main);
  return (
    <nav
      aria-label="Pages"
      className="bar fixed inset-x-0 bottom-0 z-30 border-t border-hair bg-panel md:sticky md:top-0 md:row-span-2 md:h-dvh md:overflow-y-auto md:border-t-0 md:border-r"
    >
      <Link to="/" className="hidden h-12 items-center gap-2 px-4 text-16 font-[600] text-fg no-underline md:flex">
        <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" className="fill-accent" />
          <path
            d="M7 23V9l9 9 9-9v14"
            fill="none"
            className="stroke-on-accent"
            strokeWidth="3.4"
            strokeLinecap="round"
            strokeLinejoin="round"
          />
        </svg>
        Muster
      </Link>
      <ul className="flex justify-around md:flex-col md:gap-0.5 md:px-2">
        {pages.map(({ to, label, icon: Icon, main }) => (
          <li key={to} className={`flex-1 md:flex-none ${main ? "" : "hidden md:block"}`}>
            <Link to={to} activeOptions={{ exact: to === "/", includeSearch: false }} className={item}>
              <span className={bar} />
              <Icon size={16} aria-hidden />
              {label}
              <Badge {...badges[to]} />
            </Link>
          </li>
        ))}
        <li className="flex-1 md:hidden">
          <Menu
            label="More pages"
            className={item}
            button={
              <span
                data-status={more.some((p) => p.to === path) ? "active" : undefined}
                className="group flex flex-col items-center gap-0.5 data-[status=active]:font-[600] data-[status=active]:text-fg"
              >
                <span className={bar} />
                <Ellipsis size={16} aria-hidden />
                More
              </span>
            }
            place="right-2 bottom-15 w-[180px]"
          >
            {(close) => (
              <ul className="flex flex-col">
                {more.map(({ to, label, icon: Icon }) => (
                  <li key={to}>
                    <Link
                      to={to}
                      onClick={close}
                      activeOptions={{ includeSearch: false }}
                      className="flex h-9 items-center gap-2.5 rounded-control px-2 text-fg no-underline hover:bg-raised data-[status=active]:font-[600]"
                    >
                      <Icon size={16} aria-hidden /> {label}
                      <span className="relative ml-auto">
                        <Badge {...badges[to]} />
                      </span>
                    </Link>
                  </li>
                ))}
              </ul>
            )}
          </Menu>
        </li>
      </ul>
    </nav>
  );
}

/** Badge says how many things wait on a page. */
function Badge({ n = 0, of = "" }: { n?: number; of?: string }) {
  if (n === 0) return null;
  return (
    <span className="absolute top-0.5 left-[calc(50%+10px)] text-12 md:static md:ml-auto" title={`${count(n)} ${of}`}>
      {n > 99 ? "99+" : n}
      <span className="sr-only"> {of}</span>
    </span>
  );
}
