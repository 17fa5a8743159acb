import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { dialectNames, dialects, kindDialect, kinds, snippet } from "../src/points/snippets";

/** lines of a fence of the guide: blanks are as wide as one, addresses and keys are the reader's. */
const lines = (text: string) => text.split("\n").map((line) => line.trim().replace(/\s+/g, " "));

const guide = (dialect: string) => readFileSync(new URL(`../../docs/guide/${dialect}.md`, import.meta.url), "utf8");

// What a reader copies from the console has to be what the guide has, and what is tested with the real program.
for (const [dialect, prefix] of [
  ["nginx", "proxy_set_header"],
  [
    "caddy",
    "header_up (-|Muster-Identity|Muster-Decision)|@tunnel|request_header|copy_headers|@unnamed|respond|transport",
  ],
  ["traefik", "Muster-Attestation|Upgrade|DPoP|Authorization|trustForwardHeader|authResponseHeaders"],
] as const) {
  it(`the snippet of ${dialect} sets every header that the guide sets`, () => {
    const known = lines(snippet(dialect, "http://127.0.0.1:8700") ?? "");
    const block = guide(dialect).split(/^```(?:nginx|caddyfile|yaml)$/m)[1] ?? "";
    const wanted = lines(block.split("```")[0] ?? "").filter((line) => new RegExp(`^(${prefix})`).test(line));
    expect(wanted.length).toBeGreaterThanOrEqual(3);
    expect(known).toEqual(expect.arrayContaining(wanted));
  });
}

it("the snippet of Kubernetes has what the guide has, line by line", () => {
  const known = lines(snippet("kubernetes", "https://muster.example:8700") ?? "");
  const blocks = [...guide("kubernetes").matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map((m) => m[1] ?? "");
  const wanted = blocks
    .filter((b) =>
      /^kind: (Config|AuthorizationConfiguration|ValidatingWebhookConfiguration|AdmissionConfiguration)$/m.test(b),
    )
    .flatMap((b) => lines(b))
    // The reader's own names and key.
    .map((l) => l.replace("muster_pnt_...", "THE_KEY_OF_THE_POINT").replaceAll("cluster-1", "THE_NAME_OF_THE_CLUSTER"))
    .filter(Boolean);
  expect(wanted.length).toBeGreaterThanOrEqual(60);
  expect(known).toEqual(expect.arrayContaining(wanted));
});

it("each way to connect has a name and a dialect that points have", () => {
  for (const kind of kinds) {
    expect(dialectNames[kind]).not.toBe("");
    expect(dialects).toContain(kindDialect(kind));
  }
});
