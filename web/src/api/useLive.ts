import { useSyncExternalStore } from "react";
import { live, type Snapshot } from "./live";

/** useLive reads one part of the live stream and renders again only when that part changes. */
export function useLive<T>(select: (snapshot: Snapshot) => T): T {
  return useSyncExternalStore(live.subscribe, () => select(live.read()));
}
