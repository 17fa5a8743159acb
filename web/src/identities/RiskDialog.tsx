import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { identityRisk } from "../api/queries";
import { Dialog } from "../parts/Dialog";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Severity } from "../parts/Severity";
import { Time } from "../parts/Time";
import { plural } from "../text/format";

const percent = (share: number) => `${Math.round(share * 100)} %`;

/** RiskDialog explains a risk term by term: what each finding takes from what the others left. */
export function RiskDialog({ id, risk, onClose }: { id: string; risk: number; onClose: () => void }) {
  const { data, error, refetch } = useQuery(identityRisk(id));
  return (
    <Dialog title={`Why risk ${risk} of 100?`} open onClose={onClose} wide>
      {!data ? (
        <Pending what="The risk" error={error} again={refetch} rows={4} />
      ) : (data.terms ?? []).length === 0 ? (
        <p className="text-13">
          Nothing open speaks against it{risk > 0 ? ", and what did has nearly faded" : ""}. Risk comes from findings,
          and fades to half in {plural(Math.round(data.half_life / 3600), "hour")}.
        </p>
      ) : (
        <div className="flex flex-col gap-3">
          <p className="text-13">
            Each finding takes its share of what the ones before it left; what remains after all is trust. A share fades
            to half in {plural(Math.round(data.half_life / 3600), "hour")} after the finding was last seen.
          </p>
          <table className="w-full text-13">
            <thead>
              <tr>
                <th className="pb-1">Finding</th>
                <th className="pb-1">Last seen</th>
                <th className="pb-1 text-right">Share</th>
                <th className="pb-1 text-right">Risk so far</th>
              </tr>
            </thead>
            <tbody>
              {(data.terms ?? []).map((t) => (
                <tr key={t.finding} className="border-t border-hair align-top">
                  <td className="max-w-0 py-1.5 pr-3">
                    <Link to="/findings" search={{ status: "all", id: t.finding }} className="flex min-w-0">
                      <Hostile text={t.title} />
                    </Link>
                    <span className="text-12 text-muted">
                      <Severity severity={t.severity} />
                    </span>
                  </td>
                  <td className="py-1.5 pr-3 text-muted">
                    <Time at={t.at} />
                  </td>
                  <td className="py-1.5 text-right" title={`${percent(t.weight)} when it was fresh`}>
                    {percent(t.now)}
                  </td>
                  <td className="py-1.5 text-right font-[600]">{t.sum}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p className="text-12 text-muted">
            A finding about one credential counts for that credential only, and stands with it: a stolen key must not
            turn against its owner.
          </p>
        </div>
      )}
    </Dialog>
  );
}
