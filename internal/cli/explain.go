package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

// A judged is one part of one policy, as the table shows it.
type judged struct {
	policy, part, truth, value, from string
}

var judgedColumns = []output.Column[judged]{
	{Head: "POLICY", Of: func(j judged) string { return j.policy }},
	{Head: "PART", Of: func(j judged) string { return j.part }},
	{Head: "WAS", Of: func(j judged) string { return j.truth }},
	{Head: "VALUE", Of: func(j judged) string { return j.value }},
	{Head: "FROM", Of: func(j judged) string { return j.from }},
}

// A way is one line of what would unlock a decision.
type way struct{ policy, words, change string }

var wayColumns = []output.Column[way]{
	{Head: "POLICY", Of: func(w way) string { return w.policy }},
	{Head: "TO UNLOCK IT", Of: func(w way) string { return w.words }},
	{Head: "EITHER", Of: func(w way) string { return w.change }},
}

func (a *app) decideExplain() *cobra.Command {
	return a.Command(command.Verb{
		Use: "explain ID", Short: "Say which condition of which policy decided, and what would unlock it",
		Example: `
muster decide explain 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11
muster decide explain 0198c7a2-7c3e-7a44-9c1e-5d0f2b6a9d11 -o json`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[client.Explanation](), Talks: command.Reads,
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			var e client.Explanation
			if err := k.Get(ctx, "/v1/decisions/"+url.PathEscape(args[0])+"/explanation", nil, &e); err != nil {
				return err
			}
			if k.Out.Structured() || k.Out.Format == "csv" {
				return output.One(k.Out, e, output.Columns[client.Explanation]("outcome same_policies policy note"))
			}
			fmt.Fprintln(k.Std.Out, output.Visible(e.Note))
			if !e.Recorded {
				return more(k, e.Decision.Reasons, output.Columns[client.Reason]("policy effect where=position because=text"))
			}
			if err := more(k, judgedParts(e.Policies), judgedColumns); err != nil {
				return err
			}
			return more(k, waysOf(e.Unlock), wayColumns)
		},
	})
}

func judgedParts(policies []client.ExplainedPolicy) []judged {
	var out []judged
	for _, p := range policies {
		name := p.Effect + " " + p.ID
		if !p.Matched && p.Effect == "permit" {
			name = "not matched: permit " + p.ID
		}
		out = append(out, judged{policy: name, part: p.Text, truth: "", value: p.Position})
		for _, part := range p.Parts {
			j := judged{part: strings.Repeat("  ", part.Depth) + part.Text, truth: part.Truth}
			if part.Depth == 0 && part.Clause != "scope" {
				j.part = part.Clause + " " + part.Text
			}
			for _, v := range part.Values {
				j.value, j.from = join(j.value, v.Name+" = "+v.Value), join(j.from, v.From)
			}
			out = append(out, j)
		}
		if p.Cut {
			out = append(out, judged{part: "and more"})
		}
	}
	return out
}

func waysOf(unlocks []client.Unlock) []way {
	var out []way
	for _, u := range unlocks {
		first := way{policy: u.Policy, words: u.Words}
		if len(u.Ways) == 0 {
			out = append(out, first)
		}
		for _, changes := range u.Ways {
			line := first
			for _, c := range changes {
				want := "not: " + c.Text
				if c.Want {
					want = c.Text
				}
				if line.change != "" {
					line.change += "; and "
				}
				line.change += want
			}
			out, first = append(out, line), way{}
		}
	}
	return out
}

func join(a, b string) string {
	switch {
	case a == "" || a == b:
		return b
	case strings.HasSuffix(a, b):
		return a
	}
	return a + ", " + b
}
