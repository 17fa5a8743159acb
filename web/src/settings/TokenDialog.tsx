import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { Select, TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Key } from "../parts/Key";
import { type Grant, GrantFields } from "./GrantFields";

const day = 86_400;

const lives = [
  { value: "1", label: "in a day" },
  { value: "30", label: "in 30 days" },
  { value: "90", label: "in 90 days" },
  { value: "365", label: "in a year" },
] as const;

/** TokenDialog makes an API token and shows its key for the only time. */
export function TokenDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [days, setDays] = useState<(typeof lives)[number]["value"]>("90");
  const [grants, setGrants] = useState<Grant[]>([{ role: "viewer" }]);
  const make = useMutation({
    mutationFn: () =>
      answer(api.POST("/v1/tokens", { body: { name: name.trim(), expires_in: Number(days) * day, roles: grants } })),
    onSettled: () => client.invalidateQueries({ queryKey: ["token"] }),
  });
  if (make.data) return <Key title="The token is made" value={make.data.key} onClose={onClose} />;
  return (
    <FormDialog
      title="Make a token"
      verb="Make"
      wide
      failed="Not made"
      act={make}
      ready={name.trim() !== ""}
      onSubmit={() => make.mutate()}
      onClose={onClose}
    >
      <TextField label="Name" required maxLength={64} value={name} onText={setName} placeholder="report-job" />
      <Select label="Expires" value={days} options={lives} onChoose={setDays} />
      <GrantFields grants={grants} onChange={setGrants} />
      <p className="text-13 text-muted">
        It never allows more than you may do yourself; without a role it has yours. It is an identity in the inventory.
      </p>
    </FormDialog>
  );
}
