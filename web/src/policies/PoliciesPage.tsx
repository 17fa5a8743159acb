import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { overview } from "../api/queries";
import { Choice } from "../parts/Choice";
import { History } from "./History";
import { InForce } from "./InForce";
import { OnItsWay } from "./Promotion";
import { SnapshotView } from "./SnapshotView";
import { Waiting } from "./Waiting";

const route = getRouteApi("/policies");

const tabs = [
  { value: "force", label: "In force" },
  { value: "history", label: "History" },
] as const;

/** PoliciesPage shows which policies decide, how they came to, and what waits for a second person. */
export function PoliciesPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const waiting = useQuery(overview).data?.waiting ?? [];
  return (
    <div className="flex min-w-0 flex-col">
      <div className="flex flex-wrap items-center gap-2 border-b border-hair px-3 py-2 md:px-4">
        <h1 className="sr-only">Policies</h1>
        <Choice
          label="Which policies"
          value={search.snapshot ? "" : (search.view ?? "force")}
          options={tabs}
          onChange={(v) => navigate({ search: v === "history" ? { view: v } : {} })}
        />
      </div>
      <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
        {search.snapshot ? (
          <SnapshotView key={search.snapshot} digest={search.snapshot} />
        ) : (
          <>
            {waiting.map((s) => (
              <Waiting key={s.sequence} snapshot={s} link />
            ))}
            <OnItsWay />
            {search.view === "history" ? <History /> : <InForce filter={search.filter ?? ""} />}
          </>
        )}
      </div>
    </div>
  );
}
