package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
)

func TestAnExplanationIsATableOfPartsAndOneOfWays(t *testing.T) {
	age := []client.Input{{Name: "context.attestation.age", Value: "412", From: "token"}}
	parts := judgedParts([]client.ExplainedPolicy{{
		ID: "fresh", Effect: "forbid", Position: "a.cedar:3", Text: "Too old.", Matched: true, Cut: true,
		Parts: []client.PolicyPart{{Clause: "unless", Text: "a && b", Truth: "false", Join: "and"}, {Clause: "unless", Depth: 1, Text: "b", Truth: "false", Values: append(age, age...)}},
	}})
	want := []judged{
		{"forbid fresh", "Too old.", "", "a.cedar:3", ""}, {"", "unless a && b", "false", "", ""},
		{"", "  b", "false", "context.attestation.age = 412", "token"}, {"", "and more", "", "", ""},
	}
	if diff := cmp.Diff(want, parts, cmp.AllowUnexported(judged{})); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	ways := waysOf([]client.Unlock{
		{Policy: "fresh", Words: "attest", Ways: [][]client.UnlockChange{{{Text: "a", Want: true}, {Text: "b"}}, {{Text: "c", Want: true}}}}, {Policy: "dead", Words: "nothing"},
	})
	if diff := cmp.Diff([]way{{"fresh", "attest", "a; and not: b"}, {"", "", "c"}, {"dead", "nothing", ""}}, ways, cmp.AllowUnexported(way{})); diff != "" {
		t.Errorf("ways (-want +got):\n%s", diff)
	}
}
