import type { Decision } from "../src/api/client";

/** decision is a decision for tests; change says what matters to the test. */
export function decision(change: Partial<Decision> = {}): Decision {
  return {
    id: "d1",
    at: "2026-03-12T09:14:07Z",
    outcome: "allow",
    would_refuse: false,
    obligations: [],
    reasons: [],
    generation: 1,
    policy: "p",
    point: "nhi_point",
    point_name: "edge",
    identity: "nhi_ci",
    name: "ci/release-bot",
    credential: "crd_1",
    key_id: "AKIAEXAMPLE",
    method: "apikey",
    assurance: 0,
    sender_bound: false,
    asserted: false,
    action: "read",
    operation: "GET /payments/{id}",
    resource: "payments/api",
    sensitivity: 3,
    address: "203.0.113.9",
    country: "NL",
    asn: 9009,
    network: "M247",
    agent: "curl",
    risk: 10,
    surprise: 1,
    features: [],
    micros: 9,
    ...change,
  };
}
