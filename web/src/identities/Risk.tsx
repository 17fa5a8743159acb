/** Risk shows 0 to 100 as a number and a bar. */
export function Risk({ risk }: { risk: number }) {
  const tone = risk > 80 ? "text-deny" : risk >= 40 ? "text-stepup" : "text-muted";
  return (
    <span className={`inline-flex items-center gap-2 ${tone}`} title={`Risk ${risk} of 100`}>
      <span className="w-6 text-right">{risk}</span>
      <svg width="40" height="4" viewBox="0 0 40 4" aria-hidden="true">
        <rect width="40" height="4" className="fill-hair" />
        <rect width={(risk / 100) * 40} height="4" fill="currentColor" />
      </svg>
    </span>
  );
}
