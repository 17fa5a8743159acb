import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useState } from "react";
import { grantText } from "../access/roles";
import { answer, api, type Token } from "../api/client";
import { tokens } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pending } from "../parts/Pending";
import { Time } from "../parts/Time";
import { toast } from "../parts/Toasts";
import { count } from "../text/format";
import { clean } from "../text/hostile";
import { TokenDialog } from "./TokenDialog";

/** Tokens lists the API tokens, each an identity in the inventory, and makes and revokes them. */
export function Tokens() {
  const { data, error, refetch } = useQuery(tokens);
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token>();
  if (!data) return <Pending what="The tokens" error={error} again={refetch} />;
  const all = data.items ?? [];
  return (
    <Card
      title={`API tokens: ${count(all.length)}`}
      flush
      aside={
        <Button onClick={() => setMaking(true)}>
          <Plus size={14} aria-hidden /> Make a token
        </Button>
      }
    >
      {all.length === 0 && <p className="px-4 pb-4 text-muted">There is no token: only people in browsers.</p>}
      <ul aria-label="API tokens">
        {all.map((t) => (
          <li key={t.id} className="flex flex-wrap items-center gap-x-6 gap-y-1 border-t border-hair px-4 py-2 text-13">
            <span className="flex min-w-0 flex-1 basis-52 flex-col">
              <IdentityLink id={t.identity} name={t.name} className="font-[600]" />
              <Hostile text={t.id} className="mono text-muted" />
            </span>
            <span className="min-w-0 flex-1 basis-52">
              {(t.roles ?? []).map((g) => (
                <Hostile key={grantText(g)} text={grantText(g)} className="block" />
              ))}
              {(t.rights ?? []).length > 0 && <span className="text-muted">only {(t.rights ?? []).join(", ")}</span>}
            </span>
            <span className="text-12 text-muted">
              used <Time at={t.used} />, {t.revoked ? "revoked" : "expires"} <Time at={t.revoked ?? t.expires} />
              {t.loopback && ", on the server's own host only"}
            </span>
            {!t.revoked && <Button onClick={() => setRevoking(t)}>Revoke…</Button>}
          </li>
        ))}
      </ul>
      {making && <TokenDialog onClose={() => setMaking(false)} />}
      {revoking && <RevokeDialog token={revoking} onClose={() => setRevoking(undefined)} />}
    </Card>
  );
}

function RevokeDialog({ token: t, onClose }: { token: Token; onClose: () => void }) {
  const client = useQueryClient();
  const revoke = useMutation({
    mutationFn: () => answer(api.DELETE("/v1/tokens/{id}", { params: { path: { id: t.id } } })),
    onSuccess: () => {
      toast(`Token ${clean(t.name)} revoked.`);
      onClose();
    },
    onSettled: () => client.invalidateQueries({ queryKey: ["token"] }),
  });
  return (
    <FormDialog
      title="Revoke this token?"
      verb="Revoke"
      keep="Keep it"
      danger
      failed="Not revoked"
      act={revoke}
      onSubmit={() => revoke.mutate()}
      onClose={onClose}
    >
      <p>
        Whatever uses <Hostile text={t.name} className="font-[600]" /> stops at once, with the tokens that were made
        with it. This cannot be undone; it was last used <Time at={t.used} />.
      </p>
    </FormDialog>
  );
}
