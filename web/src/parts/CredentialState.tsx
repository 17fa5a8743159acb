import type { Credential } from "../api/client";
import { Shape } from "./Shape";

const states: Record<Credential["state"], { label: string; shape: "dot" | "half" | "square"; tone: string }> = {
  active: { label: "Active", shape: "dot", tone: "text-allow" },
  narrowed: { label: "Narrowed", shape: "half", tone: "text-stepup" },
  suspended: { label: "Suspended", shape: "square", tone: "text-deny" },
  revoked: { label: "Revoked", shape: "square", tone: "text-deny" },
};

/** CredentialState says whether a credential still opens anything: a shape and a word. */
export function CredentialState({ state }: { state: Credential["state"] }) {
  const { label, shape, tone } = states[state];
  return (
    <span className={`inline-flex shrink-0 items-center gap-1.5 text-13 ${tone}`}>
      <Shape name={shape} /> {label}
    </span>
  );
}
