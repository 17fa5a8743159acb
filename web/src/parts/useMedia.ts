import { useSyncExternalStore } from "react";

/** useMedia says whether a media query holds now. */
export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const media = window.matchMedia(query);
      media.addEventListener("change", listener);
      return () => media.removeEventListener("change", listener);
    },
    () => window.matchMedia(query).matches,
  );
}

/** useNarrow is true where a table has no room for its columns. */
export const useNarrow = () => useMedia("(max-width: 799px)");
