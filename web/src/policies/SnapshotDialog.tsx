import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Snapshot } from "../api/client";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { toast } from "../parts/Toasts";
import { count } from "../text/format";
import { author, short } from "./states";

const words = {
  confirm: { title: "Put it into force?", verb: "Confirm", failed: "Not confirmed" },
  withdraw: { title: "Withdraw what waits?", verb: "Withdraw", failed: "Not withdrawn" },
  rollback: { title: "Go back to these policies?", verb: "Put into force", failed: "Not put into force" },
} as const;

/** SnapshotDialog asks before policies change, and for what. */
export function SnapshotDialog({
  kind,
  snapshot: s,
  onClose,
  onDone,
}: {
  kind: keyof typeof words;
  snapshot: Snapshot;
  onClose: () => void;
  /** Called with what came of it. */
  onDone?: (now: Snapshot) => void;
}) {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const params = { params: { path: { digest: s.digest } } };
  const act = useMutation({
    mutationFn: () => {
      switch (kind) {
        case "confirm":
          return answer(api.POST("/v1/snapshots/{digest}/confirm", params));
        case "withdraw":
          return answer(api.POST("/v1/snapshots/{digest}/withdraw", { ...params, body: { reason } }));
        case "rollback":
          return answer(api.POST("/v1/snapshots/{digest}/activate", { ...params, body: { reason } }));
      }
    },
    onSuccess: (now) => {
      toast(said(now));
      onClose();
      onDone?.(now);
    },
    onSettled: () => {
      for (const noun of ["snapshot", "policy", "overview"]) client.invalidateQueries({ queryKey: [noun] });
    },
  });
  const w = words[kind];
  return (
    <FormDialog
      title={w.title}
      verb={w.verb}
      keep="Not now"
      danger={kind === "withdraw"}
      failed={w.failed}
      act={act}
      ready={kind !== "rollback" || reason.trim() !== ""}
      onSubmit={() => act.mutate()}
      onClose={onClose}
    >
      {kind === "confirm" && (
        <>
          <p>You are the second person who stands behind it. Confirm it only if you have read what it changes:</p>
          <ul className="flex list-disc flex-col gap-1 pl-4">
            {s.why.map((line) => (
              <li key={line}>
                <Hostile text={line} className="whitespace-normal break-words align-top" />
              </li>
            ))}
          </ul>
          <p className="text-13 text-muted">
            Sent by <Hostile text={author(s)} className="whitespace-normal break-all" />. Your name is kept with it, and
            in the audit log.
          </p>
        </>
      )}
      {kind === "withdraw" && <p>Nobody can confirm it any more. What is in force stays in force.</p>}
      {kind === "rollback" && (
        <p>
          Snapshot {count(s.sequence)} (<span className="mono">{short(s.digest)}</span>) replaces what is in force, as a
          new entry of the history. It can be taken back in the same way.
        </p>
      )}
      {kind !== "confirm" && (
        <TextField
          label={kind === "rollback" ? "Why (required, kept in the audit log)" : "Why (kept in the audit log)"}
          maxLength={500}
          required={kind === "rollback"}
          value={reason}
          onText={setReason}
          placeholder={kind === "rollback" ? "the new ones stopped the till" : "not what was meant"}
        />
      )}
    </FormDialog>
  );
}

/** said is what came of it, in words. */
function said(now: Snapshot): string {
  switch (now.state) {
    case "active":
      return `${short(now.digest)} is in force.`;
    case "waiting":
      return `${short(now.digest)} waits: one more administrator has to confirm it.`;
    case "staged":
      return `${short(now.digest)} is on its way into force, by gates.`;
    default:
      return `${short(now.digest)} is withdrawn; what was in force is.`;
  }
}
