import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { answer, api, type Person } from "../api/client";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { toast, toastFailure } from "../parts/Toasts";
import { clean } from "../text/hostile";
import { type Grant, GrantFields } from "./GrantFields";

/** RolesDialog gives a person roles; those that come by group or address stay as they are. */
export function RolesDialog({ person: p, onClose }: { person: Person; onClose: () => void }) {
  const client = useQueryClient();
  const [grants, setGrants] = useState<Grant[]>(p.assigned ?? []);
  const tag = useRef(p.etag); // of what was read: somebody else's change in between is not overwritten
  const save = useMutation({
    mutationFn: (roles: Grant[]) =>
      answer(
        api.PUT("/v1/people/{id}", {
          params: { path: { id: p.id }, header: { "If-Match": tag.current } },
          body: { roles },
        }),
      ),
    onSuccess: (now) => {
      tag.current = now.etag;
      toast(`Roles of ${clean(p.name || p.id)} changed.`, () => save.mutate(p.assigned ?? []));
      onClose();
    },
    onError: (error) => toastFailure("The roles were not changed", error),
    onSettled: () => client.invalidateQueries({ queryKey: ["person"] }),
  });
  return (
    <Dialog title={`Roles of ${clean(p.name || p.id).slice(0, 80)}`} open onClose={onClose} wide>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate(grants);
        }}
      >
        <p className="text-13 text-muted">
          Given here, beside those that come by group or address from the configuration.
        </p>
        <GrantFields grants={grants} onChange={setGrants} />
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
