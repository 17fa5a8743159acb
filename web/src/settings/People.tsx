import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { grantText } from "../access/roles";
import { answer, api, type Person } from "../api/client";
import { people } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Time } from "../parts/Time";
import { toast, toastFailure } from "../parts/Toasts";
import { count } from "../text/format";
import { clean } from "../text/hostile";
import { RolesDialog } from "./RolesDialog";

/** People lists who signed in with the organisation's provider, and what they may do. */
export function People() {
  const { data, error, refetch } = useQuery(people);
  const [changing, setChanging] = useState<Person>();
  if (!data) return <Pending what="The people" error={error} again={refetch} />;
  const all = data.items ?? [];
  return (
    <Card title={`People: ${count(all.length)}`} flush>
      {all.length === 0 && (
        <p className="px-4 pb-4 text-muted">
          Nobody signed in with single sign-on yet. There is nobody to invite: whoever your provider lets in appears
          here at the first try, and may do nothing until a role is given, here or by a group in the configuration.{" "}
          <a href="/docs/guide/single-sign-on">Set up single sign-on</a>
        </p>
      )}
      <ul aria-label="People">
        {all.map((p) => (
          <li key={p.id} className="flex flex-wrap items-center gap-x-6 gap-y-1 border-t border-hair px-4 py-2 text-13">
            <span className="flex min-w-0 flex-1 basis-52 flex-col">
              <Hostile text={p.name || p.email || p.id} className="font-[600]" />
              <Hostile text={p.email || p.issuer} className="text-12 text-muted" />
            </span>
            <span className="min-w-0 flex-1 basis-52">
              {(p.roles ?? []).length === 0 && <span className="text-stepup">no role: may do nothing</span>}
              {(p.roles ?? []).map((g) => (
                <Hostile key={grantText(g)} text={grantText(g)} className="block" />
              ))}
            </span>
            <span className="text-12 text-muted">
              signed in <Time at={p.signed_in} />
              {p.disabled && <span className="text-stepup">, disabled</span>}
            </span>
            <span className="flex gap-2">
              <Button onClick={() => setChanging(p)}>Roles</Button>
              <Disable p={p} />
            </span>
          </li>
        ))}
      </ul>
      {changing && <RolesDialog person={changing} onClose={() => setChanging(undefined)} />}
    </Card>
  );
}

function Disable({ p }: { p: Person }) {
  const client = useQueryClient();
  const set = useMutation({
    mutationFn: (disabled: boolean) =>
      answer(api.PUT("/v1/people/{id}", { params: { path: { id: p.id } }, body: { disabled } })),
    onSuccess: (_, disabled) =>
      toast(
        `${clean(p.name || p.id)} ${disabled ? "is disabled; every session of theirs ended" : "may sign in again"}.`,
        () => set.mutate(!disabled),
      ),
    onError: (error) => toastFailure("Not changed", error),
    onSettled: () => client.invalidateQueries({ queryKey: ["person"] }),
  });
  return (
    <Button disabled={set.isPending} onClick={() => set.mutate(!p.disabled)}>
      {p.disabled ? "Enable" : "Disable"}
    </Button>
  );
}
