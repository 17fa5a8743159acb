package cli

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

func TestSinceIsATimeOrADate(t *testing.T) {
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	for since, want := range map[string]string{
		"": "", "36h": "2026-03-07T00:00:00Z", "7d": "2026-03-01T12:00:00Z", "2026-02-01": "2026-02-01T00:00:00Z", "2026-02-01T10:00:00+01:00": "2026-02-01T09:00:00Z",
	} {
		if got, err := sinceTime(since, now); err != nil || got != want {
			t.Errorf("since %q is %q, %v; want %q", since, got, err, want)
		}
	}
	for _, since := range []string{"-1h", "yesterday", "0d", "d", "5", "9999999d"} {
		if _, err := sinceTime(since, now); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("since %q: %v", since, err)
		}
	}
}

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
