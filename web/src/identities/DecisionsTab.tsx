import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { decisions } from "../api/queries";
import { Hostile } from "../parts/Hostile";
import { OutcomeWord } from "../parts/OutcomeWord";
import { Pending } from "../parts/Pending";
import { Clock } from "../parts/Time";
import { from } from "../text/words";

/** DecisionsTab lists what it asked for lately, and what came of it. */
export function DecisionsTab({ id, limit = 50 }: { id: string; limit?: number }) {
  const { data, error, refetch } = useQuery({ ...decisions({ identity: id }, limit), refetchInterval: 5_000 });
  if (!data) return <Pending what="The decisions" error={error} again={refetch} rows={6} />;
  const recent = data.items ?? [];
  if (recent.length === 0) return <p className="p-4 text-13 text-muted">It asked for nothing lately.</p>;
  return (
    <>
      <ul aria-label="Decisions, the newest first">
        {recent.map((d) => (
          <li key={d.id} className="border-b border-hair">
            <Link
              to="/activity"
              search={{ identity: id, decision: d.id }}
              className="grid grid-cols-[64px_100px_minmax(0,1fr)] items-center gap-x-3 px-4 py-2 text-13 text-fg no-underline hover:bg-raised hover:no-underline md:grid-cols-[72px_150px_minmax(0,2fr)_minmax(0,1fr)]"
            >
              <span className="text-muted">
                <Clock at={d.at} />
              </span>
              <OutcomeWord decision={d} />
              <Hostile text={`${d.operation || d.action} ${d.resource}`} className="min-w-0" />
              <Hostile text={from(d)} className="hidden min-w-0 text-muted md:block" />
            </Link>
          </li>
        ))}
      </ul>
      <p className="px-4 py-3 text-13">
        <Link to="/activity" search={{ identity: id }}>
          All decisions about it
        </Link>
      </p>
    </>
  );
}
