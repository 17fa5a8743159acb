import type { Place } from "./Places";

/** A Dot is a country on the map: its centre and the radius of what was allowed there, in px. */
export type Dot = { place: Place; x: number; y: number; r: number };

/** A Callout is the note beside a country that was stopped: the left upper corner of its box. */
export type Callout = { dot: Dot; x: number; y: number; width: number; height: number };

type Box = { x: number; y: number; width: number; height: number };

const height = 18;
const apart = (a: Box, b: Box) =>
  a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;

/** Where a note may lie, as directions from its country: beside it first, then farther away. */
const directions = [0, 180, -30, 30, 150, 210, -60, 60, 120, 240, 270, 90].map((d) => (d * Math.PI) / 180);

/**
 * callouts finds room for the note of every dot, so that no two cover each
 * other or another country's dot. The worst places choose first; where all is
 * taken, a note is left out (the table has it).
 */
export function callouts(dots: readonly Dot[], width: (dot: Dot) => number, bounds: Box): Callout[] {
  const taken: Box[] = dots.map(({ x, y, r }) => ({ x: x - r, y: y - r, width: 2 * r, height: 2 * r }));
  const placed: Callout[] = [];
  const stopped = dots
    .filter(({ place }) => place.deny + place["step-up"] > 0)
    .sort((a, b) => b.place.deny - a.place.deny || b.place["step-up"] - a.place["step-up"]);
  for (const dot of stopped) {
    const box = room(dot, width(dot), taken, bounds);
    if (!box) continue;
    taken.push(box);
    placed.push({ dot, ...box });
  }
  return placed;
}

function room(dot: Dot, width: number, taken: readonly Box[], bounds: Box): Box | undefined {
  for (const distance of [6, 22, 40, 60, 84, 110]) {
    for (const angle of directions) {
      const cx = dot.x + Math.cos(angle) * (dot.r + distance + width / 2);
      const cy = dot.y + Math.sin(angle) * (dot.r + distance + height / 2);
      const box = { x: cx - width / 2, y: cy - height / 2, width, height };
      const inside =
        box.x >= bounds.x &&
        box.y >= bounds.y &&
        box.x + width <= bounds.x + bounds.width &&
        box.y + height <= bounds.y + bounds.height;
      if (inside && taken.every((other) => apart(box, other))) return box;
    }
  }
  return undefined;
}
