import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { ListFilter } from "lucide-react";
import { useCallback, useMemo, useState } from "react";
import { Problem } from "../api/client";
import { identities, identityFacets } from "../api/queries";
import { identityFields } from "../filter/identityFields";
import { QueryField } from "../filter/QueryField";
import { Button } from "../parts/Button";
import { Command } from "../parts/Command";
import { Copy } from "../parts/Copy";
import { Empty } from "../parts/Empty";
import { Failure } from "../parts/Failure";
import { filled } from "../parts/filled";
import { Skeleton } from "../parts/Skeleton";
import { useMedia, useNarrow } from "../parts/useMedia";
import { count, counted } from "../text/format";
import { quote } from "../text/hostile";
import { Facets } from "./Facets";
import { IdentityTable } from "./IdentityTable";
import { Views } from "./Views";

const route = getRouteApi("/identities");

/** The orders that a narrow window offers, which has no headings to press. */
const orders = [
  { value: "name", label: "By name" },
  { value: "-risk", label: "Highest risk first" },
  { value: "-last_used", label: "Last used first" },
  { value: "last_used", label: "Longest idle first" },
];

/** IdentitiesPage lists who exists. The address holds the filter and the order. */
export function IdentitiesPage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const filter = search.filter ?? "";
  const order = search.order ?? "name";
  const setFilter = useCallback(
    (to: string) => navigate({ search: (before) => ({ ...before, filter: to || undefined }) }),
    [navigate],
  );
  const setOrder = (to: string) =>
    navigate({ search: (before) => ({ ...before, order: to === "name" ? undefined : to }) });
  const narrow = useNarrow();
  const list = useInfiniteQuery({
    ...identities({ filter: search.filter, order: search.order }, 200),
    placeholderData: keepPreviousData,
  });
  const rows = useMemo(() => list.data?.pages.flatMap((p) => p.items ?? []) ?? [], [list.data]);
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = list;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);
  const facets = useQuery(identityFacets(filter)).data;
  const total = facets?.total ?? (hasNextPage ? undefined : rows.length);
  const known = useCallback((field: string) => facets?.facets?.find((f) => f.field === field)?.values ?? [], [facets]);
  const wide = useMedia("(min-width: 1080px)");
  const [narrowFacets, setNarrowFacets] = useState(false);
  const refused = list.error instanceof Problem && list.error.status < 500 ? list.error.message : undefined;

  return (
    <div className={filled}>
      <h1 className="sr-only">Identities</h1>
      <Views search={search} />
      <div className="flex flex-wrap items-start gap-2 border-b border-hair px-3 py-2 md:px-4">
        <QueryField
          label="Filter identities"
          placeholder="kind:iam-user -owner:* risk>=50, or a name"
          value={filter}
          fields={identityFields}
          known={known}
          error={refused}
          onApply={setFilter}
        />
        {narrow && (
          <select
            aria-label="Order"
            className="field"
            value={orders.some((o) => o.value === order) ? order : "name"}
            onChange={(e) => setOrder(e.target.value)}
          >
            {orders.map((o) => (
              <option key={o.value} value={o.value}>
                {o.label}
              </option>
            ))}
          </select>
        )}
        {!wide && (
          <Button aria-expanded={narrowFacets} onClick={() => setNarrowFacets(!narrowFacets)}>
            <ListFilter size={14} aria-hidden /> Narrow down
          </Button>
        )}
        <Copy
          label="Copy as CLI"
          text={`muster identity list ${filter ? `--filter ${quote(filter)} ` : ""}${search.order ? `--order ${quote(search.order)} ` : ""}--server ${window.location.origin}`}
        />
        <output className="self-center text-12 text-muted">
          {list.data &&
            !refused &&
            (total === undefined
              ? `${count(rows.length)} and more`
              : `${counted(total, facets?.at_least)} ${total === 1 ? "identity" : "identities"}`)}
        </output>
      </div>
      <div className="flex min-h-0 min-w-0 flex-1">
        {wide && (
          <section aria-label="Narrow down" className="w-56 shrink-0 overflow-y-auto border-r border-hair">
            <Facets filter={filter} onFilter={setFilter} />
          </section>
        )}
        {!wide && narrowFacets ? (
          <section aria-label="Narrow down" className="min-w-0 flex-1 overflow-y-auto">
            <Facets filter={filter} onFilter={setFilter} />
            <div className="sticky bottom-0 border-t border-hair bg-panel p-2">
              <Button look="main" className="w-full" onClick={() => setNarrowFacets(false)}>
                Show {total === undefined ? "them" : counted(total, facets?.at_least)}
              </Button>
            </div>
          </section>
        ) : !list.data || refused ? (
          refused ? (
            <Empty title="The filter was not understood">
              <p>What is above says where. The fields, and what can be said about them, are offered while you write.</p>
              <p>
                <Button onClick={() => setFilter("")}>Show all</Button>
              </p>
            </Empty>
          ) : list.error ? (
            <Failure what="The identities" error={list.error} again={list.refetch} />
          ) : (
            <div className="flex-1">
              <Skeleton rows={12} />
            </div>
          )
        ) : rows.length === 0 ? (
          <Nothing filtered={filter !== ""} clear={() => setFilter("")} />
        ) : (
          <IdentityTable
            key={`${filter} ${order}`}
            rows={rows}
            total={total}
            order={order}
            onOrder={setOrder}
            onOpen={(id) => navigate({ to: "/identities/$id", params: { id } })}
            onNearEnd={more}
          />
        )}
      </div>
    </div>
  );
}

function Nothing({ filtered, clear }: { filtered: boolean; clear: () => void }) {
  if (filtered)
    return (
      <Empty title="No identity matches">
        <p>Every term of the filter must hold. A word without a field must begin a word of a name, path or owner.</p>
        <p>
          <Button onClick={clear}>Show all</Button>
        </p>
      </Empty>
    );
  return (
    <Empty title="Nobody is known yet">
      <p>Import the identities of an AWS account from the files that AWS itself writes:</p>
      <Command line="aws iam get-account-authorization-details > iam.json" />
      <Command line="muster inventory import aws --authorization-details iam.json" />
      <p>Identities that only appear in logs are found by replaying them:</p>
      <Command line={`muster replay cloudtrail/*.json.gz --to ${window.location.origin}`} />
    </Empty>
  );
}
