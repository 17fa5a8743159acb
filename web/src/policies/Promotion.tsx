import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { Act } from "../access/Act";
import { answer, api, type Promotion, type PromotionDenial } from "../api/client";
import { promotion } from "../api/queries";
import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { IdentityLink } from "../parts/IdentityLink";
import { Shape } from "../parts/Shape";
import { Time } from "../parts/Time";
import { toast } from "../parts/Toasts";
import { count, plural } from "../text/format";
import { AcknowledgeDialog, StepDialog } from "./PromotionDialog";
import { short } from "./states";

/** OnItsWay shows policies that come into force by gates, and those that went back by themselves. */
export function OnItsWay() {
  const p = useQuery(promotion).data;
  if (p?.running) return <Running p={p} />;
  return p?.gate === "rolled-back" ? <WentBack p={p} /> : null;
}

function WentBack({ p }: { p: Promotion }) {
  return (
    <Card title="The last change went back by itself">
      <p data-promotion={p.gate} className="flex flex-wrap items-center gap-x-1.5 text-deny">
        <Shape name="square" />
        <Link to="/policies" search={{ snapshot: p.digest }} className="mono">
          {short(p.digest)}
        </Link>
        <Hostile text={p.why} className="whitespace-normal break-words" /> <Time at={p.ended} />
      </p>
      <Denials p={p} />
    </Card>
  );
}

const steps = {
  pause: { label: "Pause", said: "It stays at its gate until somebody resumes it." },
  resume: { label: "Resume", said: "It goes on." },
} as const;

function Running({ p }: { p: Promotion }) {
  const client = useQueryClient();
  const [ask, setAsk] = useState<"advance" | "abort">();
  const step = p.paused ? "resume" : "pause";
  const act = useMutation({
    mutationFn: () => answer(api.POST("/v1/policies/promotion/{step}", { params: { path: { step } }, body: {} })),
    onSuccess: () => toast(steps[step].said),
    onError: (e) => toast(`Not done: ${e.message}`),
    onSettled: () => client.invalidateQueries({ queryKey: ["snapshot"] }),
  });
  return (
    <Card
      title="Policies on their way into force"
      aside={
        <span className="flex flex-wrap gap-2">
          <Act right="administer" disabled={act.isPending} onClick={() => act.mutate()}>
            {steps[step].label}
          </Act>
          <Act right="administer" look="danger" onClick={() => setAsk("abort")}>
            Abort
          </Act>
          <Act right="administer" onClick={() => setAsk("advance")}>
            Open the next gate
          </Act>
        </span>
      }
    >
      <div data-promotion={p.gate} className="flex min-w-0 flex-col gap-3">
        <Gates p={p} />
        <p className="text-13 text-muted">
          <Link to="/policies" search={{ snapshot: p.digest }} className="mono">
            {short(p.digest)}
          </Link>
          {p.note && (
            <>
              , “<Hostile text={p.note} className="whitespace-normal break-words" />”
            </>
          )}
          , sent by <Hostile text={p.author} className="whitespace-normal break-all" /> <Time at={p.started} />.{" "}
          {plural(p.judged, "decision", "decisions")} tried on both: {count(p.newly_denied)} newly denied,{" "}
          {count(p.newly_step_up)} newly stepped up, {count(p.newly_allowed)} newly allowed.
          {p.errors_unproven > 0 &&
            ` They could not be evaluated ${plural(p.errors_unproven, "time", "times")} for callers whose platform vouches for nothing, which holds nothing up.`}
        </p>
        <Waits p={p} />
        <Denials p={p} />
      </div>
      {ask && <StepDialog step={ask} promotion={p} onClose={() => setAsk(undefined)} />}
    </Card>
  );
}

/** holds say what keeps it where it is, and which button to press. */
const holds = {
  paused: () => "It is paused. Resume has it go on, Abort puts the former policies back.",
  unexplained: (p: Promotion) =>
    `${plural(p.unexplained, "time", "times")} somebody is newly denied something, and nobody has explained it. Say below of each whether it is meant, or abort.`,
  errors: (p: Promotion) =>
    `Its policies could not be evaluated ${plural(p.errors, "time", "times")} for identities whose platform vouches for them. Abort and mend them, or open the next gate yourself.`,
} as const;

/** Waits is what the next gate waits for: first what does not pass by itself. */
function Waits({ p }: { p: Promotion }) {
  const rest = p.waits.filter((line) => !p.holds.some((h) => h.waits === line));
  return (
    <>
      {p.holds.length > 0 && (
        <ul aria-label="What waits for a person" className="flex flex-col gap-1 text-13">
          {p.holds.map((h) => (
            <li key={h.why} data-hold={h.why} className="flex items-baseline gap-1.5 text-stepup">
              <Shape name="half" />
              <span className="min-w-0 break-words">
                {holds[h.why](p)}{" "}
                {h.why === "errors" && p.erred && (
                  <>
                    <Link to="/activity" search={{ decision: p.erred }}>
                      The last decision
                    </Link>
                    .{" "}
                  </>
                )}
                {h.since && (
                  <span className="text-muted">
                    It has waited for that since <Time at={h.since} />.
                  </span>
                )}
              </span>
            </li>
          ))}
        </ul>
      )}
      {rest.length > 0 && (
        <ul aria-label="What it waits for" className="flex list-disc flex-col gap-1 pl-4 text-13">
          {rest.map((line) => (
            <li key={line}>
              <Hostile text={line} className="whitespace-normal break-words align-top" />
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

/** Gates is the way, with where it stands. */
function Gates({ p }: { p: Promotion }) {
  const way = ["Shadow", ...p.stages.map((n) => `${n} %`), "Everybody, watched"];
  const stage = p.stages.indexOf(p.percent) + 1;
  const at = p.gate === "shadow" ? 0 : p.gate === "watching" ? way.length - 1 : stage;
  return (
    <ol aria-label="Gates" className="flex flex-wrap items-center gap-x-4 gap-y-1 text-13">
      {way.map((name, i) => (
        <li
          key={name}
          aria-current={i === at ? "step" : undefined}
          className={`flex items-center gap-1.5 ${i === at ? "font-semibold text-stepup" : i < at ? "text-allow" : "text-muted"}`}
        >
          <Shape name={i === at ? "half" : i < at ? "dot" : "ring"} />
          {name}
          {i === at && p.paused && ", paused"}
          {i < at && <span className="sr-only">, passed</span>}
        </li>
      ))}
    </ol>
  );
}

/** Denials are who is newly denied what. */
function Denials({ p }: { p: Promotion }) {
  const [about, setAbout] = useState<PromotionDenial>();
  if (p.denials.length === 0) return null;
  return (
    <>
      <ul aria-label="Newly denied" className="border-t border-hair">
        {p.denials.map((d) => (
          <li
            key={`${d.identity} ${d.action} ${d.resource} ${d.policies.join(" ")}`}
            className="flex min-w-0 flex-wrap items-center gap-x-2 gap-y-1 border-b border-hair py-1.5 text-13"
          >
            <IdentityLink id={d.identity} name={d.name} />
            <span className="min-w-0 break-words">
              {d.decided ? "is denied" : "would be denied"} to {d.action}{" "}
              <Hostile text={d.resource} className="whitespace-normal break-all" />, {plural(d.count, "time", "times")}{" "}
              <Link to="/activity" search={{ decision: d.decision }}>
                the last
              </Link>
            </span>
            <Hostile text={d.policies.join(", ")} className="min-w-0 text-muted" />
            <span className="ml-auto">
              {d.explained ? (
                <span className="text-muted">
                  meant: <Hostile text={d.explained} className="whitespace-normal break-words" />
                </span>
              ) : (
                p.running && (
                  <Act right="administer" onClick={() => setAbout(d)}>
                    It is meant
                    <span className="sr-only">, of {d.name || d.identity}</span>
                  </Act>
                )
              )}
            </span>
          </li>
        ))}
      </ul>
      {p.unlisted > 0 && <p className="text-13 text-muted">and {count(p.unlisted)} more that are not listed</p>}
      {about && <AcknowledgeDialog denial={about} onClose={() => setAbout(undefined)} />}
    </>
  );
}
