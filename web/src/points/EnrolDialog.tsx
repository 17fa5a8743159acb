import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api } from "../api/client";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Key } from "../parts/Key";
import { Guarded, lines, words } from "./Guarded";
import { type Dialect, dialects } from "./snippets";

/** EnrolDialog takes a new point in and shows its key for the only time. */
export function EnrolDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [dialect, setDialect] = useState<Dialect>("nginx");
  const [sources, setSources] = useState("");
  const [resources, setResources] = useState("");
  const enrol = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/v1/points", {
          body: { name: name.trim(), dialect, sources: words(sources), resources: lines(resources) },
        }),
      ),
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["point"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
  });
  if (enrol.data) return <Key title="The point is enrolled" value={enrol.data.key} onClose={onClose} />;
  return (
    <Dialog title="Enrol a point" open onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          enrol.mutate();
        }}
      >
        <label className="flex flex-col gap-1 text-13">
          Name
          <input
            className="field"
            required
            maxLength={100}
            value={name}
            onChange={(e) => setName(e.target.value)}
            placeholder="edge-eu"
          />
        </label>
        <label className="flex flex-col gap-1 text-13">
          Speaks like
          <select className="field" value={dialect} onChange={(e) => setDialect(e.target.value as Dialect)}>
            {dialects.map((d) => (
              <option key={d}>{d}</option>
            ))}
          </select>
        </label>
        <Guarded sources={sources} onSources={setSources} resources={resources} onResources={setResources} />
        <p className="text-13 text-muted">
          It starts observing: it refuses only what is revoked, suspended or quarantined, and counts the rest.
        </p>
        {enrol.error && (
          <p role="alert" className="text-13 text-deny">
            Not enrolled: {enrol.error.message}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={enrol.isPending}>
            Enrol
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
