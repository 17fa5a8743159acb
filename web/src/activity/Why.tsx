import { Link } from "@tanstack/react-router";
import type { Decision } from "../api/client";
import { Copy } from "../parts/Copy";
import { Features } from "../parts/Features";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { OutcomeWord } from "../parts/OutcomeWord";
import { Pair, Pairs } from "../parts/Pairs";
import { Part, SidePanel } from "../parts/SidePanel";
import { Skeleton } from "../parts/Skeleton";
import { Clock } from "../parts/Time";
import { bits, count, duration, short } from "../text/format";
import { quote } from "../text/hostile";
import { assurances, countryName, obligations } from "../text/words";
import { Conditions } from "./Conditions";
import { sentence } from "./sentence";

/** Why explains one decision beside the list it was chosen from. */
export function Why({
  decision: d,
  error,
  onClose,
}: {
  decision: Decision | undefined;
  error: Error | null;
  onClose: () => void;
}) {
  return (
    <SidePanel title="Why was this decided?" onClose={onClose}>
      {d ? (
        <Explanation d={d} />
      ) : error ? (
        <p className="p-4 text-muted">
          This decision is not on record, or not yours to see. Decisions are kept as long as the settings say.
        </p>
      ) : (
        <Skeleton />
      )}
    </SidePanel>
  );
}

function Explanation({ d }: { d: Decision }) {
  const unlock = d.obligations ?? [];
  return (
    <div>
      <div className="flex flex-col gap-1 px-4 py-3">
        <p className="flex items-center gap-3 text-16 font-[600]">
          <OutcomeWord decision={d} />
        </p>
        <p className="break-words">{sentence(d)}</p>
      </div>
      {unlock.length > 0 && (
        <Part title="What would unlock it">
          <ul className="flex list-disc flex-col gap-1 pl-4 text-13">
            {unlock.map((o) => (
              <li key={o.kind + (o.value ?? "")}>
                {obligations[o.kind] ?? o.kind}
                {o.value && <Hostile text={o.value} className="mono block text-muted" />}
              </li>
            ))}
          </ul>
        </Part>
      )}
      <Part title="Policies that decided">
        <Reasons d={d} />
      </Part>
      <Conditions id={d.id} />
      <Part title={`Against its habits: ${bits(d.surprise)}`}>
        <Features features={d.features ?? []} />
      </Part>
      <Part title="What was known">
        <Inputs d={d} />
      </Part>
      <Part title="Take it with you">
        <div className="flex flex-wrap gap-2">
          <Copy label="Copy as CLI" text={`muster decide show ${quote(d.id)} --server ${window.location.origin}`} />
          <Copy
            label="Copy explanation as CLI"
            text={`muster decide explain ${quote(d.id)} --server ${window.location.origin}`}
          />
          <Copy
            label="Copy as curl"
            text={`curl -H "Authorization: Bearer $MUSTER_TOKEN" ${quote(`${window.location.origin}/v1/decisions/${encodeURIComponent(d.id)}`)}`}
          />
          <Copy label="Copy link" text={`${window.location.origin}/activity?decision=${encodeURIComponent(d.id)}`} />
        </div>
      </Part>
    </div>
  );
}

function Reasons({ d }: { d: Decision }) {
  const reasons = d.reasons ?? [];
  if (reasons.length === 0)
    return <p className="text-13 text-muted">No policy permits it, so it is denied: that is the default.</p>;
  return (
    <ul className="flex flex-col gap-2 text-13">
      {reasons.map((r) => (
        <li key={r.policy + r.position} className="min-w-0">
          <Hostile text={r.text || r.policy} className="block whitespace-normal break-words" />
          <span className="flex min-w-0 gap-2 text-muted">
            {r.position ? (
              <Link to="/policies" search={{ filter: `id:"${r.policy.replaceAll('"', "")}"` }} className="min-w-0">
                <Hostile text={r.policy} className="mono" />
              </Link>
            ) : (
              <Hostile text={r.policy} className="mono" /> // no policy, but what stands before and behind them
            )}
            <Hostile text={r.position} className="mono shrink-0" />
            <span>{r.effect}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}

function Inputs({ d }: { d: Decision }) {
  return (
    <Pairs>
      <Pair name="Identity">
        <IdentityLink id={d.identity} name={d.name} />
      </Pair>
      <Pair name="Credential">
        <Hostile text={d.key_id || d.credential || "none"} className="mono block" />
      </Pair>
      <Pair name="Proof">
        {assurances[d.assurance] ?? `assurance ${d.assurance}`}
        {d.asserted && ", only asserted by the point"}
      </Pair>
      <Pair name="Action">
        <Hostile text={[...new Set([d.action, d.operation])].filter(Boolean).join(": ") || "none"} className="block" />
      </Pair>
      <Pair name="Resource">
        <Hostile text={d.resource || "none"} className="block" />
        <span className="text-muted">sensitivity {d.sensitivity} of 4</span>
      </Pair>
      <Pair name="Address">
        <Hostile text={d.address || "unknown"} className="mono" />
      </Pair>
      <Pair name="Network">
        <Hostile
          text={
            [d.network, d.asn ? `AS${d.asn}` : "", d.country && countryName(d.country)].filter(Boolean).join(", ") ||
            "unknown"
          }
          className="block"
        />
      </Pair>
      <Pair name="Client">
        <Hostile text={d.agent || "unknown"} className="block" />
      </Pair>
      <Pair name="Risk">{d.risk} of 100</Pair>
      {d.approval && (
        <Pair name="Approval">
          <Link to="/approvals" search={{ view: "history", id: d.approval }} className="min-w-0">
            <Hostile text={d.approval} className="mono block" />
          </Link>
        </Pair>
      )}
      <Pair name="Point">
        <Hostile text={d.point_name || d.point} className="block" />
      </Pair>
      <Pair name="Decided">
        <Clock at={d.at} /> in {duration(d.micros)}
      </Pair>
      <Pair name="State">
        generation {count(d.generation)}, policies <Hostile text={short(d.policy)} className="mono" />
      </Pair>
      <Pair name="Id">
        <Hostile text={d.id} className="mono block" />
      </Pair>
    </Pairs>
  );
}
