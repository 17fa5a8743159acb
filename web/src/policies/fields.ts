import type { Field } from "../filter/complete";

/** What policies can be narrowed by; docs/reference/filter.md is the whole list, and a test compares. */
export const policyFields: readonly Field[] = [
  { name: "id", kind: "text", doc: "its @id" },
  { name: "file", kind: "text", doc: "where it stands" },
  { name: "effect", kind: "enum", doc: "what it does", words: ["permit", "forbid"] },
  { name: "guard", kind: "flag", doc: "built in" },
  { name: "unscoped", kind: "flag", doc: "names neither a principal nor a resource" },
  { name: "warnings", kind: "number", doc: "how many things are doubtful about it" },
];
