import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type Action, answer, api, type Finding } from "../api/client";
import { toast, toastFailure } from "../parts/Toasts";
import { measures, statuses } from "../text/words";

/** useActs are the things a person may do about a finding. Each says what it did, and can be taken back where that is possible. */
export function useActs() {
  const client = useQueryClient();
  const refresh = () => {
    for (const noun of ["finding", "action", "overview", "identity"]) client.invalidateQueries({ queryKey: [noun] });
  };
  const undo = useMutation({
    mutationFn: ({ action, reason }: { action: Action; reason: string }) =>
      answer(
        api.POST("/v1/actions/{id}/undo", { params: { path: { id: action.id } }, body: reason ? { reason } : {} }),
      ),
    onSuccess: (done) => toast(`Undone: ${measures[done.measure].done.toLowerCase()}.`),
    onError: (error) => toastFailure("Not undone", error),
    onSettled: refresh,
  });
  const approve = useMutation({
    mutationFn: (action: Action) =>
      answer(api.POST("/v1/actions/{id}/approve", { params: { path: { id: action.id } }, body: {} })),
    onSuccess: (done) =>
      toast(
        `${measures[done.measure].done}.`,
        done.undoable ? () => undo.mutate({ action: done, reason: "undone right after approval" }) : undefined,
      ),
    onError: (error) => toastFailure("Not approved", error),
    onSettled: refresh,
  });
  const judge = useMutation({
    mutationFn: ({ finding, status, reason }: { finding: Finding; status: Finding["status"]; reason?: string }) =>
      answer(
        api.PATCH("/v1/findings/{id}", {
          params: { path: { id: finding.id } },
          body: { status, reason: reason || undefined },
        }),
      ),
    onSuccess: (_, { finding, status }) =>
      toast(`${statuses[status]}.`, () =>
        judge.mutate({ finding: { ...finding, status }, status: finding.status, reason: "taken back" }),
      ),
    onError: (error) => toastFailure("Not changed", error),
    onSettled: refresh,
  });
  return { undo, approve, judge };
}
