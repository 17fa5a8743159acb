import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { Select, TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Key } from "../parts/Key";
import { type Format, formats } from "./formats";

const options = Object.entries(formats).map(([value, label]) => ({ value: value as Format, label }));

/** AddDialog takes a source in and shows its key for the only time. */
export function AddDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [format, setFormat] = useState<Format>("cloudtrail");
  const [accounts, setAccounts] = useState("");
  const add = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/v1/sources", {
          body: { name: name.trim() || undefined, format, accounts: accounts.split(/[\s,]+/).filter(Boolean) },
        }),
      ),
    onSettled: () => client.invalidateQueries({ queryKey: ["source"] }),
  });
  if (add.data) return <Key title="The source is added" value={add.data.key} onClose={onClose} />;
  return (
    <FormDialog
      title="Add a source"
      verb="Add"
      failed="Not added"
      act={add}
      onSubmit={() => add.mutate()}
      onClose={onClose}
    >
      <TextField label="Name" maxLength={100} value={name} onText={setName} placeholder="trail-production" />
      <Select label="What it sends" value={format} options={options} onChoose={setFormat} />
      {format === "cloudtrail" && (
        <TextField
          label="Accounts that it may speak about"
          mono
          required
          value={accounts}
          onText={setAccounts}
          placeholder="111122223333"
        />
      )}
      <p className="text-13 text-muted">
        It gets a key of its own. What it says about anything else is refused and counted.
      </p>
    </FormDialog>
  );
}
