import type { Snapshot } from "../api/client";
import type { ShapeName } from "../parts/Shape";
import { count, plural } from "../text/format";

type Look = { label: string; shape: ShapeName; tone: string };

/** states are where a snapshot can stand, in words. */
export const states: Record<Snapshot["state"], Look> = {
  active: { label: "In force", shape: "dot", tone: "text-allow" },
  waiting: { label: "Waits for a second administrator", shape: "half", tone: "text-stepup" },
  past: { label: "Was in force", shape: "ring", tone: "text-muted" },
  outdated: { label: "Outdated: something else was put into force", shape: "square", tone: "text-muted" },
  expired: { label: "Nobody confirmed it in time", shape: "square", tone: "text-muted" },
  staged: { label: "On its way into force, by gates", shape: "half", tone: "text-stepup" },
  withdrawn: { label: "Withdrawn", shape: "square", tone: "text-muted" },
};

/** short is the beginning of a digest, as people read it and as the command line takes it. */
export const short = (digest: string): string => digest.slice(0, 12);

/** author is who made a snapshot: the person if one is known, and the token that was used. */
export function author(s: Snapshot): string {
  if (!s.author_name) return s.author;
  return s.author.startsWith("person:") ? s.author_name : `${s.author_name} (${s.author})`;
}

/** size says how much a snapshot differs from what it replaced. */
export function size(s: Snapshot): string {
  if (!s.change) return plural(s.policies, "policy", "policies");
  const { added, removed, changed, files } = s.change;
  const parts = [
    added > 0 && `${count(added)} new`,
    changed > 0 && `${count(changed)} changed`,
    removed > 0 && `${count(removed)} gone`,
  ].filter(Boolean);
  if (parts.length > 0) return `${parts.join(", ")} of ${plural(s.policies, "policy", "policies")}`;
  return files > 0 ? `the same policies, ${plural(files, "file")} different` : "nothing different";
}

/** mine says whether somebody made a snapshot or confirmed it already. */
export function mine(s: Snapshot, person: string | undefined): "author" | "confirmed" | undefined {
  if (!person) return undefined;
  if (s.author_person === person) return "author";
  return s.confirmed.some((c) => c.person === person) ? "confirmed" : undefined;
}
