import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { answer, api, type Person } from "../api/client";
import { FormDialog } from "../parts/FormDialog";
import { toast } from "../parts/Toasts";
import { clean } from "../text/hostile";
import { type Grant, GrantFields } from "./GrantFields";

/** RolesDialog gives a person roles; those that come by group or address stay as they are. */
export function RolesDialog({ person: p, onClose }: { person: Person; onClose: () => void }) {
  const client = useQueryClient();
  const [grants, setGrants] = useState<Grant[]>(p.assigned ?? []);
  const name = clean(p.name || p.id).slice(0, 80);
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
      toast(`Roles of ${name} changed.`, () => save.mutate(p.assigned ?? []));
      onClose();
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["person"] }),
  });
  return (
    <FormDialog
      title={`Roles of ${name}`}
      verb="Save"
      wide
      failed="Not changed"
      act={save}
      onSubmit={() => save.mutate(grants)}
      onClose={onClose}
    >
      <p className="text-13 text-muted">
        Given here, beside those that come by group or address from the configuration. They hold at once: whoever has a
        session signs in again.
      </p>
      <GrantFields grants={grants} onChange={setGrants} />
    </FormDialog>
  );
}
