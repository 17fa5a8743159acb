import { useQuery } from "@tanstack/react-query";
import { Outlet, useRouterState } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { Problem } from "../api/client";
import { live } from "../api/live";
import { me } from "../api/queries";
import { Failure } from "../parts/Failure";
import { Skeleton } from "../parts/Skeleton";
import { Toasts } from "../parts/Toasts";
import { Banner } from "./Banner";
import { Header } from "./Header";
import { Nav } from "./Nav";
import { titleOf } from "./pages";
import { useKeys } from "./useKeys";

const Search = lazy(() => import("./Search"));
const Help = lazy(() => import("./Help"));
const SignIn = lazy(() => import("./SignIn"));

/** Shell is what surrounds every page: navigation, search, connection, messages. */
export function Shell() {
  const who = useQuery(me);
  const [dialog, setDialog] = useState<"search" | "help">();
  const signedIn = who.data !== undefined && !(who.error instanceof Problem && who.error.status === 401);
  useKeys({ search: () => setDialog("search"), help: () => setDialog("help"), enabled: signedIn });
  useEffect(() => {
    if (!signedIn) return;
    live.start();
    return () => live.stop();
  }, [signedIn]);
  const main = useRef<HTMLElement>(null);
  useFocusOnNavigation(main);
  useTitle(signedIn);

  if (who.error instanceof Problem && who.error.status === 401)
    return (
      <Suspense fallback={null}>
        <SignIn />
      </Suspense>
    );
  if (who.isError && !who.data) return <Failure what="Muster" error={who.error} again={() => who.refetch()} />;
  if (!who.data) return null;
  return (
    <>
      <a
        href="#main"
        className="fixed top-1 left-1 z-50 -translate-y-16 rounded-control border border-line bg-panel px-3 py-1.5 focus:translate-y-0"
      >
        Skip to content
      </a>
      <div className="flex min-h-dvh flex-col md:grid md:grid-cols-[184px_minmax(0,1fr)] md:grid-rows-[48px_minmax(0,1fr)]">
        <Nav />
        <Header me={who.data} onSearch={() => setDialog("search")} onHelp={() => setDialog("help")} />
        <main ref={main} id="main" tabIndex={-1} className="min-w-0 flex-1 pb-16 outline-none md:pb-0">
          <Banner />
          <Suspense fallback={<Skeleton />}>
            <Outlet />
          </Suspense>
        </main>
      </div>
      <Suspense fallback={null}>
        {dialog === "search" && <Search onClose={() => setDialog(undefined)} />}
        {dialog === "help" && <Help onClose={() => setDialog(undefined)} version={who.data.version} />}
      </Suspense>
      <Toasts />
    </>
  );
}

/** The window is called what the page is, once somebody may see pages. */
function useTitle(signedIn: boolean) {
  const path = useRouterState({ select: (s) => s.location.pathname });
  useEffect(() => {
    document.title = signedIn ? titleOf(path) : "Muster";
  }, [path, signedIn]);
}

/** A new page starts at its top for the keyboard, too; the first page leaves the focus alone. */
function useFocusOnNavigation(main: React.RefObject<HTMLElement | null>) {
  const path = useRouterState({ select: (s) => s.location.pathname });
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [path, main]);
}
