import type { Field } from "./complete";

/** What refusals can be narrowed by; docs/reference/filter.md is the whole list, and a test compares. */
export const refusalFields: readonly Field[] = [
  {
    name: "kind",
    kind: "enum",
    doc: "why somebody was not let in",
    words: ["failed_authentication", "unknown_principal", "denied", "step_up"],
  },
  { name: "at", kind: "time", doc: "when" },
  { name: "address", kind: "text", doc: "of the caller" },
  { name: "claimed", kind: "text", doc: "who the caller says to be" },
  { name: "identity", kind: "text", doc: "id of the proven identity" },
  { name: "operation", kind: "text", doc: "what was asked for" },
  { name: "resource", kind: "text", doc: "name of the resource" },
  { name: "reason", kind: "text", doc: "the policy that refused" },
  { name: "point", kind: "text", doc: "id of the point" },
  { name: "count", kind: "number", doc: "more than 1: a flood" },
];
