import { ShieldCheck, ShieldQuestion, Undo2 } from "lucide-react";
import { useState } from "react";
import type { Action } from "../api/client";
import { Button } from "../parts/Button";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { Time } from "../parts/Time";
import { quote } from "../text/hostile";
import { measures } from "../text/words";
import { useActs } from "./useActs";

/** ActionCard says what was done, by whom and when, and takes it back; or asks for approval. */
export function ActionCard({ action: a, name }: { action: Action; name: string | undefined }) {
  const { approve } = useActs();
  const [asking, setAsking] = useState(false);
  const measure = measures[a.measure];
  const Icon = a.status === "proposed" ? ShieldQuestion : a.status === "undone" ? Undo2 : ShieldCheck;
  return (
    <section
      aria-label="What was done"
      className={`card flex flex-wrap items-start gap-3 p-4 ${a.status === "proposed" ? "border-stepup" : ""}`}
    >
      <Icon
        size={20}
        aria-hidden
        className={`mt-0.5 shrink-0 ${a.status === "done" ? "text-allow" : a.status === "proposed" ? "text-stepup" : "text-muted"}`}
      />
      <div className="min-w-0 flex-1 basis-56">
        <h3>{heading(a)}</h3>
        <p className="text-13">{a.status === "undone" ? `Since then ${measure.again}.` : measure.means}</p>
        <p className="text-12 text-muted">
          <Hostile text={a.actor} /> <Time at={a.at} />
          {a.undone_at && (
            <>
              , undone by <Hostile text={a.undone_by ?? ""} /> <Time at={a.undone_at} />
            </>
          )}
        </p>
        {a.reason && (
          <p className="text-12 text-muted">
            <Hostile text={a.reason} className="whitespace-normal break-words" />
          </p>
        )}
      </div>
      {a.status === "proposed" && (
        <Button look="main" disabled={approve.isPending} onClick={() => approve.mutate(a)}>
          Approve
        </Button>
      )}
      {a.undoable && a.status === "done" && (
        <Button onClick={() => setAsking(true)}>
          <Undo2 size={14} aria-hidden /> Undo
        </Button>
      )}
      {asking && <UndoDialog action={a} name={name} onClose={() => setAsking(false)} />}
    </section>
  );
}

function heading(a: Action): string {
  const measure = measures[a.measure];
  switch (a.status) {
    case "proposed":
      return `Waits for you: ${measure.proposed.toLowerCase()}`;
    case "undone":
      return `Undone: ${measure.done.toLowerCase()}`;
    case "refused":
      return `Not carried out: ${measure.proposed.toLowerCase()}`;
    default:
      return measure.done;
  }
}

/** UndoDialog says what becomes possible again before it does it. Undoing can itself be reversed, so nothing has to be typed. */
export function UndoDialog({
  action,
  name,
  onClose,
}: {
  action: Action;
  name: string | undefined;
  onClose: () => void;
}) {
  const { undo } = useActs();
  const [reason, setReason] = useState("");
  return (
    <FormDialog
      title="Undo this?"
      verb="Undo"
      keep="Keep it"
      danger
      failed="Not undone"
      act={undo}
      onSubmit={() => undo.mutate({ action, reason: reason.trim() }, { onSuccess: onClose })}
      onClose={onClose}
    >
      <p>
        Then {measures[action.measure].again}
        {name && (
          <>
            {" "}
            as <Hostile text={name} className="font-[600]" />
          </>
        )}
        . The finding counts as resolved, and the audit log keeps both acts.
      </p>
      <TextField
        label="Why (kept in the audit log)"
        maxLength={1000}
        value={reason}
        onText={setReason}
        placeholder="the key was rotated"
      />
      <p className="text-12 text-muted">
        In a terminal: <span className="mono break-all">muster action undo {quote(action.id)}</span>
      </p>
    </FormDialog>
  );
}
