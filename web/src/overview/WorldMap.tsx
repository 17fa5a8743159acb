import { geoNaturalEarth1, geoPath } from "d3-geo";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import land from "world-atlas/land-110m.json";
import { count } from "../text/format";
import { countryName } from "../text/words";
import { centres } from "./centres";
import type { Place } from "./Places";

const width = 960;
const height = 360;

// Turned so that the cut runs through the Bering Strait and splits no land that calls.
const projection = geoNaturalEarth1()
  .rotate([-11, 0])
  .fitExtent(
    [
      [4, -38],
      [width - 4, height + 88],
    ],
    { type: "Sphere" },
  );
const topology = land as unknown as Topology<{ land: GeometryCollection }>;
const outline = geoPath(projection)(feature(topology, topology.objects.land)) ?? "";

function spot(country: string): [number, number] | undefined {
  const at = centres.get(country);
  return at && (projection([at[1], at[0]]) ?? undefined);
}

/** WorldMap marks each country that calls: a dot for what was allowed, its shape beside it for what was stopped. */
export default function WorldMap({ places, summary }: { places: readonly Place[]; summary: string }) {
  const most = Math.max(1, ...places.map((p) => p.total));
  const drawn = places.flatMap((place) => {
    const at = spot(place.country);
    return at ? [{ place, x: at[0], y: at[1], r: 3 + 9 * Math.sqrt(place.total / most) }] : [];
  });
  const nowhere = places.filter((p) => !spot(p.country)).reduce((n, p) => n + p.total, 0);
  return (
    <svg
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={`World map. ${summary}`}
      className="block h-full w-full overflow-hidden"
    >
      <path d={outline} className="fill-land" />
      {drawn.map(({ place, x, y, r }) => (
        <g key={place.country} transform={`translate(${x.toFixed(1)} ${y.toFixed(1)})`}>
          <title>
            {`${countryName(place.country)}: ${count(place.allow)} allowed, ${count(place["step-up"])} stepped up, ${count(place.deny)} denied`}
          </title>
          {place.allow > 0 && <circle r={r} className="fill-allow" fillOpacity="0.75" />}
        </g>
      ))}
      {/* What was stopped lies on top, whatever its country's traffic. */}
      {drawn
        .filter(({ place }) => place["step-up"] + place.deny > 0)
        .map(({ place, x, y, r }) => (
          <g key={place.country} transform={`translate(${x.toFixed(1)} ${y.toFixed(1)})`}>
            {place["step-up"] > 0 && <Half x={place.allow > 0 ? -r - 6 : place.deny > 0 ? -8 : 0} />}
            {place.deny > 0 && (
              <g transform={`translate(${place.allow > 0 ? r + 7 : place["step-up"] > 0 ? 8 : 0} 0)`}>
                <rect
                  key={place.deny}
                  x="-6"
                  y="-6"
                  width="12"
                  height="12"
                  className="pulse fill-none stroke-deny"
                  strokeWidth="1.5"
                />
                <rect x="-5.5" y="-5.5" width="11" height="11" className="fill-bg stroke-deny" strokeWidth="2.5" />
                <text x="10" y="4" className="fill-fg stroke-panel text-12" strokeWidth="3" paintOrder="stroke">
                  {place.country} {count(place.deny)}
                </text>
              </g>
            )}
          </g>
        ))}
      {nowhere > 0 && (
        <text x="8" y={height - 8} className="fill-muted text-12">
          {count(nowhere)} from places that are not on the map
        </text>
      )}
    </svg>
  );
}

function Half({ x }: { x: number }) {
  return (
    <g transform={`translate(${x} 0)`}>
      <circle r="5.5" className="fill-bg stroke-stepup" strokeWidth="2" />
      <path d="M0 -5.5a5.5 5.5 0 0 0 0 11z" className="fill-stepup" />
    </g>
  );
}
