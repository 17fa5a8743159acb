import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { identity } from "../api/queries";
import { Pending } from "../parts/Pending";
import { tab as tabLook } from "../parts/tab";
import type { IdentityTab } from "../router";
import { count } from "../text/format";
import { ActivityTab } from "./ActivityTab";
import { ChangesTab } from "./ChangesTab";
import { CredentialsTab } from "./CredentialsTab";
import { DecisionsTab } from "./DecisionsTab";
import { IdentityHead } from "./IdentityHead";
import { Lineage } from "./Lineage";
import { NormalTab } from "./NormalTab";

const route = getRouteApi("/identities/$id");

/** IdentityPage is all that is known about one identity: where it comes from, what it does, what was decided about it. */
export function IdentityPage() {
  const { id } = route.useParams();
  const { tab = "activity", days } = route.useSearch();
  const { data: i, error, refetch } = useQuery(identity(id));
  if (!i) return <Pending what="This identity" error={error} again={refetch} rows={12} />;
  const tabs: { tab: IdentityTab; label: string }[] = [
    { tab: "activity", label: "Activity" },
    { tab: "normal", label: "Normal" },
    { tab: "credentials", label: `Credentials ${count((i.credentials ?? []).length)}` },
    { tab: "decisions", label: "Decisions" },
    { tab: "changes", label: "Changes" },
  ];
  return (
    <div className="flex min-w-0 flex-col gap-3 p-3 md:p-4">
      <IdentityHead i={i} />
      <Lineage i={i} />
      <section aria-label="More about it" className="card min-w-0">
        <nav aria-label="Parts" className="flex flex-wrap gap-x-1 border-b border-hair px-2">
          {tabs.map((t) => (
            <Link
              key={t.tab}
              from="/identities/$id"
              to="/identities/$id"
              search={t.tab === "activity" ? { days } : { tab: t.tab }}
              replace
              resetScroll={false}
              activeOptions={{ exact: true, includeSearch: true }}
              className={tabLook}
            >
              {t.label}
            </Link>
          ))}
        </nav>
        {tab === "activity" && <ActivityTab id={i.id} days={Number(days ?? 28)} />}
        {tab === "normal" && <NormalTab id={i.id} />}
        {tab === "credentials" && <CredentialsTab i={i} />}
        {tab === "decisions" && <DecisionsTab id={i.id} />}
        {tab === "changes" && <ChangesTab id={i.id} />}
      </section>
    </div>
  );
}
