import type { Entry } from "../api/client";
import { Hostile } from "./Hostile";
import { IdentityLink } from "./IdentityLink";
import { Time } from "./Time";

/** Entries lists acts as the audit log has them: when, what, by whom, why. */
export function Entries({
  label,
  entries,
  numbered,
  targets = false,
}: {
  label: string;
  entries: readonly Entry[];
  /** Whether each shows its number in the log. */
  numbered: boolean;
  /** Whether each shows what it was done to. */
  targets?: boolean;
}) {
  return (
    <ol aria-label={label}>
      {entries.map((e) => (
        <li
          key={e.seq}
          className="grid grid-cols-[84px_minmax(0,1fr)] gap-x-3 border-t border-hair px-4 py-2 text-13 md:grid-cols-[84px_minmax(0,1fr)_minmax(0,1fr)_minmax(0,1.4fr)_72px]"
        >
          <span className="text-muted">
            <Time at={e.at} />
          </span>
          <span className="min-w-0">
            <Hostile text={e.act} className="font-[500]" />
            {e.outcome !== "done" && <span className="text-stepup"> {e.outcome}</span>}
          </span>
          <Hostile text={e.actor} className="col-start-2 min-w-0 text-muted md:col-start-auto" />
          <span className="col-start-2 flex min-w-0 flex-col md:col-start-auto">
            {targets && <Target id={e.target} />}
            <Hostile text={e.reason} className="min-w-0 text-muted" />
          </span>
          {numbered && <span className="hidden text-right text-12 text-muted md:block">no. {e.seq}</span>}
        </li>
      ))}
    </ol>
  );
}

function Target({ id }: { id: string }) {
  if (id.startsWith("nhi_")) return <IdentityLink id={id} />;
  return <Hostile text={id} className="mono min-w-0" />;
}
