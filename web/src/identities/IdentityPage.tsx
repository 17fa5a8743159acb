import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import type { IdentityDetail } from "../api/client";
import { decisions, findings, identity } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Copy } from "../parts/Copy";
import { Failure } from "../parts/Failure";
import { Hostile } from "../parts/Hostile";
import { OutcomeWord } from "../parts/OutcomeWord";
import { Pair, Pairs } from "../parts/Pairs";
import { Severity } from "../parts/Severity";
import { Skeleton } from "../parts/Skeleton";
import { Clock, Time } from "../parts/Time";
import { count } from "../text/format";
import { quote } from "../text/hostile";
import { credentialKinds, featureName, from, kindName } from "../text/words";
import { OwnerDialog } from "./OwnerDialog";
import { Risk } from "./Risk";

const route = getRouteApi("/identities/$id");

/** IdentityPage is all that is known about one identity. */
export function IdentityPage() {
  const { id } = route.useParams();
  const { data: i, error, refetch } = useQuery(identity(id));
  if (!i) return error ? <Failure what="This identity" error={error} again={refetch} /> : <Skeleton rows={12} />;
  return (
    <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
      <Head i={i} />
      <div className="grid min-w-0 gap-3 lg:grid-cols-2">
        <Credentials i={i} />
        <Normal i={i} />
        <Grants i={i} />
        <Owners i={i} />
        <Findings id={i.id} />
        <Decisions id={i.id} />
      </div>
    </div>
  );
}

function Head({ i }: { i: IdentityDetail }) {
  return (
    <section className="card flex flex-wrap items-start justify-between gap-x-6 gap-y-3 p-4">
      <div className="min-w-0 flex-1 basis-72">
        <h1 className="flex min-w-0">
          <Hostile text={i.name} />
        </h1>
        <p className="flex flex-wrap gap-x-3 text-13 text-muted">
          <span>{kindName(i.kind)}</span>
          <span>
            {i.provider} {i.account}
          </span>
          <span>{i.state}</span>
          {i.shadow && <span>seen in logs only, in no inventory</span>}
          {i.attestable && <span>can prove itself by its platform</span>}
        </p>
        <div className="mt-3">
          <Pairs>
            <Pair name="Path">
              <Hostile text={i.path || i.native} className="mono block" />
            </Pair>
            <Pair name="Environment">
              <Hostile text={i.environment.name || "none"} />{" "}
              <span className="text-muted">({i.environment.class})</span>
            </Pair>
            <Pair name="Last seen">
              <Time at={i.last_seen} />, first <Time at={i.first_seen ?? i.created} never="unknown" />
            </Pair>
            <Pair name="Reaches">
              {(i.reach ?? []).length === 0 ? (
                <span className="text-muted">no resource that Muster knows of</span>
              ) : (
                <span className="flex flex-wrap gap-1.5">
                  {(i.reach ?? []).map((r) => (
                    <span key={r} className="flex max-w-full rounded-control border border-hair px-2">
                      <Hostile text={r} />
                    </span>
                  ))}
                </span>
              )}
            </Pair>
          </Pairs>
        </div>
      </div>
      <div className="flex flex-col items-start gap-3">
        <span className="flex items-center gap-2">
          Risk <Risk risk={i.risk} />
        </span>
        <Copy label="Copy as CLI" text={`muster identity show ${quote(i.id)} --server ${window.location.origin}`} />
      </div>
    </section>
  );
}

function None({ children }: { children: string }) {
  return <p className="px-4 pb-4 text-13 text-muted">{children}</p>;
}

function Credentials({ i }: { i: IdentityDetail }) {
  const credentials = i.credentials ?? [];
  return (
    <Card title={`Credentials: ${count(credentials.length)}`} flush>
      {credentials.length === 0 && <None>It has no credential that Muster knows of.</None>}
      <ul>
        {credentials.map((c) => (
          <li key={c.id} className="flex flex-wrap gap-x-3 border-t border-hair px-4 py-2 text-13">
            <Hostile text={c.public_id || c.id} className="mono min-w-0 flex-1 basis-40" />
            <span className={c.state === "active" ? "text-allow" : "text-stepup"} title={c.reason}>
              {c.state}
            </span>
            <span className="basis-full text-12 text-muted">
              {credentialKinds[c.kind] ?? c.kind},{" "}
              {c.expires ? (
                <>
                  expires <Time at={c.expires} />
                </>
              ) : (
                "never expires"
              )}
              , used <Time at={c.last_used} />
              {c.known ? ", recognised when it leaks" : ", cannot be recognised when it leaks"}
            </span>
            {c.reason && <Hostile text={c.reason} className="basis-full whitespace-normal text-12 text-muted" />}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Normal({ i }: { i: IdentityDetail }) {
  const normal = i.normal ?? [];
  return (
    <Card title="What is normal for it" flush>
      {normal.length === 0 && <None>Nothing was learned yet: too few calls were seen.</None>}
      <ul>
        {normal.map((n) => (
          <li
            key={n.feature}
            className="grid grid-cols-[96px_minmax(0,1fr)] gap-3 border-t border-hair px-4 py-2 text-13"
          >
            <span className="text-muted">{featureName(n.feature)}</span>
            <span className="flex flex-wrap gap-x-3">
              {(n.usual ?? []).map((u) => (
                <Hostile key={u} text={u} />
              ))}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Grants({ i }: { i: IdentityDetail }) {
  const grants = i.grants ?? [];
  return (
    <Card title={`Grants: ${count(grants.length)}`} flush>
      {grants.length === 0 && <None>It holds no permission that Muster knows of.</None>}
      <ul>
        {grants.map((g) => (
          <li key={g.kind + g.name} className="border-t border-hair px-4 py-2 text-13">
            <span className="flex min-w-0 gap-3">
              <Hostile text={g.name} className="min-w-0 flex-1" />
              {g.admin && <span className="shrink-0 text-deny">administrator</span>}
              <span className="shrink-0 text-muted">{g.kind}</span>
            </span>
            {g.document && (
              <details>
                <summary className="text-12 text-muted">Document</summary>
                <pre className="mono max-h-60 overflow-auto whitespace-pre-wrap break-words">
                  <Hostile text={g.document} className="whitespace-pre-wrap" />
                </pre>
              </details>
            )}
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Owners({ i }: { i: IdentityDetail }) {
  const [asking, setAsking] = useState(false);
  const owners = i.owners ?? [];
  return (
    <Card
      title="Who answers for it"
      flush
      aside={
        <Button look="quiet" onClick={() => setAsking(true)}>
          Set owner
        </Button>
      }
    >
      <p className="px-4 pb-3 text-13">
        {i.owner.ref ? (
          <>
            <Hostile text={i.owner.ref} className="font-[600]" />{" "}
            <span className="text-muted">
              {i.owner.source}, {Math.round(i.owner.confidence * 100)} % sure
            </span>
          </>
        ) : (
          <span className="text-stepup">
            Nobody. It may not be issued credentials or administer anything until somebody does.
          </span>
        )}
      </p>
      <ul>
        {owners.map((o) => (
          <li
            key={o.owner + o.source + o.at}
            className="flex min-w-0 flex-wrap gap-x-3 border-t border-hair px-4 py-2 text-13"
          >
            <Hostile text={o.owner} className="min-w-0 flex-1" />
            <Hostile
              text={[o.source, o.detail].filter(Boolean).join(": ")}
              className="min-w-0 max-w-[60%] text-muted"
            />
            <span className="text-12 text-muted">
              <Time at={o.at} />
            </span>
          </li>
        ))}
      </ul>
      <OwnerDialog id={i.id} owner={i.owner.ref} open={asking} onClose={() => setAsking(false)} />
    </Card>
  );
}

function Findings({ id }: { id: string }) {
  const list = useInfiniteQuery(findings({ identity: id }));
  const found = list.data?.pages[0]?.items ?? [];
  return (
    <Card title="Findings" flush>
      {list.data && found.length === 0 && <None>Nothing was ever wrong with it.</None>}
      <ul>
        {found.slice(0, 8).map((f) => (
          <li key={f.id} className="border-t border-hair">
            <Link
              to="/findings"
              search={{ status: "all", id: f.id }}
              className="flex min-w-0 items-center gap-3 px-4 py-2 text-13 text-fg no-underline hover:bg-raised hover:no-underline"
            >
              <Severity severity={f.severity} />
              <Hostile text={f.title} className="min-w-0 flex-1" />
              <span className="shrink-0 text-12 text-muted">
                <Time at={f.last_seen} />
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Decisions({ id }: { id: string }) {
  const list = useQuery({ ...decisions({ identity: id }, 20), refetchInterval: 5_000 });
  const recent = list.data?.items ?? [];
  return (
    <Card
      title="Latest decisions"
      flush
      aside={
        <Link to="/activity" search={{ identity: id }} className="text-13">
          All
        </Link>
      }
    >
      {list.data && recent.length === 0 && <None>It asked for nothing lately.</None>}
      <ul>
        {recent.slice(0, 8).map((d) => (
          <li key={d.id} className="border-t border-hair">
            <Link
              to="/activity"
              search={{ identity: id, decision: d.id }}
              className="grid grid-cols-[64px_84px_minmax(0,1fr)] items-center gap-2 px-4 py-2 text-13 text-fg no-underline hover:bg-raised hover:no-underline"
            >
              <span className="text-muted">
                <Clock at={d.at} />
              </span>
              <OutcomeWord decision={{ ...d, would_refuse: false }} />
              <span className="flex min-w-0 gap-2">
                <Hostile text={`${d.operation || d.action} ${d.resource}`} className="min-w-0 flex-1" />
                <span className="max-w-[40%] shrink-0 truncate text-muted">{from(d)}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </Card>
  );
}
