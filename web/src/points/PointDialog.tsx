import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Point } from "../api/client";
import { Choice } from "../parts/Choice";
import { Field } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { toast } from "../parts/Toasts";
import { count } from "../text/format";
import { clean } from "../text/hostile";
import { PointFields, read, written } from "./PointFields";

type Change = Pick<Point, "mode" | "percent" | "dialect" | "disabled" | "assert"> & {
  sources: string[];
  resources: string[];
};

/** does says what a point does now. */
function does(p: Point): string {
  if (p.disabled) return "gets no answers";
  return p.mode === "enforce" ? `enforces ${p.percent} %` : "only observes";
}

/** PointDialog changes what a point does, for a share of its requests, and what it guards. Each change can be undone. */
export function PointDialog({ point: p, onClose }: { point: Point; onClose: () => void }) {
  const client = useQueryClient();
  const [mode, setMode] = useState(p.mode);
  const [percent, setPercent] = useState(p.percent || 100);
  const [disabled, setDisabled] = useState(p.disabled);
  const [fields, setFields] = useState(written(p));
  const save = useMutation({
    mutationFn: (to: Change) => answer(api.PATCH("/v1/points/{id}", { params: { path: { id: p.id } }, body: to })),
    onSuccess: (now) => {
      const before = { mode: p.mode, percent: p.percent, disabled: p.disabled, ...read(written(p)) };
      toast(`${clean(now.name)} ${does(now)}.`, () => save.mutate(before));
      onClose();
    },
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["point"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
  });
  return (
    <FormDialog
      title={`Point ${clean(p.name).slice(0, 80)}`}
      verb="Save"
      failed="Not changed"
      act={save}
      onSubmit={() => save.mutate({ mode, percent, disabled, ...read(fields) })}
      onClose={onClose}
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
          <Field label={`Share of callers: ${percent} %`}>
            <input
              type="range"
              min={1}
              max={100}
              value={percent}
              onChange={(e) => setPercent(Number(e.target.value))}
              className="h-6 accent-accent"
            />
          </Field>
          <p className="text-13 text-muted">
            For {percent} % of the requests a refusal is a refusal; the others are only observed. Start small, watch
            what is refused, then go to 100 %.
          </p>
        </>
      )}
      <PointFields value={fields} onChange={setFields} />
      <label className="flex items-center gap-2 text-13">
        <input
          type="checkbox"
          className="size-4 shrink-0 accent-accent"
          checked={disabled}
          onChange={(e) => setDisabled(e.target.checked)}
        />
        Disabled: it gets no answers, so what asks it refuses everything
      </label>
    </FormDialog>
  );
}
