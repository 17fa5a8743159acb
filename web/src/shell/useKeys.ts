import { useNavigate } from "@tanstack/react-router";
import { useEffect } from "react";
import { typing } from "../parts/typing";
import { pages } from "./pages";

/** How long after g the second key counts, in ms. */
const chord = 1_200;

/** useKeys listens for the keys that work everywhere: Ctrl-K, ?, g then a letter. */
export function useKeys({ search, help, enabled }: { search: () => void; help: () => void; enabled: boolean }) {
  const navigate = useNavigate();
  useEffect(() => {
    if (!enabled) return;
    let pressedG = 0;
    const onKey = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") {
        e.preventDefault();
        if (!document.querySelector("dialog[open]")) search();
        return;
      }
      if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target)) return;
      if (e.key === "?") {
        e.preventDefault();
        help();
        return;
      }
      if (e.key === "g") {
        pressedG = e.timeStamp;
        return;
      }
      const page = pages.find((p) => p.key === e.key);
      if (page && pressedG > 0 && e.timeStamp - pressedG < chord) {
        e.preventDefault();
        navigate({ to: page.to });
      }
      pressedG = 0;
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [enabled, search, help, navigate]);
}
