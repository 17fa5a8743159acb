import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useState } from "react";
import { answer, api } from "../api/client";
import { sources } from "../api/queries";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Dialog } from "../parts/Dialog";
import { Hostile } from "../parts/Hostile";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { Key } from "./EnrolDialog";

const formats = {
  cloudtrail: "CloudTrail logs",
  scanner: "A leak scanner",
  text: "Forum or chat text",
} as const;
type Format = keyof typeof formats;

/** Sources lists who may report, and about which accounts. */
export function Sources() {
  const { data } = useQuery(sources);
  const [adding, setAdding] = useState(false);
  const all = data?.items ?? [];
  return (
    <Card
      title={`Sources: ${count(all.length)}`}
      flush
      aside={
        <Button onClick={() => setAdding(true)}>
          <Plus size={14} aria-hidden /> Add a source
        </Button>
      }
    >
      {data && all.length === 0 && (
        <p className="px-4 pb-4 text-muted">
          Nobody reports logs or leaks yet. A source gets its own key and may speak only about its accounts.
        </p>
      )}
      <ul>
        {all.map((s) => (
          <li key={s.id} className="flex min-w-0 flex-wrap items-center gap-x-4 border-t border-hair px-4 py-2 text-13">
            <Hostile text={s.name || s.id} className="min-w-0 flex-1 basis-40 font-[600]" />
            <span className="text-muted">{formats[s.format as Format] ?? s.format}</span>
            <span className="text-muted" title={(s.accounts ?? []).join(", ")}>
              {(s.accounts ?? []).length === 0 ? "no account" : plural((s.accounts ?? []).length, "account")}
            </span>
            <span className="text-muted">
              since <Time at={s.created} />
            </span>
            {s.disabled && <span className="text-stepup">disabled</span>}
          </li>
        ))}
      </ul>
      {adding && <AddDialog onClose={() => setAdding(false)} />}
    </Card>
  );
}

function AddDialog({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [format, setFormat] = useState<Format>("cloudtrail");
  const [accounts, setAccounts] = useState("");
  const add = useMutation({
    mutationFn: () =>
      answer(
        api.POST("/v1/sources", {
          body: { name: name.trim() || undefined, format, accounts: accounts.split(/[\s,]+/).filter(Boolean) },
        }),
      ),
    onSettled: () => client.invalidateQueries({ queryKey: ["source"] }),
  });
  if (add.data) return <Key title="The source is added" value={add.data.key} onClose={onClose} />;
  return (
    <Dialog title="Add a source" open onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          add.mutate();
        }}
      >
        <label className="flex flex-col gap-1 text-13">
          Name
          <input
            className="field"
            maxLength={100}
            value={name}
            onChange={(e) => setName(e.target.value)}
            placeholder="trail-production"
          />
        </label>
        <label className="flex flex-col gap-1 text-13">
          Reports
          <select className="field" value={format} onChange={(e) => setFormat(e.target.value as Format)}>
            {Object.entries(formats).map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
        {format === "cloudtrail" && (
          <label className="flex flex-col gap-1 text-13">
            Accounts it may speak about
            <input
              className="field mono"
              required
              value={accounts}
              onChange={(e) => setAccounts(e.target.value)}
              placeholder="111122223333"
            />
          </label>
        )}
        {add.error && (
          <p role="alert" className="text-13 text-deny">
            Not added: {add.error.message}
          </p>
        )}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={add.isPending}>
            Add
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
