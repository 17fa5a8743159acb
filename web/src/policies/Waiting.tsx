import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { Act } from "../access/Act";
import type { Snapshot } from "../api/client";
import { me } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Hostile } from "../parts/Hostile";
import { Shape } from "../parts/Shape";
import { Clock, Time } from "../parts/Time";
import { SnapshotDialog } from "./SnapshotDialog";
import { author, mine, short, size } from "./states";

/** Waiting is a change of the policies that a second administrator has to confirm, and what can be done about it. */
export function Waiting({ snapshot: s, link = false }: { snapshot: Snapshot; link?: boolean }) {
  const who = useQuery(me).data;
  const [act, setAct] = useState<"confirm" | "withdraw">();
  const why = refusal(s, who?.kind === "session" ? who.person : undefined);
  return (
    <Card
      title="A change waits for a second administrator"
      aside={
        <span className="flex flex-wrap gap-2">
          <Act right="administer" onClick={() => setAct("withdraw")}>
            Withdraw
          </Act>
          {why ? (
            <Button look="main" aria-disabled="true" title={why} className="cursor-not-allowed opacity-60">
              Confirm
              <span className="sr-only">, not possible: {why}</span>
            </Button>
          ) : (
            <Act right="administer" look="main" onClick={() => setAct("confirm")}>
              Confirm
            </Act>
          )}
        </span>
      }
    >
      <div data-waiting={s.digest} className="flex min-w-0 flex-col gap-2">
        <p className="flex flex-wrap items-center gap-x-1.5 text-stepup">
          <Shape name="half" /> It is not in force, and ends <Clock at={s.expires ?? s.at} /> if nobody confirms it.
        </p>
        <ul className="flex list-disc flex-col gap-1 pl-4">
          {s.why.map((line) => (
            <li key={line}>
              <Hostile text={line} className="whitespace-normal break-words align-top" />
            </li>
          ))}
        </ul>
        <p className="text-13 text-muted">
          <Hostile text={author(s)} className="whitespace-normal break-all" /> sent it <Time at={s.at} />: {size(s)}
          {s.note && (
            <>
              , “<Hostile text={s.note} className="whitespace-normal break-words" />”
            </>
          )}
          .{" "}
          {s.confirmed.length > 0 && (
            <>
              <Hostile text={s.confirmed.map((c) => c.name || c.person).join(", ")} /> confirmed it; one more has to.{" "}
            </>
          )}
          {link && (
            <Link to="/policies" search={{ snapshot: s.digest }}>
              See what it changes
            </Link>
          )}
        </p>
        {why && <p className="text-13 text-muted">{why}</p>}
      </div>
      {act && <SnapshotDialog kind={act} snapshot={s} onClose={() => setAct(undefined)} />}
    </Card>
  );
}

/** refusal says why whoever is signed in cannot confirm; the server decides again. */
function refusal(s: Snapshot, person: string | undefined): string | undefined {
  if (!person)
    return `Only people who sign in as themselves confirm ${short(s.digest)}; nobody knows who the first administrator is.`;
  switch (mine(s, person)) {
    case "author":
      return "You sent it, so somebody else has to confirm it.";
    case "confirmed":
      return "You confirmed it; one more administrator has to.";
  }
  return undefined;
}
