import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Point } from "../api/client";
import { Button } from "../parts/Button";
import { Command } from "../parts/Command";
import { Dialog } from "../parts/Dialog";

const dialects: Point["dialect"][] = ["nginx", "caddy", "traefik", "haproxy", "envoy", "authzen"];

/** EnrolDialog takes a new point in and shows its key for the only time. */
export function EnrolDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [dialect, setDialect] = useState<Point["dialect"]>("nginx");
  const [sources, setSources] = useState("");
  const enrol = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/v1/points", {
          body: { name: name.trim(), dialect, sources: sources.split(/[\s,]+/).filter(Boolean) },
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
          <select className="field" value={dialect} onChange={(e) => setDialect(e.target.value as Point["dialect"])}>
            {dialects.map((d) => (
              <option key={d}>{d}</option>
            ))}
          </select>
        </label>
        <label className="flex flex-col gap-1 text-13">
          Addresses it speaks from (none: only this machine)
          <input
            className="field mono"
            value={sources}
            onChange={(e) => setSources(e.target.value)}
            placeholder="10.4.0.0/24, 10.5.0.7"
          />
        </label>
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

/** Key shows a new key once. It is gone when the dialog closes. */
export function Key({ title, value, onClose }: { title: string; value: string; onClose: () => void }) {
  return (
    <Dialog title={title} open onClose={onClose}>
      <div className="flex flex-col gap-3">
        <p>This is its key. It is shown now and never again: Muster keeps only a verifier of it.</p>
        <Command line={value} label="Copy key" />
        <div className="flex justify-end">
          <Button look="main" onClick={onClose}>
            I have stored it
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
