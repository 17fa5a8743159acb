import { useState } from "react";

/**
 * useHeld keeps a list still while somebody reads it: as long as hold is true
 * the rows stay as they were, and waiting counts what came since. release shows
 * the new ones at once.
 */
export function useHeld<T extends { id: string }>(rows: readonly T[], hold: boolean) {
  const [held, setHeld] = useState<{ rows: readonly T[]; source: readonly T[] }>();
  if (!hold && held) setHeld(undefined);
  if (hold && !held) setHeld({ rows, source: rows });
  const shown = hold && held ? held.rows : rows;
  const newest = shown[0];
  // A filter that changed while held must show its own rows.
  const sameList = !newest || rows.some((d) => d.id === newest.id);
  if (hold && held && (shown.length === 0 ? rows.length > 0 : !sameList)) setHeld({ rows, source: rows });
  const at = newest ? rows.findIndex((d) => d.id === newest.id) : 0;
  return { shown, waiting: hold ? Math.max(0, at) : 0, release: () => setHeld({ rows, source: rows }) };
}
