import type { Feature } from "../api/client";
import { bits } from "../text/format";
import { featureName } from "../text/words";
import { Hostile } from "./Hostile";

/** The bits at which a policy asks for more (the guard policies' default). */
const threshold = 13;

/** Features shows reasons: what is usual, what was seen, and how unlikely that is in bits. */
export function Features({ features }: { features: readonly Feature[] }) {
  if (features.length === 0) return <p className="text-13 text-muted">Nothing about it stood out.</p>;
  const most = Math.max(threshold, ...features.map((f) => f.bits));
  return (
    <table className="w-full table-fixed border-collapse text-13">
      <thead>
        <tr>
          <th className="w-[22%] pb-1">Feature</th>
          <th className="pb-1">Usual, then seen</th>
          <th className="w-[34%] pb-1">Surprise</th>
        </tr>
      </thead>
      <tbody>
        {features.map((f) => (
          <tr key={f.name} className="border-t border-hair align-top">
            <td className="py-1.5 pr-2">
              <Hostile text={featureName(f.name)} className="block" />
            </td>
            <td className="py-1.5 pr-2">
              <Hostile text={f.usual || "nothing yet"} className="block text-muted" />
              <Hostile text={f.seen} className="block" />
            </td>
            <td className="py-1.5">
              <span className={f.bits >= threshold ? "text-deny" : f.bits >= 6 ? "text-stepup" : "text-muted"}>
                {bits(f.bits)}
              </span>
              <Bar share={f.bits / most} strong={f.bits >= threshold} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Bar({ share, strong }: { share: number; strong: boolean }) {
  return (
    <svg viewBox="0 0 100 6" preserveAspectRatio="none" className="block h-1.5 w-full" aria-hidden="true">
      <rect width="100" height="6" rx="1" className="fill-raised" />
      <rect width={Math.max(0, Math.min(1, share)) * 100} height="6" className={strong ? "fill-deny" : "fill-stepup"} />
    </svg>
  );
}
