import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Key } from "../parts/Key";
import { type Grant, GrantFields } from "./GrantFields";

const day = 86_400;

/** TokenDialog makes an API token and shows its key for the only time. */
export function TokenDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [days, setDays] = useState("90");
  const [grants, setGrants] = useState<Grant[]>([{ role: "viewer" }]);
  const make = useMutation({
    mutationFn: () =>
      answer(api.POST("/v1/tokens", { body: { name: name.trim(), expires_in: Number(days) * day, roles: grants } })),
    onSettled: () => client.invalidateQueries({ queryKey: ["token"] }),
  });
  if (make.data) return <Key title="The token is made" value={make.data.key} onClose={onClose} />;
  return (
    <Dialog title="Make a token" open onClose={onClose} wide>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          make.mutate();
        }}
      >
        <label className="flex flex-col gap-1 text-13">
          Name
          <input
            className="field"
            required
            maxLength={64}
            value={name}
            onChange={(e) => setName(e.target.value)}
            placeholder="report-job"
          />
        </label>
        <label className="flex flex-col gap-1 text-13">
          Expires
          <select className="field" value={days} onChange={(e) => setDays(e.target.value)}>
            <option value="1">in a day</option>
            <option value="30">in 30 days</option>
            <option value="90">in 90 days</option>
            <option value="365">in a year</option>
          </select>
        </label>
        <GrantFields grants={grants} onChange={setGrants} />
        <p className="text-13 text-muted">
          It never allows more than you may do yourself; without a role it has yours. It is an identity in the
          inventory.
        </p>
        {make.error && (
          <p role="alert" className="text-13 text-deny">
            Not made: {make.error.message}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={make.isPending || name.trim() === ""}>
            Make
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
