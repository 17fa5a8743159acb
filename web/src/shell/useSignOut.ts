import { useMutation } from "@tanstack/react-query";
import { csrfHeader, Problem } from "../api/client";
import { toastFailure } from "../parts/Toasts";

/** useSignOut ends the session at the server, then leaves nothing of it in this tab. */
export function useSignOut() {
  return useMutation({
    mutationFn: async () => {
      const reply = await fetch("/signin", { method: "DELETE", headers: { [csrfHeader]: "1" } });
      if (!reply.ok && reply.status !== 401) throw new Problem(reply.status, `the server answered ${reply.status}`);
    },
    // A new page has no memory of what the old one showed.
    onSuccess: () => window.location.replace("/"),
    onError: (error) => toastFailure("Not signed out", error),
  });
}
