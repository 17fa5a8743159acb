import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { ArrowLeft } from "lucide-react";
import type { Finding } from "../api/client";
import { credential, finding } from "../api/queries";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { CredentialState } from "../parts/CredentialState";
import { Features } from "../parts/Features";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Pair, Pairs } from "../parts/Pairs";
import { Pending } from "../parts/Pending";
import { Severity } from "../parts/Severity";
import { Part } from "../parts/SidePanel";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { quote } from "../text/hostile";
import { statuses } from "../text/words";
import { ActionCard } from "./ActionCard";
import { useActs } from "./useActs";

/** FindingDetail tells a finding from its sentence to what was done about it. */
export function FindingDetail({ id }: { id: string }) {
  const { data: f, error, refetch } = useQuery(finding(id));
  const { judge } = useActs();
  if (!f) return <Pending what="This finding" error={error} again={refetch} />;
  return (
    <article aria-label={`Finding: ${f.title}`} className="flex min-w-0 flex-col gap-4 p-4 lg:p-6">
      <Link
        from="/findings"
        to="/findings"
        search={(s) => ({ ...s, id: undefined })}
        className="inline-flex items-center gap-1 lg:hidden"
      >
        <ArrowLeft size={16} aria-hidden /> All findings
      </Link>
      <header className="flex flex-col gap-1">
        <h2 className="text-20">
          <Hostile text={f.title} className="whitespace-normal break-words" />
        </h2>
        <p className="flex flex-wrap items-center gap-x-4 gap-y-1 text-13 text-muted">
          <Severity severity={f.severity} />
          <span>score {f.score.toFixed(0)}</span>
          <span>{statuses[f.status]}</span>
          <span>
            found <Time at={f.detected_at} />
          </span>
        </p>
        <p className="mt-1 text-16">
          <Hostile text={f.sentence} className="whitespace-normal break-words" />
        </p>
      </header>
      {f.action && <ActionCard action={f.action} name={f.name} />}
      <div className="flex flex-wrap gap-2">
        <Judgements f={f} judge={(status) => judge.mutate({ finding: f, status })} busy={judge.isPending} />
      </div>
      <Part flush title="Who and where">
        <Facts f={f} />
      </Part>
      {(f.features ?? []).length > 0 && (
        <Part flush title="What was unusual">
          <Features features={f.features ?? []} />
        </Part>
      )}
      {!ofPoint(f) && <Reach reach={f.reach ?? []} />}
      <Evidence f={f} />
      <div className="flex flex-wrap gap-2">
        <Copy label="Copy as CLI" text={`muster finding show ${quote(f.id)} --server ${window.location.origin}`} />
        <Copy
          label="Copy as curl"
          text={`curl -H "Authorization: Bearer $MUSTER_TOKEN" ${quote(`${window.location.origin}/v1/findings/${encodeURIComponent(f.id)}`)}`}
        />
      </div>
    </article>
  );
}

function Judgements({ f, judge, busy }: { f: Finding; judge: (status: Finding["status"]) => void; busy: boolean }) {
  if (f.status === "resolved" || f.status === "dismissed")
    return (
      <Button disabled={busy} onClick={() => judge("open")}>
        Open again
      </Button>
    );
  return (
    <>
      {f.status === "open" && (
        <Button disabled={busy} onClick={() => judge("acknowledged")} title="Somebody looks after it">
          Acknowledge
        </Button>
      )}
      <Button disabled={busy} onClick={() => judge("resolved")} title="What was wrong is put right">
        Resolve
      </Button>
      <Button disabled={busy} onClick={() => judge("dismissed")} title="It was not wrong">
        Dismiss
      </Button>
    </>
  );
}

/** ofPoint says whether a finding is about a point, and no identity. */
const ofPoint = (f: Finding) => f.rule === "break-glass";

function Facts({ f }: { f: Finding }) {
  return (
    <Pairs>
      {!ofPoint(f) && (
        <>
          <Pair name="Identity">
            <IdentityLink id={f.identity} name={f.name} />
          </Pair>
          <Pair name="Owner">{f.owner ? <Hostile text={f.owner} className="block" /> : "nobody answers for it"}</Pair>
        </>
      )}
      {f.credential && (
        <Pair name="Credential">
          <OfCredential id={f.credential} />
        </Pair>
      )}
      {f.place && (
        <Pair name="Place">
          <span className="flex min-w-0 flex-wrap gap-x-2">
            <Hostile text={`${f.place.name}${f.place.line ? `:${f.place.line}` : ""}`} className="mono" />
            <span className="text-muted">
              {f.place.kind}
              {f.place.public && ", public"}
            </span>
            {f.place.commit && <Hostile text={f.place.commit} className="mono text-muted" />}
          </span>
        </Pair>
      )}
      <Pair name="Seen">
        {plural(f.count, "time")}, first <Time at={f.first_seen} />, last <Time at={f.last_seen} />
      </Pair>
      <Pair name="Rule">
        <Hostile text={f.rule} className="mono" />
      </Pair>
      <Pair name="Calls">
        {ofPoint(f) ? (
          <Link to="/activity" search={{ filter: "glass:*" }}>
            What break-glass let pass
          </Link>
        ) : (
          <Link to="/activity" search={{ identity: f.identity || undefined }}>
            Decisions about this identity
          </Link>
        )}
      </Pair>
    </Pairs>
  );
}

/** OfCredential says of a credential which it is and whether it is still alive. */
function OfCredential({ id }: { id: string }) {
  const { data: c } = useQuery(credential(id));
  if (!c) return <Hostile text={id} className="mono block" />;
  return (
    <span className="flex min-w-0 flex-wrap gap-x-3">
      <Link to="/identities/$id" params={{ id: c.identity }} search={{ tab: "credentials" }} className="flex min-w-0">
        <Hostile text={c.public_id || c.id} className="mono" />
      </Link>
      <CredentialState state={c.state} />
    </span>
  );
}

function Reach({ reach }: { reach: readonly string[] }) {
  return (
    <Part flush title={`What it could reach: ${count(reach.length)}`}>
      {reach.length === 0 ? (
        <p className="text-13 text-muted">No resource that Muster knows of.</p>
      ) : (
        <ul className="flex flex-wrap gap-1.5 text-13">
          {reach.map((r) => (
            <li key={r} className="flex max-w-full rounded-control border border-hair px-2">
              <Hostile text={r} />
            </li>
          ))}
        </ul>
      )}
    </Part>
  );
}

function Evidence({ f }: { f: Finding }) {
  const events = f.events ?? [];
  if (events.length === 0) return null;
  return (
    <Part flush title={`Evidence: ${plural(events.length, "record")}`}>
      <ul className="flex flex-col gap-0.5 text-13">
        {events.slice(0, 20).map((e) => (
          <li key={e} className="flex min-w-0">
            <Hostile text={e} className="mono" />
          </li>
        ))}
      </ul>
      {events.length > 20 && <p className="text-12 text-muted">and {count(events.length - 20)} more</p>}
    </Part>
  );
}
