import { useQuery } from "@tanstack/react-query";
import { useMay } from "../access/useMay";
import { changes } from "../api/queries";
import { Entries } from "../parts/Entries";
import { Pending } from "../parts/Pending";

/** ChangesTab is what people and rules did to it, as the audit log has it. */
export function ChangesTab({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(changes(id));
  const auditor = useMay("audit");
  if (!data) return <Pending what="The changes" error={error} again={refetch} rows={6} />;
  const entries = data.items ?? [];
  if (entries.length === 0)
    return <p className="p-4 text-13 text-muted">Nobody changed anything about it since Muster knows it.</p>;
  return <Entries label="Changes, the newest first" entries={entries} numbered={auditor} />;
}
