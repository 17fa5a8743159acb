import { useQuery } from "@tanstack/react-query";
import type { Explanation } from "../api/client";
import { explanation } from "../api/queries";
import { Hostile } from "../parts/Hostile";
import { Part } from "../parts/SidePanel";
import { Skeleton } from "../parts/Skeleton";

type Policy = Explanation["policies"][number];
type Condition = Policy["parts"][number];

/** Conditions says, policy by policy, which condition was true and which false, and what would unlock it. */
export function Conditions({ id }: { id: string }) {
  const { data: e, error } = useQuery(explanation(id));
  if (error)
    return (
      <Part title="Condition by condition">
        <p className="text-13 text-muted">It could not be judged again: {error.message}</p>
      </Part>
    );
  if (!e) return <Skeleton rows={3} />;
  return (
    <>
      <Unlocks unlock={e.unlock} />
      <Part title="Condition by condition">
        <Hostile text={e.note} className="block whitespace-normal break-words text-13 text-muted" />
        {e.policies.map((p) => (
          <PolicyConditions key={`${p.effect} ${p.id}`} policy={p} />
        ))}
      </Part>
    </>
  );
}

function Unlocks({ unlock }: { unlock: Explanation["unlock"] }) {
  if (unlock.length === 0) return null;
  return (
    <Part title="What would have to be different">
      <ul aria-label="What would have to be different" className="flex flex-col gap-2 text-13">
        {unlock.map((u) => (
          <li key={u.policy} className="flex min-w-0 flex-col gap-1">
            <Hostile text={u.words || u.policy} className="block whitespace-normal break-words" />
            {u.ways.length > 0 && (
              <ul className="flex list-disc flex-col gap-1 pl-4">
                {u.ways.map((way, i) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: the ways of one answer never move
                  <li key={i}>
                    {i > 0 && <span className="text-muted">or </span>}
                    {way.map((c, j) => (
                      // biome-ignore lint/suspicious/noArrayIndexKey: nor do the changes of a way
                      <span key={j}>
                        {j > 0 && <span className="text-muted">and </span>}
                        {!c.want && <span className="text-muted">not </span>}
                        <Hostile text={c.text} className="mono whitespace-normal break-words" />{" "}
                      </span>
                    ))}
                  </li>
                ))}
              </ul>
            )}
          </li>
        ))}
      </ul>
    </Part>
  );
}

function PolicyConditions({ policy: p }: { policy: Policy }) {
  return (
    <section
      aria-label={`${p.effect} ${p.id}`}
      className="flex min-w-0 flex-col gap-1 border-l-2 border-hair pl-3 text-13"
    >
      <h4 className="flex min-w-0 flex-wrap gap-x-2">
        <span>{p.effect}</span>
        <Hostile text={p.id} className="mono" />
        <span className="text-muted">{p.matched ? "applies" : "does not apply"}</span>
      </h4>
      <ul className="flex flex-col gap-1">
        {shownParts(p.parts).map((c, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one policy never move
          <li key={i} style={{ paddingLeft: `${Math.min(c.depth, 8) * 12}px` }} className="min-w-0">
            <OneCondition condition={c} />
          </li>
        ))}
      </ul>
      {p.cut && <p className="text-muted">There are more parts than are shown.</p>}
    </section>
  );
}

const joined: Record<string, string> = { and: "all of", or: "any of", not: "not", if: "if, then, else" };

/**
 * shownParts are the parts that tell something: what a condition is made of stands below it, so its own text is
 * only how they belong together, and what is inside of one that was not reached is left out.
 */
export function shownParts(parts: Condition[]): Condition[] {
  let hidden = Number.POSITIVE_INFINITY;
  const out: Condition[] = [];
  for (const c of parts) {
    if (c.depth > hidden) continue;
    hidden = c.join && c.truth === "not reached" ? c.depth : Number.POSITIVE_INFINITY;
    const words = joined[c.join];
    out.push(words && c.truth !== "not reached" ? { ...c, text: words } : c);
  }
  return out;
}

/** marks go with their words: colour never speaks alone. */
const marks: Record<Condition["truth"], string> = { true: "✓", false: "✗", "not reached": "–", error: "!" };

function OneCondition({ condition: c }: { condition: Condition }) {
  return (
    <div className="flex min-w-0 flex-col">
      <span className="flex min-w-0 gap-2">
        <span className="shrink-0 text-muted">
          <span aria-hidden>{marks[c.truth] ?? "?"} </span>
          {c.truth}
        </span>
        <span className="min-w-0">
          {c.depth === 0 && c.clause !== "scope" && <span className="text-muted">{c.clause} </span>}
          <Hostile text={c.text} className="mono whitespace-normal break-words" />
        </span>
      </span>
      {c.values.length > 0 && (
        <span className="flex min-w-0 flex-wrap gap-x-3 pl-6 text-muted">
          {c.values.map((v) => (
            <Hostile
              key={v.name}
              text={`${v.name} = ${v.value} (${v.from})`}
              className="mono whitespace-normal break-words"
            />
          ))}
        </span>
      )}
    </div>
  );
}
