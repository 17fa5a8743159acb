import { useMutation } from "@tanstack/react-query";
import { csrfHeader, Problem } from "../api/client";
import { toastFailure } from "../parts/Toasts";

/** useSignOut ends the session at the server, then leaves nothing of it in this tab. */
export function useSignOut() {
  return useMutation({
    mutationFn: async () => {
      const reply = await fetch("/signin", { method: "DELETE", headers: { [csrfHeader]: "1" } });
      if (!reply.ok && reply.status !== 401) throw new Problem(reply.status, `the server answered ${reply.status}`);
      // Whoever signed in with the provider can end its session too: it asks them.
      return reply.status === 200 ? ((await reply.json()) as { next: string }).next : "/";
    },
    // A new page has no memory of what the old one showed.
    onSuccess: (next) => window.location.replace(next),
    onError: (error) => toastFailure("Not signed out", error),
  });
}
