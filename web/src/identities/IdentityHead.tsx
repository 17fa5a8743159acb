import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { Act } from "../access/Act";
import type { IdentityDetail } from "../api/client";
import { findings } from "../api/queries";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Hostile } from "../parts/Hostile";
import { Pair, Pairs } from "../parts/Pairs";
import { Severity } from "../parts/Severity";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { quote } from "../text/hostile";
import { kindName } from "../text/words";
import { OwnerDialog } from "./OwnerDialog";
import { Risk } from "./Risk";
import { RiskDialog } from "./RiskDialog";

/** IdentityHead says who it is, who answers for it, what is wrong with it, and what can be done. */
export function IdentityHead({ i }: { i: IdentityDetail }) {
  const [asking, setAsking] = useState<"owner" | "risk">();
  const close = () => setAsking(undefined);
  return (
    <section aria-label="Who it is" className="card flex min-w-0 flex-col gap-3 p-4">
      <div className="flex flex-wrap items-start justify-between gap-x-6 gap-y-2">
        <div className="min-w-0 flex-1 basis-72">
          <h1 className="flex min-w-0">
            <Hostile text={i.name} />
          </h1>
          <p className="flex min-w-0 flex-wrap gap-x-3 text-13 text-muted">
            <span>{kindName(i.kind)}</span>
            <Hostile text={`${i.provider} ${i.account}`} />
            <span>{i.state}</span>
            {i.shadow && <span>seen in logs only, in no inventory</span>}
            {i.attestable && <span>can prove itself by its platform</span>}
          </p>
        </div>
        <Button onClick={() => setAsking("risk")} aria-label={`Risk ${i.risk} of 100, explain it`}>
          Risk <Risk risk={i.risk} />
        </Button>
      </div>
      <div className="grid min-w-0 gap-x-8 gap-y-1 lg:grid-cols-2">
        <Pairs>
          <Pair name="Owner">
            <Owner i={i} />
          </Pair>
          <Pair name="Environment">
            <Hostile text={i.environment.name || "none"} />
            {i.environment.class !== i.environment.name && <span className="text-muted"> ({i.environment.class})</span>}
          </Pair>
        </Pairs>
        <Pairs>
          <Pair name="Path">
            <Hostile text={i.path || i.native} className="mono block" />
          </Pair>
          <Pair name="Last used">
            <Time at={i.last_seen} />, first seen <Time at={i.first_seen ?? i.created} never="unknown" />
          </Pair>
          <Pair name="By a person">
            <ByPerson id={i.id} />
          </Pair>
        </Pairs>
      </div>
      <Wrong id={i.id} />
      <div className="flex flex-wrap gap-2">
        <Act right="triage" onClick={() => setAsking("owner")}>
          Set owner
        </Act>
        <Copy label="Copy as CLI" text={`muster identity show ${quote(i.id)} --server ${window.location.origin}`} />
        <Copy label="Copy id" text={i.id} />
      </div>
      {asking === "owner" && <OwnerDialog id={i.id} owner={i.owner.ref} onClose={close} />}
      {asking === "risk" && <RiskDialog id={i.id} risk={i.risk} onClose={close} />}
    </section>
  );
}

function Owner({ i }: { i: IdentityDetail }) {
  const evidence = i.owners ?? [];
  return (
    <>
      {i.owner.ref ? (
        <span className="flex min-w-0 flex-wrap gap-x-2">
          <Hostile text={i.owner.ref} />
          <Hostile
            text={`by ${i.owner.source}, ${Math.round(i.owner.confidence * 100)} % sure`}
            className="min-w-0 text-muted"
          />
        </span>
      ) : (
        <span className="text-stepup">
          nobody; it may not be issued credentials or administer anything until somebody does
        </span>
      )}
      {evidence.length > 0 && (
        <details>
          <summary className="text-12 text-muted">{plural(evidence.length, "piece")} of evidence</summary>
          <ul className="pt-1">
            {evidence.map((o) => (
              <li key={o.owner + o.source + o.at} className="flex min-w-0 flex-wrap gap-x-3 py-0.5">
                <Hostile text={o.owner} className="min-w-0" />
                <Hostile text={[o.source, o.detail].filter(Boolean).join(": ")} className="min-w-0 text-muted" />
                <span className="text-12 text-muted">
                  <Time at={o.at} />
                </span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

/** The rule that finds a person who uses a machine's identity. */
const personRule = "DET-20";

/** ByPerson says whether somebody used it by hand, as far as its calls show. */
function ByPerson({ id }: { id: string }) {
  const { data } = useInfiniteQuery(findings({ filter: `identity:${id} rule:${personRule}` }));
  const found = data?.pages[0]?.items?.[0];
  if (!found) return <span className="text-muted">{data ? "no sign of it" : "…"}</span>;
  return (
    <Link to="/findings" search={{ status: "all", id: found.id }}>
      it seems so, <Time at={found.last_seen} />
    </Link>
  );
}

/** Wrong is the worst of what is open about it. */
function Wrong({ id }: { id: string }) {
  const open = useInfiniteQuery(findings({ identity: id, status: "open" })).data?.pages[0];
  const found = open?.items ?? [];
  if (found.length === 0) return null;
  const rest = (open?.total ?? found.length) - 3;
  return (
    <ul aria-label="Open findings" className="flex flex-col rounded-control border border-hair">
      {found.slice(0, 3).map((f) => (
        <li key={f.id} className="border-b border-hair last:border-b-0">
          <Link
            to="/findings"
            search={{ status: "all", id: f.id }}
            className="flex min-w-0 flex-wrap items-center gap-x-3 px-3 py-1.5 text-13 text-fg no-underline hover:bg-raised hover:no-underline"
          >
            <Severity severity={f.severity} />
            <Hostile text={f.title} className="min-w-0 flex-1" />
            <span className="shrink-0 text-12 text-muted">
              <Time at={f.last_seen} />
            </span>
          </Link>
        </li>
      ))}
      {rest > 0 && <li className="px-3 py-1 text-12 text-muted">and {count(rest)} more</li>}
    </ul>
  );
}
