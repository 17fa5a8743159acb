import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { toast, toastFailure } from "../parts/Toasts";

/** OwnerDialog names by hand who answers for an identity. */
export function OwnerDialog({
  id,
  owner,
  open,
  onClose,
}: {
  id: string;
  owner: string;
  open: boolean;
  onClose: () => void;
}) {
  const client = useQueryClient();
  const [value, setValue] = useState(owner);
  const save = useMutation({
    mutationFn: (to: string) =>
      answer(api.PUT("/v1/identities/{id}/owner", { params: { path: { id } }, body: { owner: to } })),
    onSuccess: (_, to) => {
      toast(`Owner set to ${to}.`, owner ? () => save.mutate(owner) : undefined);
      onClose();
    },
    onError: (error) => toastFailure("The owner was not set", error),
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["identity"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
  });
  return (
    <Dialog title="Who answers for it?" open={open} onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate(value.trim());
        }}
      >
        <label className="flex flex-col gap-1 text-13">
          E-mail address or team:name
          <input
            className="field"
            required
            maxLength={320}
            value={value}
            onChange={(e) => setValue(e.target.value)}
            placeholder="team:payments"
          />
        </label>
        <p className="text-13 text-muted">Named by hand, it outweighs tags and other evidence.</p>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={save.isPending || value.trim() === ""}>
            Set owner
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
