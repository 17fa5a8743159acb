import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Point } from "../api/client";
import { Button } from "../parts/Button";
import { Choice } from "../parts/Choice";
import { Dialog } from "../parts/Dialog";
import { toast, toastFailure } from "../parts/Toasts";
import { count } from "../text/format";
import { clean } from "../text/hostile";

/** ModeDialog switches a point between observing and enforcing, for a share of its requests. */
export function ModeDialog({ point: p, onClose }: { point: Point; onClose: () => void }) {
  const client = useQueryClient();
  const [mode, setMode] = useState(p.mode);
  const [percent, setPercent] = useState(p.percent || 100);
  const save = useMutation({
    mutationFn: (to: { mode: Point["mode"]; percent: number }) =>
      answer(api.PATCH("/v1/points/{id}", { params: { path: { id: p.id } }, body: to })),
    onSuccess: (now) => {
      toast(`${clean(now.name)} ${now.mode === "enforce" ? `enforces ${now.percent} %` : "only observes"}.`, () =>
        save.mutate({ mode: p.mode, percent: p.percent }),
      );
      onClose();
    },
    onError: (error) => toastFailure("The point was not changed", error),
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["point"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
  });
  return (
    <Dialog title={`Point ${clean(p.name)}`} open onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate({ mode, percent });
        }}
      >
        <Choice
          label="Mode"
          value={mode}
          onChange={setMode}
          options={[
            { value: "observe", label: "Observe" },
            { value: "enforce", label: "Enforce" },
          ]}
        />
        {mode === "observe" ? (
          <p className="text-13">
            Every request passes, except for what is revoked, suspended or quarantined. Muster counts what it would
            refuse: so far {count(p.would_refuse)}.{" "}
            <strong className="font-[600] text-stepup">Nothing behind this point is protected.</strong>
          </p>
        ) : (
          <>
            <label className="flex flex-col gap-1 text-13">
              Share of requests: {percent} %
              <input
                type="range"
                min={1}
                max={100}
                value={percent}
                onChange={(e) => setPercent(Number(e.target.value))}
                className="accent-accent"
              />
            </label>
            <p className="text-13">
              For {percent} % of the requests a refusal is a refusal; the others are only observed. Start small, watch
              what is refused on the Activity page, then go to 100 %.
            </p>
          </>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={save.isPending}>
            Save
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
