import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Credential } from "../api/client";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { toast, toastFailure } from "../parts/Toasts";

/** usePin pins a credential to a consumer, or lifts the pin when the consumer is empty; each can be undone. */
export function usePin(c: Credential) {
  const client = useQueryClient();
  const pin = useMutation({
    mutationFn: (consumer: string) =>
      answer(api.PUT("/v1/credentials/{id}/pin", { params: { path: { id: c.id } }, body: { consumer } })),
    onSuccess: (_, consumer) =>
      toast(consumer ? "Pinned: the key alone is not enough any more." : "The pin is lifted.", () =>
        pin.mutate(c.consumer),
      ),
    onError: (error) => toastFailure("The pin was not changed", error),
    onSettled: () => client.invalidateQueries({ queryKey: ["identity"] }),
  });
  return pin;
}

/** PinDialog binds a credential to the one workload that may use it. */
export function PinDialog({ credential, onClose }: { credential: Credential; onClose: () => void }) {
  const pin = usePin(credential);
  const [consumer, setConsumer] = useState("");
  return (
    <FormDialog
      title="Pin to a workload"
      verb="Pin"
      failed="Not pinned"
      act={pin}
      ready={consumer.trim() !== ""}
      onSubmit={() => pin.mutate(consumer.trim(), { onSuccess: onClose })}
      onClose={onClose}
    >
      <p className="text-13">
        From then on <Hostile text={credential.public_id || credential.id} className="mono" /> works only together with
        the attestation of this workload. Whoever else holds it is asked to prove more.
      </p>
      <TextField
        label="Id of the workload"
        mono
        required
        maxLength={64}
        pattern="\s*nhi_[a-z2-7]+\s*"
        title="An id such as nhi_mzxw6ytboi; Ctrl-K finds it"
        value={consumer}
        onText={setConsumer}
        placeholder="nhi_…"
      />
    </FormDialog>
  );
}
