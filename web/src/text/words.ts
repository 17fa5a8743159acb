import type { Action, Decision, Finding, Outcome } from "../api/client";
import type { ShapeName } from "../parts/Shape";

// The product's words, each in one place.

type Look = { label: string; shape: ShapeName; tone: string };

export const outcomes: Record<Outcome, Look> = {
  allow: { label: "Allow", shape: "dot", tone: "text-allow" },
  "step-up": { label: "Step-up", shape: "half", tone: "text-stepup" },
  deny: { label: "Deny", shape: "square", tone: "text-deny" },
};

/** What an observing point let pass although the policies refuse it. */
export const observed: Look = { label: "Would refuse", shape: "ring", tone: "text-stepup" };

/** What a point let pass only because two people had opened it by a break-glass code. */
export const brokenGlass: Look = { label: "Break-glass", shape: "ring", tone: "text-deny" };

/** Why somebody was not let in: in a word, in a sentence, and what helps. */
export const refusalKinds: Record<
  string,
  { label: string; shape: "half" | "square"; tone: string; means: string; cure: string }
> = {
  failed_authentication: {
    label: "Not authenticated",
    shape: "square",
    tone: "text-deny",
    means: "Nobody was proven: the caller had no credential, a wrong one, or one that is no longer valid.",
    cure: "If it is a workload of yours, its credential is missing, expired, revoked or mistyped: exchange or issue a new one. If nobody of yours is at this address, somebody is trying keys.",
  },
  unknown_principal: {
    label: "Unknown",
    shape: "square",
    tone: "text-deny",
    means: "The caller was named, but no inventory has it.",
    cure: "If it is a workload of yours, import its provider, or declare its issuer in trust.yaml.",
  },
  denied: {
    label: "Deny",
    shape: "square",
    tone: "text-deny",
    means: "The identity is known, and a policy refused what it asked for.",
    cure: "The policy below says why. The decision has everything that was known when it was made.",
  },
  step_up: {
    label: "Step-up",
    shape: "half",
    tone: "text-stepup",
    means: "The identity is known, and must prove itself better before it may do this.",
    cure: "The decision says what would unlock it.",
  },
};

export const severities: Record<Finding["severity"], { label: string; tone: string; rank: number }> = {
  critical: { label: "Critical", tone: "text-deny", rank: 4 },
  high: { label: "High", tone: "text-deny", rank: 3 },
  medium: { label: "Medium", tone: "text-stepup", rank: 2 },
  low: { label: "Low", tone: "text-muted", rank: 1 },
  info: { label: "Info", tone: "text-muted", rank: 0 },
};

export const statuses: Record<Finding["status"], string> = {
  open: "Open",
  acknowledged: "Acknowledged",
  resolved: "Resolved",
  dismissed: "Dismissed",
};

type Measure = Action["measure"];

/** What a containment step does, and what becomes possible again when it is undone. */
export const measures: Record<Measure, { done: string; proposed: string; means: string; again: string }> = {
  narrow: {
    done: "Key narrowed to its own workload",
    proposed: "Narrow the key to its own workload",
    means:
      "The key works only together with the attestation of the workload it belongs to. Alone it is refused everywhere.",
    again: "the key alone is enough again: whoever holds a copy, the thief included, can use it from anywhere",
  },
  suspend: {
    done: "Key suspended",
    proposed: "Suspend the key",
    means: "Every enforcement point refuses the key, whoever presents it.",
    again: "every enforcement point accepts the key again, whoever presents it, the thief included",
  },
  quarantine: {
    done: "Identity quarantined",
    proposed: "Quarantine the identity",
    means: "Every enforcement point refuses everything this identity presents.",
    again: "the identity may act again with all its credentials and grants",
  },
  revoke: {
    done: "Credential revoked",
    proposed: "Revoke the credential",
    means: "The credential is refused everywhere and for good.",
    again: "the credential is accepted again by every enforcement point",
  },
};

export const actionStatuses: Record<Action["status"], string> = {
  done: "In force",
  undone: "Undone",
  proposed: "Waits for approval",
  refused: "Not carried out",
};

/** What would unlock a step-up, said to the person who owns the workload. */
export const obligations: Record<string, string> = {
  reattest:
    "Prove again who is calling: exchange the platform's own token at /oauth2/token and repeat the request with it.",
  bind: "Use a credential that is bound to a key of the caller: exchange the workload's platform token at /oauth2/token with a DPoP proof, or send that token along as Muster-Attestation.",
  approve: "Ask a person: an approver has to allow this request.",
  narrow: "Ask for less: a narrower action or a less sensitive resource is allowed without this step.",
};

export const kinds: Record<string, string> = {
  "iam-user": "IAM user",
  "iam-role": "IAM role",
  "service-account": "Service account",
  workload: "Workload",
  "ci-job": "CI job",
  agent: "AI agent",
  "cloud-service": "Cloud service",
  point: "Enforcement point",
  source: "Source",
  operator: "Operator token",
};

export const kindName = (kind: string): string => kinds[kind] ?? (kind || "Unknown kind");

export const credentialKinds: Record<string, string> = {
  "api-key": "Muster key",
  "registered-key": "Registered key",
  "aws-access-key": "AWS access key",
  password: "Password",
  token: "Short-lived token",
};

export const features: Record<string, string> = {
  asn: "Network owner",
  agent: "Client",
  hour: "Hour of day",
  breadth: "Refused calls",
  denied: "Outcome",
};

/** featureName says a feature in words; most names are words already. */
export const featureName = (name: string): string =>
  features[name] ?? (name.charAt(0).toUpperCase() + name.slice(1)).replaceAll("_", " ");

export const assurances = [
  "static bearer secret",
  "short-lived bearer token",
  "bound to a key",
  "bound to a key and attested by the platform",
];

/** resourceName says what a resource is called; the star that grants use stands for all. */
export const resourceName = (name: string): string => (name === "*" ? "every resource" : name);

const regions = new Intl.DisplayNames("en", { type: "region" });

/** countryName writes NL as Netherlands. */
export function countryName(code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return code || "Unknown place";
  try {
    return regions.of(code) ?? code;
  } catch {
    return code;
  }
}

/** from says where a call came from in one line. */
export function from(d: Decision): string {
  const network = d.network || (d.asn ? `AS${d.asn}` : "");
  return [d.country, network].filter(Boolean).join(" ") || d.address || "unknown";
}
