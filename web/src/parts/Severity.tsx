import type { Finding } from "../api/client";
import { severities } from "../text/words";

/** Severity shows how bad a finding is: bars that fill up, and the word. */
export function Severity({ severity }: { severity: Finding["severity"] }) {
  const { label, tone, rank } = severities[severity];
  return (
    <span className={`inline-flex items-center gap-1.5 whitespace-nowrap ${tone}`}>
      <svg width="14" height="12" viewBox="0 0 14 12" aria-hidden="true" className="shrink-0">
        {[1, 2, 3, 4].map((n) => (
          <rect
            key={n}
            x={(n - 1) * 3.6 + 0.5}
            y={9.5 - n * 2.2}
            width="2.4"
            height={n * 2.2 + 2}
            fill={n <= rank ? "currentColor" : "none"}
            stroke="currentColor"
            strokeWidth="0.8"
          />
        ))}
      </svg>
      {label}
    </span>
  );
}
