import { useQuery } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useState } from "react";
import { Act } from "../access/Act";
import type { Source } from "../api/client";
import { sources } from "../api/queries";
import { Card } from "../parts/Card";
import { Command } from "../parts/Command";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Shape } from "../parts/Shape";
import { Time } from "../parts/Time";
import { count, plural, span } from "../text/format";
import { AddDialog } from "./AddDialog";
import { type Condition, condition } from "./condition";
import { formats } from "./formats";

const looks: Record<Condition["state"], { shape: "dot" | "half" | "square"; tone: string }> = {
  works: { shape: "dot", tone: "text-allow" },
  waits: { shape: "half", tone: "text-muted" },
  late: { shape: "half", tone: "text-stepup" },
  fails: { shape: "square", tone: "text-deny" },
  disabled: { shape: "square", tone: "text-muted" },
};

/** SourcesPage shows who reports logs and leaks, how each of them does, and how to mend it. */
export function SourcesPage() {
  const { data, error, refetch } = useQuery(sources);
  const [adding, setAdding] = useState(false);
  if (!data) return <Pending what="The sources" error={error} again={refetch} />;
  const all = data.items ?? [];
  return (
    <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
      <h1 className="sr-only">Sources</h1>
      <Card
        title={`Sources: ${count(all.length)}`}
        flush
        aside={
          <Act right="administer" onClick={() => setAdding(true)}>
            <Plus size={14} aria-hidden /> Add a source
          </Act>
        }
      >
        {all.length === 0 ? (
          <p className="px-4 pb-4 text-muted">
            Nobody reports logs or leaks yet. A source gets its own key, and may speak only about the accounts that it
            is declared for.
          </p>
        ) : (
          <ul aria-label="Sources">
            {all.map((s) => (
              <Row key={s.id} s={s} />
            ))}
          </ul>
        )}
      </Card>
      <HowToSend />
      {adding && <AddDialog onClose={() => setAdding(false)} />}
    </div>
  );
}

function Row({ s }: { s: Source }) {
  const now = condition(s);
  const look = looks[now.state];
  const accounts = s.accounts ?? [];
  const h = s.health;
  return (
    <li className="flex min-w-0 flex-wrap items-start gap-x-6 gap-y-1 border-t border-hair px-4 py-2.5 text-13">
      <div className="min-w-0 flex-1 basis-60">
        <Hostile text={s.name || s.id} className="block text-14 font-[600]" />
        <span className="block text-12 text-muted">
          {formats[s.format as keyof typeof formats] ?? s.format},{" "}
          {accounts.length === 0 ? "about no account" : `about ${plural(accounts.length, "account")}`}, since{" "}
          <Time at={s.created} />
        </span>
        {accounts.length > 0 && <Hostile text={accounts.join(", ")} className="mono block text-muted" />}
      </div>
      <div className="min-w-0 flex-1 basis-72">
        <p className={`flex min-w-0 items-center gap-1.5 ${look.tone}`}>
          <Shape name={look.shape} /> {now.word}
        </p>
        {h.deliveries > 0 && (
          <p className="text-12 text-muted">
            {h.events > 0 && `${plural(h.events, "event")} in `}
            {plural(h.deliveries, "delivery", "deliveries")}, the last <Time at={h.last} />
            {h.lag !== undefined && `, ${span(h.lag)} behind`}
            {h.unparsable > 0 && `; ${count(h.unparsable)} were no records`}
            {h.refused > 0 && `; ${count(h.refused)} were about accounts that are not its own`}
          </p>
        )}
        {h.error && (
          <p className="text-12 text-deny">
            <Time at={h.error_at} />: <Hostile text={h.error} className="whitespace-pre-wrap break-words" />
          </p>
        )}
        {now.cure && <p className="text-12">{now.cure}</p>}
      </div>
    </li>
  );
}

function HowToSend() {
  return (
    <Card title="How to send">
      <div className="flex flex-col gap-2 text-13">
        <p className="text-muted">Logs, as AWS writes them, compressed or not:</p>
        <Command
          line={`curl --fail -H "Authorization: Bearer $SOURCE_KEY" --data-binary @trail.json.gz ${window.location.origin}/receive/logs/cloudtrail`}
        />
        <p className="text-muted">Text in which keys may lie. Nothing of it is kept but where a key was seen:</p>
        <Command
          line={`curl --fail -H "Authorization: Bearer $SOURCE_KEY" -H "Content-Type: text/plain" --data-binary @thread.txt ${window.location.origin}/receive/text`}
        />
        <p className="text-muted">A folder or a repository, by a scanner that sends fingerprints only:</p>
        <Command line={`MUSTER_TOKEN=$SOURCE_KEY muster scan . --history --report-to ${window.location.origin}`} />
      </div>
    </Card>
  );
}
