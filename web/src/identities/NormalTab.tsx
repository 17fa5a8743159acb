import { useQuery } from "@tanstack/react-query";
import type { Learned } from "../api/client";
import { normal } from "../api/queries";
import { Hostile } from "../parts/Hostile";
import { Pending } from "../parts/Pending";
import { Time } from "../parts/Time";
import { plural, rate } from "../text/format";
import { clean } from "../text/hostile";
import { countryName, featureName } from "../text/words";
import { WeekMap } from "./WeekMap";

/** NormalTab says what is usual for an identity: what Muster compares every call with. */
export function NormalTab({ id }: { id: string }) {
  const { data: l, error, refetch } = useQuery(normal(id));
  if (!l) return <Pending what="What is normal" error={error} again={refetch} rows={6} />;
  if (l.events === 0)
    return (
      <p className="p-4 text-13 text-muted">
        Nothing was learned yet: no call of it was seen that may teach. Calls that were refused, or only asserted by a
        point, do not.
      </p>
    );
  return (
    <div className="flex min-w-0 flex-col gap-4 p-4">
      <p className="max-w-none text-13">{inWords(l)}</p>
      <div className="grid min-w-0 gap-x-8 gap-y-4 lg:grid-cols-2">
        {(l.features ?? []).map((f) => (
          <Feature key={f.feature} feature={f} />
        ))}
      </div>
      <WeekMap hours={l.hours ?? []} />
      <p className="text-12 text-muted">
        learned from <Time at={l.first_seen} /> until <Time at={l.last_seen} />
      </p>
    </div>
  );
}

/** inWords is the habit in a sentence. */
export function inWords(l: Learned): string {
  const most = (name: string) => {
    const f = (l.features ?? []).find((x) => x.feature === name);
    const value = f?.values?.[0];
    if (!f || !value) return undefined;
    const text = clean(name === "country" ? countryName(value.value) : value.value).slice(0, 80);
    return f.distinct <= 1 ? `always ${text}` : `mostly ${text}`;
  };
  const parts = [
    `${plural(l.events, "call")} were learned${l.established ? "" : ", too few to judge by yet"}`,
    most("asn") && `its network is ${most("asn")}`,
    most("country") && `its country ${most("country")}`,
    most("agent") && `its client ${most("agent")}`,
    `it is active in ${plural((l.hours ?? []).length, "hour")} of the week`,
    `and makes up to ${rate(l.per_minute)} calls a minute`,
  ];
  return `${parts.filter(Boolean).join("; ")}.`;
}

function Feature({ feature: f }: { feature: NonNullable<Learned["features"]>[number] }) {
  return (
    <table className="w-full table-fixed self-start text-13">
      <caption className="pb-1 text-left font-[600]">
        {featureName(f.feature)}{" "}
        <span className="font-[400] text-muted">
          {f.distinct > (f.values ?? []).length ? `about ${f.distinct} different, the most frequent` : ""}
        </span>
      </caption>
      <thead className="sr-only">
        <tr>
          <th>Value</th>
          <th>Share of active time</th>
        </tr>
      </thead>
      <tbody>
        {(f.values ?? []).map((v) => (
          <tr key={v.value} className="border-t border-hair">
            <td className="py-1 pr-3">
              <Hostile text={f.feature === "country" ? countryName(v.value) : v.value} className="block" />
            </td>
            <td className="w-[40%] py-1">
              <span className="flex items-center gap-2">
                <svg viewBox="0 0 100 6" preserveAspectRatio="none" className="block h-1.5 flex-1" aria-hidden="true">
                  <rect width="100" height="6" className="fill-raised" />
                  <rect width={Math.max(1, v.share * 100)} height="6" className="fill-accent" />
                </svg>
                <span className="w-12 shrink-0 whitespace-nowrap text-right text-muted">
                  {Math.round(v.share * 100)} %
                </span>
              </span>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
