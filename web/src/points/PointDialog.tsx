import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { answer, api, type Point } from "../api/client";
import { Button } from "../parts/Button";
import { Choice } from "../parts/Choice";
import { Dialog } from "../parts/Dialog";
import { toast, toastFailure } from "../parts/Toasts";
import { count } from "../text/format";
import { clean } from "../text/hostile";
import { Guarded, lines, words } from "./Guarded";
import { type Dialect, dialects } from "./snippets";

type Change = Pick<Point, "mode" | "percent" | "dialect" | "disabled"> & { sources: string[]; resources: string[] };

const of = (p: Point): Change => ({
  mode: p.mode,
  percent: p.percent,
  dialect: p.dialect,
  disabled: p.disabled,
  sources: p.sources ?? [],
  resources: p.resources ?? [],
});

/** PointDialog changes what a point does, for a share of its requests, and what it guards. Each change can be undone. */
export function PointDialog({ point: p, onClose }: { point: Point; onClose: () => void }) {
  const client = useQueryClient();
  const [mode, setMode] = useState(p.mode);
  const [percent, setPercent] = useState(p.percent || 100);
  const [dialect, setDialect] = useState<Dialect>(p.dialect);
  const [disabled, setDisabled] = useState(p.disabled);
  const [sources, setSources] = useState((p.sources ?? []).join(", "));
  const [resources, setResources] = useState((p.resources ?? []).join("\n"));
  const save = useMutation({
    mutationFn: (to: Change) => answer(api.PATCH("/v1/points/{id}", { params: { path: { id: p.id } }, body: to })),
    onSuccess: (now) => {
      const does = now.disabled
        ? "gets no answers"
        : now.mode === "enforce"
          ? `enforces ${now.percent} %`
          : "only observes";
      toast(`${clean(now.name)} ${does}.`, () => save.mutate(of(p)));
      onClose();
    },
    onSettled: () => {
      client.invalidateQueries({ queryKey: ["point"] });
      client.invalidateQueries({ queryKey: ["overview"] });
    },
    onError: (error) => toastFailure("The point was not changed", error),
  });
  return (
    <Dialog title={`Point ${clean(p.name).slice(0, 80)}`} open onClose={onClose}>
      <form
        className="flex flex-col gap-4"
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate({ mode, percent, dialect, disabled, sources: words(sources), resources: lines(resources) });
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
                className="h-6 accent-accent"
              />
            </label>
            <p className="text-13">
              For {percent} % of the requests a refusal is a refusal; the others are only observed. Start small, watch
              what is refused on the Activity page, then go to 100 %.
            </p>
          </>
        )}
        <label className="flex flex-col gap-1 text-13">
          Speaks like
          <select className="field" value={dialect} onChange={(e) => setDialect(e.target.value as Dialect)}>
            {dialects.map((d) => (
              <option key={d}>{d}</option>
            ))}
          </select>
        </label>
        <Guarded sources={sources} onSources={setSources} resources={resources} onResources={setResources} />
        <label className="flex items-center gap-2 text-13">
          <input
            type="checkbox"
            className="size-4 accent-accent"
            checked={disabled}
            onChange={(e) => setDisabled(e.target.checked)}
          />
          Disabled: it gets no answers, so what asks it refuses everything
        </label>
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
