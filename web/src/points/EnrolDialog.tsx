import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Key } from "../parts/Key";
import { PointFields, read, written } from "./PointFields";

/** EnrolDialog takes a new point in and shows its key for the only time. */
export function EnrolDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [fields, setFields] = useState(written());
  const enrol = useMutation({
    mutationFn: () => answer(api.POST("/v1/points", { body: { name: name.trim(), ...read(fields) } })),
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["point"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
  });
  if (enrol.data) return <Key title="The point is enrolled" value={enrol.data.key} onClose={onClose} />;
  return (
    <FormDialog
      title="Enrol a point"
      verb="Enrol"
      failed="Not enrolled"
      act={enrol}
      ready={name.trim() !== ""}
      onSubmit={() => enrol.mutate()}
      onClose={onClose}
    >
      <TextField label="Name" required maxLength={100} value={name} onText={setName} placeholder="edge-eu" />
      <PointFields value={fields} onChange={setFields} />
      <p className="text-13 text-muted">
        It starts observing: it refuses only what is revoked, suspended or quarantined, and counts what it would refuse.
      </p>
    </FormDialog>
  );
}
