import { geoNaturalEarth1, geoPath } from "d3-geo";
import { useMemo } from "react";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import land from "world-atlas/land-110m.json";
import { useWidth } from "../parts/useWidth";
import { count } from "../text/format";
import { countryName } from "../text/words";
import { type Callout, callouts, type Dot } from "./callouts";
import { centres } from "./centres";
import type { Place } from "./Places";

const topology = land as unknown as Topology<{ land: GeometryCollection }>;
const shapes = feature(topology, topology.objects.land);

/** How much of the width the map is high; the poles, where nobody calls from, are cut off. */
const ratio = 0.36;

/** draw fits the world to a width in px. It is turned so that the cut runs through the Bering Strait. */
function draw(width: number) {
  const height = Math.round(width * ratio);
  const projection = geoNaturalEarth1()
    .rotate([-11, 0])
    .fitExtent(
      [
        [0, -width * 0.028],
        [width, height + width * 0.125],
      ],
      { type: "Sphere" },
    );
  return { width, height, projection, outline: geoPath(projection).digits(1)(shapes) ?? "" };
}

/** WorldMap marks each country that calls with a dot for what was allowed, and notes beside it what was stopped. */
export default function WorldMap({ places, summary }: { places: readonly Place[]; summary: string }) {
  const { ref, width } = useWidth<HTMLDivElement>();
  const world = useMemo(() => (width > 0 ? draw(width) : undefined), [width]);
  const { dots, notes, nowhere } = useMemo(() => arrange(world, places), [world, places]);
  return (
    <div ref={ref} className="aspect-[25/9] w-full">
      {world && (
        <svg
          width={world.width}
          height={world.height}
          role="img"
          aria-label={`World map. ${summary}`}
          className="block overflow-hidden"
        >
          <path d={world.outline} className="fill-land" />
          {dots.map(({ place, x, y, r }) => (
            <circle
              key={place.country}
              cx={x}
              cy={y}
              r={place.allow > 0 ? r : 2}
              className="fill-allow"
              fillOpacity={place.allow > 0 ? 0.8 : 0}
            >
              <title>
                {`${countryName(place.country)}: ${count(place.allow)} allowed, ${count(place["step-up"])} stepped up, ${count(place.deny)} denied`}
              </title>
            </circle>
          ))}
          {notes.map((note) => (
            <Note key={note.dot.place.country} note={note} />
          ))}
          {nowhere > 0 && (
            <text x="0" y={world.height - 4} className="fill-muted text-12">
              {count(nowhere)} from unknown places
            </text>
          )}
        </svg>
      )}
    </div>
  );
}

function arrange(world: ReturnType<typeof draw> | undefined, places: readonly Place[]) {
  if (!world) return { dots: [], notes: [], nowhere: 0 };
  const most = Math.max(1, ...places.map((p) => p.total));
  const biggest = Math.max(5, world.width / 80);
  let nowhere = 0;
  const dots = places.flatMap((place): Dot[] => {
    const centre = centres.get(place.country);
    const at = centre && world.projection([centre[1], centre[0]]);
    if (!at) {
      nowhere += place.total;
      return [];
    }
    return [{ place, x: at[0], y: at[1], r: 2.5 + (biggest - 2.5) * Math.sqrt(place.allow / most) }];
  });
  const notes = callouts(dots, noteWidth, { x: 0, y: 0, width: world.width, height: world.height });
  return { dots, notes, nowhere };
}

const digit = 7;
const noteWidth = ({ place }: Dot) =>
  28 + [place["step-up"], place.deny].reduce((sum, n) => sum + (n > 0 ? 20 + count(n).length * digit : 0), 0);

/** Note says what was stopped from a country, with a line to its dot. */
function Note({ note: { dot, x, y, width, height } }: { note: Callout }) {
  const { place } = dot;
  const stepUp = place["step-up"];
  const denyAt = 26 + (stepUp > 0 ? 20 + count(stepUp).length * digit : 0);
  const nearX = Math.max(x, Math.min(dot.x, x + width));
  const nearY = Math.max(y, Math.min(dot.y, y + height));
  return (
    <g>
      <line
        x1={dot.x}
        y1={dot.y}
        x2={nearX}
        y2={nearY}
        strokeWidth="1.2"
        strokeDasharray={place.deny > 0 ? "3 2" : undefined}
        className={place.deny > 0 ? "stroke-deny" : "stroke-stepup"}
      />
      <circle
        key={place.deny}
        cx={dot.x}
        cy={dot.y}
        r="5"
        className={`pulse fill-none ${place.deny > 0 ? "stroke-deny" : "stroke-stepup"}`}
      />
      <g transform={`translate(${x.toFixed(1)} ${y.toFixed(1)})`} className="text-12">
        <rect width={width} height={height} rx="4" className="fill-panel stroke-line" />
        <text x="6" y="13" className="fill-fg">
          {place.country}
        </text>
        {stepUp > 0 && (
          <g transform="translate(28 0)" className="text-stepup">
            <circle cx="5" cy="9" r="4" fill="none" stroke="currentColor" strokeWidth="1.5" />
            <path d="M5 5a4 4 0 0 0 0 8z" fill="currentColor" />
            <text x="13" y="13" className="fill-fg">
              {count(stepUp)}
            </text>
          </g>
        )}
        {place.deny > 0 && (
          <g transform={`translate(${denyAt + 2} 0)`} className="text-deny">
            <rect x="1" y="5" width="8" height="8" fill="none" stroke="currentColor" strokeWidth="2" />
            <text x="13" y="13" className="fill-fg">
              {count(place.deny)}
            </text>
          </g>
        )}
      </g>
    </g>
  );
}
