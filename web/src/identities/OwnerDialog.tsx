import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { toast } from "../parts/Toasts";
import { clean } from "../text/hostile";

/** OwnerDialog names by hand who answers for an identity. */
export function OwnerDialog({ id, owner, onClose }: { id: string; owner: string; onClose: () => void }) {
  const client = useQueryClient();
  const [value, setValue] = useState(owner);
  const save = useMutation({
    mutationFn: (to: string) =>
      answer(api.PUT("/v1/identities/{id}/owner", { params: { path: { id } }, body: { owner: to } })),
    onSuccess: (_, to) => {
      toast(`Owner set to ${clean(to)}.`, owner ? () => save.mutate(owner) : undefined);
      onClose();
    },
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["identity"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
  });
  return (
    <FormDialog
      title="Who answers for it?"
      verb="Set owner"
      failed="Not set"
      act={save}
      ready={value.trim() !== ""}
      onSubmit={() => save.mutate(value.trim())}
      onClose={onClose}
    >
      <TextField
        label="E-mail address or team:name"
        required
        maxLength={320}
        value={value}
        onText={setValue}
        placeholder="team:payments"
      />
      <p className="text-13 text-muted">Named by hand, it outweighs tags and other evidence.</p>
    </FormDialog>
  );
}
