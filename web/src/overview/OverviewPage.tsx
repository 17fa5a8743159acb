import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { overview } from "../api/queries";
import { Card } from "../parts/Card";
import { Pending } from "../parts/Pending";
import { DemoStops } from "./DemoStops";
import { Latest } from "./Latest";
import { Needs } from "./Needs";
import { NotProtected } from "./NotProtected";
import { Places } from "./Places";
import { Rates } from "./Rates";
import { Start } from "./Start";
import { Tiles } from "./Tiles";

/** OverviewPage answers: is anything wrong, and are we protected? */
export function OverviewPage() {
  const { data, error, refetch } = useQuery(overview);
  if (!data) return <Pending what="The overview" error={error} again={refetch} rows={12} />;
  // Muster's own token is an identity with a credential, so a new installation has one of each.
  const empty = data.events === 0 && data.identities <= 1 && (data.rates ?? []).length === 0;
  return (
    <div className="flex flex-col gap-3 p-3 md:p-4">
      <h1 className="sr-only">Overview</h1>
      <NotProtected overview={data} />
      {data.demo && <DemoStops overview={data} />}
      <Tiles overview={data} />
      {empty ? (
        <>
          {data.waiting.length > 0 && <Needs findings={data.needs ?? []} open={data.findings} waiting={data.waiting} />}
          <Start />
        </>
      ) : (
        <div className="grid min-w-0 gap-3 lg:grid-cols-[minmax(0,1fr)_minmax(320px,380px)]">
          <div className="flex min-w-0 flex-col gap-3">
            <Places />
            <Rates rates={data.rates ?? []} perSecond={data.per_second} />
          </div>
          <div className="flex min-w-0 flex-col gap-3">
            <Needs findings={data.needs ?? []} open={data.findings} waiting={data.waiting ?? []} />
            <Card
              title="Latest refusals"
              flush
              aside={
                <Link to="/refusals" search={{ filter: "at>1h" }} className="text-13">
                  All of the last hour
                </Link>
              }
            >
              <Latest />
            </Card>
          </div>
        </div>
      )}
      {data.attribution && <p className="max-w-none text-12 text-muted">Networks and countries: {data.attribution}</p>}
    </div>
  );
}
