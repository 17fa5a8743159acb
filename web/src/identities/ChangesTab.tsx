import { useQuery } from "@tanstack/react-query";
import { useMay } from "../access/useMay";
import { changes } from "../api/queries";
import { Failure } from "../parts/Failure";
import { Hostile } from "../parts/Hostile";
import { Skeleton } from "../parts/Skeleton";
import { Time } from "../parts/Time";

/** ChangesTab is what people and rules did to it, as the audit log has it. */
export function ChangesTab({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(changes(id));
  const auditor = useMay("audit");
  if (!data) return error ? <Failure what="The changes" error={error} again={refetch} /> : <Skeleton rows={6} />;
  const entries = data.items ?? [];
  if (entries.length === 0)
    return <p className="p-4 text-13 text-muted">Nobody changed anything about it since Muster knows it.</p>;
  return (
    <ol aria-label="Changes, the newest first">
      {entries.map((e) => (
        <li
          key={e.seq}
          className="grid grid-cols-[84px_minmax(0,1fr)] gap-x-3 border-b border-hair px-4 py-2 text-13 md:grid-cols-[84px_minmax(0,1fr)_minmax(0,1fr)_minmax(0,1.4fr)_auto]"
        >
          <span className="text-muted">
            <Time at={e.at} />
          </span>
          <span className="min-w-0">
            <Hostile text={e.act} className="font-[500]" />
            {e.outcome !== "done" && <span className="text-stepup"> {e.outcome}</span>}
          </span>
          <Hostile text={e.actor} className="col-start-2 min-w-0 text-muted md:col-start-auto" />
          <Hostile text={e.reason} className="col-start-2 min-w-0 text-muted md:col-start-auto" />
          {auditor && <span className="hidden text-12 text-muted md:block">entry {e.seq}</span>}
        </li>
      ))}
    </ol>
  );
}
