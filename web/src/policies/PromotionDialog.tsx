import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Promotion, type PromotionDenial } from "../api/client";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { toast } from "../parts/Toasts";
import { short } from "./states";

function useDone(onClose: () => void) {
  const client = useQueryClient();
  return {
    onSuccess: () => onClose(),
    onSettled: () => {
      for (const noun of ["snapshot", "policy", "overview"]) client.invalidateQueries({ queryKey: [noun] });
    },
  };
}

/** StepDialog asks before the next gate is opened, or the way ends. */
export function StepDialog({
  step,
  promotion: p,
  onClose,
}: {
  step: "advance" | "abort";
  promotion: Promotion;
  onClose: () => void;
}) {
  const [reason, setReason] = useState("");
  const done = useDone(onClose);
  const act = useMutation({
    mutationFn: () =>
      answer(api.POST("/v1/policies/promotion/{step}", { params: { path: { step } }, body: { reason } })),
    ...done,
    onSuccess: () => {
      toast(
        step === "abort" ? `${short(p.digest)} is withdrawn; the former policies decide.` : "The next gate is open.",
      );
      done.onSuccess();
    },
  });
  return (
    <FormDialog
      title={step === "abort" ? "Go back to the former policies?" : "Open the next gate before its time?"}
      verb={step === "abort" ? "Abort" : "Open it"}
      keep="Not now"
      danger={step === "abort"}
      failed={step === "abort" ? "Not aborted" : "Not opened"}
      act={act}
      onSubmit={() => act.mutate()}
      onClose={onClose}
    >
      <p>
        {step === "abort"
          ? "The former policies are in force for everybody at once. What was on its way is withdrawn."
          : "The new policies then decide for more principals, or for all. Nothing that is newly denied may be unexplained."}
      </p>
      <TextField
        label="Why (kept in the audit log)"
        maxLength={500}
        value={reason}
        onText={setReason}
        placeholder={step === "abort" ? "the till stopped" : "seen with the team"}
      />
    </FormDialog>
  );
}

/** AcknowledgeDialog asks why something is meant to be denied. */
export function AcknowledgeDialog({ denial: d, onClose }: { denial: PromotionDenial; onClose: () => void }) {
  const policy = d.policies.find((id) => id !== "no-permit"); // which names no policy
  const [reason, setReason] = useState("");
  const [whole, setWhole] = useState(false);
  const act = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/v1/policies/promotion/acknowledgements", {
          body:
            whole && policy
              ? { policy, reason }
              : { identity: d.identity, action: d.action as "read", resource: d.resource, reason },
        }),
      ),
    ...useDone(onClose),
  });
  return (
    <FormDialog
      title="Is it meant to be denied?"
      verb="It is meant"
      keep="Not now"
      failed="Not taken"
      act={act}
      ready={reason.trim() !== ""}
      onSubmit={() => act.mutate()}
      onClose={onClose}
    >
      <fieldset className="flex min-w-0 flex-col gap-2">
        <legend className="sr-only">What is meant</legend>
        <label className="flex items-baseline gap-2">
          <input type="radio" name="meant" checked={!whole} onChange={() => setWhole(false)} />
          <span className="min-w-0 break-words">
            only that <Hostile text={d.name || d.identity} /> may not {d.action}{" "}
            <Hostile text={d.resource} className="whitespace-normal break-all" />
          </span>
        </label>
        {policy && (
          <label className="flex items-baseline gap-2">
            <input type="radio" name="meant" checked={whole} onChange={() => setWhole(true)} />
            <span className="min-w-0 break-words">
              whatever <Hostile text={policy} className="mono" /> denies, to anybody
            </span>
          </label>
        )}
      </fieldset>
      <TextField
        label="Why (required, kept in the audit log)"
        maxLength={500}
        required
        value={reason}
        onText={setReason}
        placeholder="the contract ended"
      />
    </FormDialog>
  );
}
