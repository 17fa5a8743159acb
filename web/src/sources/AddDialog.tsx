import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Key } from "../parts/Key";
import { type Format, formats } from "./formats";

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
    <Dialog title="Add a source" open onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          add.mutate();
        }}
      >
        <label className="flex flex-col gap-1 text-13">
          Name
          <input
            className="field"
            maxLength={100}
            value={name}
            onChange={(e) => setName(e.target.value)}
            placeholder="trail-production"
          />
        </label>
        <label className="flex flex-col gap-1 text-13">
          Reports
          <select className="field" value={format} onChange={(e) => setFormat(e.target.value as Format)}>
            {Object.entries(formats).map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        {format === "cloudtrail" && (
          <label className="flex flex-col gap-1 text-13">
            Accounts it may speak about
            <input
              className="field mono"
              required
              value={accounts}
              onChange={(e) => setAccounts(e.target.value)}
              placeholder="111122223333"
            />
          </label>
        )}
        {add.error && (
          <p role="alert" className="text-13 text-deny">
            Not added: {add.error.message}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={add.isPending}>
            Add
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
