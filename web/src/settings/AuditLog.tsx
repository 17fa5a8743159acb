import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { FileCheck } from "lucide-react";
import { answer, api, type Entry } from "../api/client";
import { auditLog } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Command } from "../parts/Command";
import { Dialog } from "../parts/Dialog";
import { Entries } from "../parts/Entries";
import { Pending } from "../parts/Pending";
import { toastFailure } from "../parts/Toasts";

/** AuditLog is every act of people and rules, and a signature by which anybody can prove that none is missing. */
export function AuditLog() {
  const { data, error, refetch, hasNextPage, isFetchingNextPage, fetchNextPage } = useInfiniteQuery(auditLog);
  const sign = useMutation({
    mutationFn: () => answer(api.POST("/v1/audit/checkpoint", {})),
    onError: (reason) => toastFailure("Not signed", reason),
  });
  if (!data) return <Pending what="The audit log" error={error} again={refetch} />;
  const entries = data.pages.flatMap((p): Entry[] => p.items ?? []);
  return (
    <Card
      title="Audit log, the newest first"
      flush
      aside={
        <Button disabled={sign.isPending} onClick={() => sign.mutate()}>
          <FileCheck size={14} aria-hidden /> Sign where it stands
        </Button>
      }
    >
      <Entries label="Audit log, the newest first" entries={entries} numbered targets />
      {hasNextPage && (
        <p className="px-4 py-3">
          <Button disabled={isFetchingNextPage} onClick={() => fetchNextPage()}>
            Show more
          </Button>
        </p>
      )}
      <div className="flex flex-col gap-2 border-t border-hair px-4 py-3 text-13">
        <p className="text-muted">
          Every entry is chained to the one before it. Where the data folder lies, this proves that none was changed or
          taken out:
        </p>
        <Command line="muster audit verify --data DATA --against checkpoint.json" />
      </div>
      {sign.data !== undefined && (
        <Dialog title="The audit log is signed" open onClose={() => sign.reset()}>
          <div className="flex flex-col gap-3">
            <p>
              Keep this as checkpoint.json outside of Muster, with the auditor. Later it shows whether the log was cut
              off or written anew behind it.
            </p>
            <Command line={JSON.stringify(sign.data)} label="Copy" />
          </div>
        </Dialog>
      )}
    </Card>
  );
}
