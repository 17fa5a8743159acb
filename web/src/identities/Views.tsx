import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { Bookmark, X } from "lucide-react";
import { useState } from "react";
import { useMay, useRefusal } from "../access/useMay";
import { answer, api, type View } from "../api/client";
import { views } from "../api/queries";
import { Button } from "../parts/Button";
import { TextField } from "../parts/Field";
import { FormDialog } from "../parts/FormDialog";
import { Hostile } from "../parts/Hostile";
import { toast, toastFailure } from "../parts/Toasts";
import { tab } from "../parts/tab";
import { useNarrow } from "../parts/useMedia";
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
  const narrow = useNarrow();
  const known = given.some((g) => query(g.search) === now) || saved.some((v) => query(read(v.query)) === now);
  return (
    <div className="flex min-w-0 items-center gap-2 border-b border-hair px-3 md:px-4">
      {narrow ? (
        <ViewSelect views={[...given, ...saved.map((v) => ({ name: v.name, search: read(v.query) }))]} now={now} />
      ) : (
        <ul aria-label="Views" className="flex min-w-0 flex-1 flex-wrap gap-x-1 whitespace-nowrap">
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
      )}
      {narrow && saved.filter((v) => query(read(v.query)) === now).map((v) => <Forget key={v.id} view={v} />)}
      {!known && !refused && (
        <Button look="quiet" onClick={() => setNaming(true)}>
          <Bookmark size={14} aria-hidden /> Save view
        </Button>
      )}
      {naming && <NameDialog query={now} onClose={() => setNaming(false)} />}
    </div>
  );
}

/** ViewSelect chooses a view where there is no room for a row of them. */
function ViewSelect({ views, now }: { views: readonly { name: string; search: IdentitiesSearch }[]; now: string }) {
  const navigate = useNavigate();
  const at = views.findIndex((v) => query(v.search) === now);
  return (
    <label className="flex min-w-0 flex-1 items-center gap-2 py-2 text-13 text-muted">
      View
      <select
        className="field min-w-0 flex-1"
        value={at}
        onChange={(e) => {
          const search = views[Number(e.target.value)]?.search;
          navigate({ to: "/identities", search: { filter: search?.filter, order: search?.order } });
        }}
      >
        {at < 0 && <option value={-1}>none of these</option>}
        {views.map((v, i) => (
          <option key={query(v.search)} value={i}>
            {clean(v.name)}
          </option>
        ))}
      </select>
    </label>
  );
}

function ViewLink({ name, search }: { name: string; search: IdentitiesSearch }) {
  return (
    <Link
      to="/identities"
      search={{ filter: search.filter, order: search.order }}
      activeOptions={{ exact: true, includeSearch: true }}
      className={tab}
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
    <FormDialog
      title="Save this view"
      verb="Save"
      failed="Not saved"
      act={save}
      ready={name.trim() !== ""}
      onSubmit={() => save.mutate({ name: name.trim(), query }, { onSuccess: onClose })}
      onClose={onClose}
    >
      <TextField
        label="Name"
        required
        maxLength={100}
        value={name}
        onText={setName}
        placeholder="Payments without owner"
      />
      <p className="text-13 text-muted">It is yours, on every device, and shows the list as it is then.</p>
    </FormDialog>
  );
}
