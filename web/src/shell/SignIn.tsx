import { useQuery } from "@tanstack/react-query";
import { useRouterState } from "@tanstack/react-router";
import { LogIn } from "lucide-react";
import { signin } from "../api/queries";
import { Command } from "../parts/Command";
import { clean } from "../text/hostile";
import { ssoAddress } from "./ssoAddress";

/** SignIn says how to get in: at the organisation, or with a one-time link from the machine that runs Muster. */
export default function SignIn() {
  const { data, isPending } = useQuery(signin);
  const here = useRouterState({ select: (s) => s.location.href });
  const sso = data?.sso;
  return (
    <main className="mx-auto flex min-h-dvh max-w-[520px] flex-col justify-center gap-4 p-4">
      <div className="card flex flex-col gap-3 p-6">
        <h1>Sign in to Muster</h1>
        <p>This browser has no session, or its session has ended. Afterwards you are back on this page.</p>
        {sso && (
          <a
            href={ssoAddress(sso.url, here)}
            className="inline-flex h-9 items-center justify-center gap-2 rounded-control border border-accent bg-accent px-3 text-on-accent no-underline hover:opacity-90"
          >
            <LogIn size={16} aria-hidden /> Sign in with {clean(sso.name)}
          </a>
        )}
        {sso ? (
          <details>
            <summary className="text-13 text-muted">Without single sign-on</summary>
            <div className="flex flex-col gap-3 pt-2">
              <ByLink first={data.first_administrator} />
            </div>
          </details>
        ) : (
          !isPending && <ByLink first={data?.first_administrator ?? true} />
        )}
      </div>
    </main>
  );
}

/** ByLink explains the link that works once. */
function ByLink({ first }: { first: boolean }) {
  return (
    <>
      {first ? (
        <>
          <p>
            Run this where the first administrator's token lies (DATA is the data folder), and open the link that it
            prints. It works once.
          </p>
          <Command line={`muster login --server ${window.location.origin} --token-file DATA/admin.token`} />
        </>
      ) : (
        <>
          <p>
            The first administrator's token is spent, as it should be. With an API token of your own, this prints a link
            that works once:
          </p>
          <Command line={`muster login --server ${window.location.origin} --token-file TOKEN_FILE`} />
        </>
      )}
      <p className="text-13 text-muted">
        <span className="mono">muster demo</span> prints such a link when it starts. A link that was opened once, or
        that is too old, cannot be used: make a new one.
      </p>
    </>
  );
}
