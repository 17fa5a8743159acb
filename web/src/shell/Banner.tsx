import { useLive } from "../api/useLive";
import { clock } from "../text/format";

/** Banner stands above the page while the live connection is gone: what is shown is old. */
export function Banner() {
  const connection = useLive((s) => s.connection);
  const lostAt = useLive((s) => s.lostAt);
  if (connection !== "offline") return null;
  return (
    <p role="alert" className="max-w-none border-b border-deny bg-panel px-4 py-2 text-deny">
      Muster cannot be reached since {clock(new Date(lostAt))}. What you see is from then; trying again every few
      seconds. Enforcement points go on deciding by themselves.
    </p>
  );
}
