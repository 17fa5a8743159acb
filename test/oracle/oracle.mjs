// Answers as Cedar's reference implementation does. Each line on stdin is one
// JSON object, each gets one line on stdout, in order:
//
//	{"policies": {id: text}, "requests": [{principal, action, resource, context, entities}]}
//	  -> {"answers": [{decision, reasons, errors}]}
//	{"schema": text, "candidates": [text]}
//	  -> {"valid": [true if it parses and passes strict validation]}
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const cedar = createRequire(import.meta.url)("@cedar-policy/cedar-wasm/nodejs");

const must = (answer) => {
	if (answer.type !== "success") throw new Error(JSON.stringify(answer.errors));
	return answer;
};

function authorize({ policies, requests }) {
	must(cedar.preparsePolicySet("set", { staticPolicies: policies }));
	return {
		answers: requests.map((request) => {
			const { decision, diagnostics } = must(cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: "set" })).response;
			return { decision, reasons: diagnostics.reason.sort(), errors: diagnostics.errors.map((e) => e.policyId).sort() };
		}),
	};
}

function validate({ schema, candidates }) {
	return {
		valid: candidates.map((text) => {
			const answer = cedar.validate({ schema, policies: { staticPolicies: text }, validationSettings: { mode: "strict" } });
			return answer.type === "success" && answer.validationErrors.length === 0;
		}),
	};
}

for await (const line of createInterface({ input: process.stdin })) {
	const asked = JSON.parse(line);
	process.stdout.write(JSON.stringify(asked.schema ? validate(asked) : authorize(asked)) + "\n");
}
