import type { ReactNode } from "react";
import type { IdentityDetail, LineageOf } from "../api/client";
import { Hostile } from "../parts/Hostile";
import { Scroll } from "../parts/Scroll";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";
import { resourceName } from "../text/words";

/** Reaches lists, resource by resource, what was granted and what of it was used; and the grants themselves. */
export function Reaches({ i, l }: { i: IdentityDetail; l: LineageOf }) {
  const reaches = l.reaches ?? [];
  const grants = i.grants ?? [];
  if (reaches.length === 0 && grants.length === 0) return null;
  return (
    <details className="border-t border-hair">
      <summary className="px-4 py-2 text-13 text-muted">
        Granted and used, one by one: {plural(reaches.length, "resource")}, {plural(grants.length, "grant")}
      </summary>
      {reaches.length > 0 && (
        <Scroll label="Granted and used" className="max-h-[360px]">
          <ul>
            {reaches.map((r) => (
              <Row key={r.resource + r.service} r={r} />
            ))}
          </ul>
        </Scroll>
      )}
      {grants.length > 0 && (
        <ul aria-label="Grants">
          {grants.map((g) => (
            <li key={g.kind + g.name} className="border-t border-hair px-4 py-2 text-13">
              <span className="flex min-w-0 gap-3">
                <Hostile text={g.name} className="min-w-0 flex-1" />
                {g.admin && <span className="shrink-0 text-deny">administrator</span>}
                <span className="shrink-0 text-muted">{g.kind}</span>
              </span>
              {g.document && (
                <details>
                  <summary className="text-12 text-muted">Document</summary>
                  <pre className="mono max-h-60 overflow-auto whitespace-pre-wrap break-words">
                    <Hostile text={g.document} className="whitespace-pre-wrap" />
                  </pre>
                </details>
              )}
            </li>
          ))}
        </ul>
      )}
    </details>
  );
}

/** How many actions are named. */
const few = 12;

function Row({ r }: { r: NonNullable<LineageOf["reaches"]>[number] }) {
  const used = r.used ?? [];
  const done = new Set(used.map((u) => u.action));
  const unused = (r.granted ?? []).filter((a) => !done.has(a));
  return (
    <li className="grid gap-x-6 gap-y-1 border-t border-hair px-4 py-2 text-13 md:grid-cols-3">
      <div className="min-w-0">
        <Hostile text={resourceName(r.resource)} className="block font-[500]" />
        <Hostile
          text={[r.service, ...(r.grants ?? [])].filter(Boolean).join(", ")}
          className="block text-12 text-muted"
        />
      </div>
      <Actions title="Used" none="nothing" all={used.map((u) => u.action)}>
        {used.slice(0, few).map((u) => (
          <li key={u.action} className="flex min-w-0 gap-2">
            <Hostile text={u.action} className="min-w-0" />
            <span className="shrink-0 text-12 text-muted">
              {u.count ? plural(u.count, "call") : ""} <Time at={u.last_used} never="usual" />
            </span>
          </li>
        ))}
      </Actions>
      <Actions
        title="Granted, never used"
        none={(r.granted ?? []).length === 0 ? "a point's policy decides" : "nothing"}
        all={unused}
      >
        {unused.slice(0, few).map((a) => (
          <li key={a} className="flex min-w-0">
            <Hostile text={a} />
          </li>
        ))}
      </Actions>
    </li>
  );
}

function Actions({
  title,
  none,
  all,
  children,
}: {
  title: string;
  none: string;
  all: readonly string[];
  children: ReactNode;
}) {
  return (
    <div className="min-w-0">
      <p className="text-12 text-muted">{title}</p>
      {all.length === 0 ? <p className="text-muted">{none}</p> : <ul>{children}</ul>}
      {all.length > few && <p className="text-12 text-muted">and {count(all.length - few)} more</p>}
    </div>
  );
}
