import type { IdentityDetail, LineageOf } from "../api/client";
import { Hostile } from "../parts/Hostile";
import { Time } from "../parts/Time";
import { count, plural } from "../text/format";

/** Reaches lists, resource by resource, what was granted and what of it was used; and the grants themselves. */
export function Reaches({ i, l }: { i: IdentityDetail; l: LineageOf }) {
  const reaches = l.reaches ?? [];
  const grants = i.grants ?? [];
  if (reaches.length === 0 && grants.length === 0) return null;
  return (
    <details className="border-t border-hair">
      <summary className="px-4 py-2 text-13 text-muted">
        Granted and used, as a table: {plural(reaches.length, "resource")}, {plural(grants.length, "grant")}
      </summary>
      {reaches.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section aria-label="Granted and used" tabIndex={0} className="max-h-[360px] overflow-auto px-4 pb-3">
          <table className="w-full min-w-[560px] text-13">
            <thead className="sticky top-0 bg-panel">
              <tr>
                <th className="pb-1">Resource</th>
                <th className="pb-1">Used</th>
                <th className="pb-1">Granted, never used</th>
              </tr>
            </thead>
            <tbody>
              {reaches.map((r) => (
                <Row key={r.resource + r.service} r={r} />
              ))}
            </tbody>
          </table>
        </section>
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

/** How many actions a cell names. */
const few = 12;

function Row({ r }: { r: NonNullable<LineageOf["reaches"]>[number] }) {
  const used = r.used ?? [];
  const done = new Set(used.map((u) => u.action));
  const unused = (r.granted ?? []).filter((a) => !done.has(a));
  return (
    <tr className="border-t border-hair align-top">
      <td className="max-w-[260px] py-1.5 pr-3">
        <Hostile text={r.resource} className="block" />
        <Hostile
          text={[r.service, ...(r.grants ?? [])].filter(Boolean).join(", ")}
          className="block text-12 text-muted"
        />
      </td>
      <td className="max-w-[260px] py-1.5 pr-3">
        {used.length === 0 && <span className="text-muted">nothing</span>}
        <ul>
          {used.slice(0, few).map((u) => (
            <li key={u.action} className="flex min-w-0 gap-2">
              <Hostile text={u.action} className="min-w-0" />
              <span className="shrink-0 text-12 text-muted">
                {u.count ? plural(u.count, "call") : ""} <Time at={u.last_used} never="usual" />
              </span>
            </li>
          ))}
        </ul>
        {used.length > few && <span className="text-12 text-muted">and {count(used.length - few)} more</span>}
      </td>
      <td className="max-w-[220px] py-1.5">
        {(r.granted ?? []).length === 0 ? (
          <span className="text-muted">a point's policy decides</span>
        ) : unused.length === 0 ? (
          <span className="text-muted">nothing</span>
        ) : (
          <ul>
            {unused.slice(0, few).map((a) => (
              <li key={a} className="flex min-w-0">
                <Hostile text={a} />
              </li>
            ))}
            {unused.length > few && <li className="text-12 text-muted">and {count(unused.length - few)} more</li>}
          </ul>
        )}
      </td>
    </tr>
  );
}
