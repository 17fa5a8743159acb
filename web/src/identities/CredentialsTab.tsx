import { useQuery } from "@tanstack/react-query";
import { Pin, PinOff } from "lucide-react";
import { useState } from "react";
import { Act } from "../access/Act";
import type { Credential, IdentityDetail } from "../api/client";
import { identityRisk } from "../api/queries";
import { Copy } from "../parts/Copy";
import { CredentialState } from "../parts/CredentialState";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pair, Pairs } from "../parts/Pairs";
import { Time } from "../parts/Time";
import { quote } from "../text/hostile";
import { credentialKinds } from "../text/words";
import { PinDialog, usePin } from "./PinDialog";
import { Risk } from "./Risk";

/** CredentialsTab lists what proves the identity, never a value, and pins it to the workload that may use it. */
export function CredentialsTab({ i }: { i: IdentityDetail }) {
  const credentials = i.credentials ?? [];
  const risks = useQuery(identityRisk(i.id)).data?.credentials ?? [];
  const [pinning, setPinning] = useState<Credential>();
  if (credentials.length === 0)
    return <p className="p-4 text-13 text-muted">It has no credential that Muster knows of.</p>;
  return (
    <>
      <ul aria-label="Credentials">
        {credentials.map((c) => (
          <li key={c.id} className="flex flex-wrap items-start gap-x-6 gap-y-2 border-b border-hair px-4 py-3">
            <One c={c} risk={risks.find((r) => r.credential === c.id)?.risk ?? 0} />
            <div className="flex flex-wrap gap-2">
              <PinButton c={c} onPin={() => setPinning(c)} />
              <Copy
                label="Copy as CLI"
                text={`muster credential show ${quote(c.id)} --server ${window.location.origin}`}
              />
            </div>
          </li>
        ))}
      </ul>
      {pinning && <PinDialog credential={pinning} onClose={() => setPinning(undefined)} />}
    </>
  );
}

function One({ c, risk }: { c: Credential; risk: number }) {
  return (
    <div className="min-w-0 flex-1 basis-72">
      <p className="flex min-w-0 items-center gap-3">
        <Hostile text={c.public_id || c.id} className="mono min-w-0" />
        <CredentialState state={c.state} />
        {risk > 0 && <Risk risk={risk} />}
      </p>
      <Pairs>
        <Pair name="Kind">{credentialKinds[c.kind] ?? c.kind}</Pair>
        <Pair name="Used">
          <Time at={c.last_used} />, made <Time at={c.created} never="unknown" />
        </Pair>
        <Pair name="Expires">
          {c.expires ? <Time at={c.expires} /> : <span className="text-stepup">never: a static secret</span>}
        </Pair>
        <Pair name="When it leaks">
          {c.known ? "it is recognised" : <span className="text-stepup">it cannot be recognised</span>}
        </Pair>
        {c.consumer && (
          <Pair name="Pinned to">
            <IdentityLink id={c.consumer} />
          </Pair>
        )}
        {c.reason && (
          <Pair name="Because">
            <Hostile text={c.reason} className="block whitespace-normal break-words" />
          </Pair>
        )}
      </Pairs>
    </div>
  );
}

function PinButton({ c, onPin }: { c: Credential; onPin: () => void }) {
  const pin = usePin(c);
  if (c.state === "revoked") return null;
  return c.consumer ? (
    <Act right="respond" disabled={pin.isPending} onClick={() => pin.mutate("")}>
      <PinOff size={14} aria-hidden /> Lift the pin
    </Act>
  ) : (
    <Act right="respond" onClick={onPin}>
      <Pin size={14} aria-hidden /> Pin…
    </Act>
  );
}
