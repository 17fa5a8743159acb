import type { Field } from "./complete";

/** What identities can be narrowed by; docs/reference/filter.md is the whole list, and a test compares. */
export const identityFields: readonly Field[] = [
  { name: "name", kind: "text", doc: "name" },
  { name: "kind", kind: "text", doc: "kind, such as iam-user or workload" },
  { name: "environment", kind: "text", doc: "environment" },
  { name: "owner", kind: "text", doc: "who answers for it" },
  { name: "risk", kind: "number", doc: "0 to 100" },
  { name: "last_used", kind: "time", doc: "last activity seen" },
  {
    name: "state",
    kind: "enum",
    doc: "where it stands in its life",
    words: ["active", "dormant", "quarantined", "deprecated", "retired"],
  },
  { name: "static", kind: "flag", doc: "holds a credential that never expires" },
  { name: "admin", kind: "flag", doc: "may do everything everywhere" },
  { name: "shadow", kind: "flag", doc: "seen acting, in no inventory" },
  { name: "attestable", kind: "flag", doc: "can prove itself by its platform" },
  {
    name: "class",
    kind: "enum",
    doc: "class of the environment",
    words: ["production", "nonproduction", "unknown"],
  },
  { name: "provider", kind: "text", doc: "where it lives, such as aws" },
  { name: "account", kind: "text", doc: "account at the provider" },
  { name: "native", kind: "text", doc: "the provider's immutable id" },
  { name: "path", kind: "text", doc: "ARN, SPIFFE id or subject" },
  { name: "created", kind: "time", doc: "when the provider made it" },
  { name: "id", kind: "text", doc: "id in Muster" },
];
