import { useEffect, useState } from "react";
import { answer, api, type Found } from "../api/client";

/** How long the reader's fingers must rest before the server is asked, in ms. */
const rest = 120;

/**
 * useFind asks the server what a text is or names. The text may be a secret, so
 * it goes in the body of a request and is forgotten with its answer: it is in
 * no address, no history, no cache and no storage.
 */
export function useFind(text: string): { found: readonly Found[]; state: "idle" | "asking" | "failed" | "done" } {
  const [answered, setAnswered] = useState<{ text: string; found: readonly Found[]; failed: boolean }>();
  useEffect(() => {
    if (text === "") {
      setAnswered(undefined);
      return;
    }
    const stop = new AbortController();
    const timer = window.setTimeout(async () => {
      try {
        const reply = await answer(
          api.POST("/v1/search", { body: { text, limit: 20 }, signal: stop.signal, cache: "no-store" }),
        );
        if (!stop.signal.aborted) setAnswered({ text, found: reply.results ?? [], failed: false });
      } catch {
        if (!stop.signal.aborted) setAnswered({ text, found: [], failed: true });
      }
    }, rest);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [text]);
  if (text === "") return { found: [], state: "idle" };
  if (answered?.text !== text) return { found: answered?.found ?? [], state: "asking" };
  return { found: answered.found, state: answered.failed ? "failed" : "done" };
}
