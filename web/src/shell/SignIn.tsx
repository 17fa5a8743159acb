import { Command } from "../parts/Command";

/** SignIn says how to get in: with a one-time link from the machine that runs Muster. */
export function SignIn() {
  return (
    <main className="mx-auto flex min-h-dvh max-w-[520px] flex-col justify-center gap-4 p-4">
      <div className="card flex flex-col gap-3 p-6">
        <h1>Sign in to Muster</h1>
        <p>
          This browser has no session, or its session has ended. Muster has no password: you sign in with a link that
          works once.
        </p>
        <p>Run this where the administrator token lies (DATA is the data folder), and open the link that it prints:</p>
        <Command line={`muster login --server ${window.location.origin} --token-file DATA/admin.token`} />
        <p className="text-13 text-muted">
          <span className="mono">muster demo</span> prints such a link when it starts. A link that was opened once, or
          that is too old, cannot be used: make a new one.
        </p>
      </div>
    </main>
  );
}
