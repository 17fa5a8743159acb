import { useLive } from "../api/useLive";

const words = {
  connecting: { label: "Connecting", tone: "text-muted" },
  live: { label: "Live", tone: "text-allow" },
  reconnecting: { label: "Reconnecting", tone: "text-stepup" },
  offline: { label: "Offline", tone: "text-deny" },
};

/** ConnectionState says whether what is on the page is happening now. */
export function ConnectionState() {
  const connection = useLive((s) => s.connection);
  const { label, tone } = words[connection];
  return (
    <span role="status" className={`inline-flex items-center gap-1.5 text-12 ${tone}`}>
      <svg width="8" height="8" viewBox="0 0 8 8" aria-hidden="true">
        {connection === "live" ? (
          <circle cx="4" cy="4" r="4" fill="currentColor" />
        ) : (
          <circle cx="4" cy="4" r="3" fill="none" stroke="currentColor" strokeWidth="2" />
        )}
      </svg>
      <span className={connection === "live" ? "sr-only sm:not-sr-only" : ""}>{label}</span>
    </span>
  );
}
