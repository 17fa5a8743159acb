import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Bookmark, X } from "lucide-react";
import { useState } from "react";
import { useMay, useRefusal } from "../access/useMay";
import { answer, api, type View } from "../api/client";
import { views } from "../api/queries";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Hostile } from "../parts/Hostile";
import { toast, toastFailure } from "../parts/Toasts";
import type { IdentitiesSearch } from "../router";
import { clean } from "../text/hostile";

const page = "identities";

/** The views that everybody has: the questions that are asked first. */
const given: readonly { name: string; search: IdentitiesSearch }[] = [
  { name: "All", search: {} },
  { name: "At risk", search: { filter: "risk>=40", order: "-risk" } },
  { name: "Unowned", search: { filter: "-owner:*" } },
  { name: "Static secrets", search: { filter: "static:true" } },
  { name: "Over-privileged", search: { filter: "admin:true" } },
  { name: "Unused for 90 days", search: { filter: "last_used<90d" } },
  { name: "Only in logs", search: { filter: "shadow:true" } },
  { name: "AI agents", search: { filter: "kind:agent" } },
];

const query = (search: IdentitiesSearch) => {
  const out = new URLSearchParams();
  if (search.filter) out.set("filter", search.filter);
  if (search.order) out.set("order", search.order);
  return out.toString();
};
const read = (text: string): IdentitiesSearch => {
  const found = new URLSearchParams(text);
  return { filter: found.get("filter") ?? undefined, order: found.get("order") ?? undefined };
};

/** Views are the states of the list that have a name; whoever may can save the present one. */
export function Views({ search }: { search: IdentitiesSearch }) {
  const saved = (useQuery(views).data?.items ?? []).filter((v) => v.page === page);
  const [naming, setNaming] = useState(false);
  const now = query(search);
  const refused = useRefusal("triage");
  const known = given.some((g) => query(g.search) === now) || saved.some((v) => query(read(v.query)) === now);
  return (
    <div className="flex min-w-0 items-center gap-2 border-b border-hair px-3 md:px-4">
      <ul aria-label="Views" className="flex min-w-0 flex-1 gap-x-1 overflow-x-auto whitespace-nowrap md:flex-wrap">
        {given.map((g) => (
          <li key={g.name}>
            <ViewLink name={g.name} search={g.search} />
          </li>
        ))}
        {saved.map((v) => (
          <li key={v.id} className="flex max-w-60 items-center">
            <ViewLink name={v.name} search={read(v.query)} />
            {query(read(v.query)) === now && <Forget view={v} />}
          </li>
        ))}
      </ul>
      {!known && !refused && (
        <Button look="quiet" onClick={() => setNaming(true)}>
          <Bookmark size={14} aria-hidden /> Save view
        </Button>
      )}
      {naming && <NameDialog query={now} onClose={() => setNaming(false)} />}
    </div>
  );
}

function ViewLink({ name, search }: { name: string; search: IdentitiesSearch }) {
  return (
    <Link
      to="/identities"
      search={{ filter: search.filter, order: search.order }}
      activeOptions={{ exact: true, includeSearch: true }}
      className="flex h-9 min-w-0 shrink-0 items-center border-b-2 border-transparent px-2 text-13 text-muted no-underline hover:text-fg hover:no-underline aria-[current=page]:border-accent aria-[current=page]:font-[500] aria-[current=page]:text-fg"
    >
      <Hostile text={name} />
    </Link>
  );
}

function useViewActs() {
  const client = useQueryClient();
  const onSettled = () => void client.invalidateQueries({ queryKey: ["view"] });
  const save = useMutation({
    mutationFn: (v: { name: string; query: string; id?: string }) =>
      answer(
        api.PUT("/v1/views/{id}", {
          params: { path: { id: v.id ?? crypto.randomUUID() } },
          body: { name: v.name, query: v.query, page },
        }),
      ),
    onError: (error) => toastFailure("The view was not saved", error),
    onSettled,
  });
  const forget = useMutation({
    mutationFn: (v: View) => answer(api.DELETE("/v1/views/{id}", { params: { path: { id: v.id } } })),
    onSuccess: (_, v) => toast(`View ${clean(v.name)} removed.`, () => save.mutate(v)),
    onError: (error) => toastFailure("The view was not removed", error),
    onSettled,
  });
  return { save, forget };
}

function Forget({ view }: { view: View }) {
  const { forget } = useViewActs();
  if (!useMay("triage")) return null;
  return (
    <Button
      look="quiet"
      icon
      className="size-6"
      aria-label={`Remove the view ${clean(view.name)}`}
      onClick={() => forget.mutate(view)}
    >
      <X size={12} aria-hidden />
    </Button>
  );
}

function NameDialog({ query, onClose }: { query: string; onClose: () => void }) {
  const { save } = useViewActs();
  const [name, setName] = useState("");
  return (
    <Dialog title="Save this view" open onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          save.mutate({ name: name.trim(), query }, { onSuccess: onClose });
        }}
      >
        <label className="flex flex-col gap-1 text-13">
          Name
          <input
            className="field"
            required
            maxLength={100}
            value={name}
            onChange={(e) => setName(e.target.value)}
            placeholder="Payments without owner"
          />
        </label>
        <p className="text-13 text-muted">It is yours, on every device, and shows the list as it is then.</p>
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Cancel</Button>
          <Button look="main" type="submit" disabled={save.isPending || name.trim() === ""}>
            Save
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
