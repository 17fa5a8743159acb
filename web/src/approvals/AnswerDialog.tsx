import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Approval, answer, api } from "../api/client";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { toast } from "../parts/Toasts";

/** AnswerDialog has a person say yes or no once more, and why. An answer cannot be taken back. */
export function AnswerDialog({ approval: a, yes, onClose }: { approval: Approval; yes: boolean; onClose: () => void }) {
  const client = useQueryClient();
  const [comment, setComment] = useState("");
  const say = useMutation({
    mutationFn: () => {
      const request = { params: { path: { id: a.id } }, body: comment.trim() ? { comment: comment.trim() } : {} };
      return answer(
        yes ? api.POST("/v1/approvals/{id}/approve", request) : api.POST("/v1/approvals/{id}/deny", request),
      );
    },
    onSuccess: (now) => {
      toast(now.state === "pending" ? "You said yes. Somebody else has to, too." : yes ? "Approved." : "Denied.");
      onClose();
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["approval"] }),
  });
  return (
    <FormDialog
      title={yes ? "Approve this request?" : "Deny this request?"}
      verb={yes ? "Approve" : "Deny"}
      keep="Not now"
      danger={!yes}
      failed={yes ? "Not approved" : "Not denied"}
      act={say}
      onSubmit={() => say.mutate()}
      onClose={onClose}
    >
      <p>
        <Hostile text={a.name || a.identity} className="whitespace-normal break-all font-[600]" />{" "}
        {yes ? "may then, once," : "may then not"} {a.action}{" "}
        <Hostile text={a.resource} className="whitespace-normal break-all font-[600]" />.{" "}
        {yes ? "Say yes only to what you expected." : "One no is enough."}
      </p>
      <TextField
        label="Why (kept in the audit log)"
        maxLength={500}
        value={comment}
        onText={setComment}
        placeholder={yes ? "spoke with the team on call" : "nobody here started this"}
      />
    </FormDialog>
  );
}
