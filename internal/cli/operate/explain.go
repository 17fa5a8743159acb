package operate

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/output"
)

// ExplainDecision is `muster decide explain`.
func ExplainDecision(a *command.App) *cobra.Command {
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
			_, err := io.WriteString(k.Std.Out, reasoned(&e))
			return err
		},
	})
}

// reasoned is an explanation as text: what was decided, then each policy as a tree
// of its conditions, then what would unlock it.
func reasoned(e *client.Explanation) string {
	var b strings.Builder
	say := func(format string, args ...any) { b.WriteString(output.Visible(fmt.Sprintf(format, args...)) + "\n") }
	d := &e.Decision
	say("%s  %s", d.Outcome, strings.Join(asked(d), ", "))
	say("%s", e.Note)
	for _, r := range d.Reasons {
		if !e.Recorded || r.Position == "" { // what no policy says is not among the policies
			b.WriteString("\n")
			say("%s", strings.TrimSpace(r.Effect+" "+r.Policy+"  "+r.Position))
			say("  %s", r.Text)
		}
	}
	for i := range e.Policies {
		p := &e.Policies[i]
		b.WriteString("\n")
		title := p.Effect + " " + p.ID
		if !p.Matched && p.Effect == "permit" {
			title += ", which did not match"
		}
		say("%s", strings.TrimSpace(title+"  "+p.Position))
		if p.Text != "" {
			say("  %s", p.Text)
		}
		for _, line := range conditions(p) {
			say("%s", line)
		}
	}
	for _, line := range unlocking(e) {
		say("%s", line)
	}
	return b.String()
}

// asked says in a few words who asked for what.
func asked(d *client.Decision) []string {
	who := d.Name
	if who == "" {
		who = d.Identity
	}
	if who == "" {
		who = "nobody known"
	}
	out := []string{who}
	if what := strings.TrimSpace(d.Action + " " + d.Resource); what != "" {
		out = append(out, what)
	}
	if d.Operation != "" && d.Operation != d.Action {
		out = append(out, d.Operation)
	}
	if d.PointName != "" {
		out = append(out, "at "+d.PointName)
	}
	return append(out, d.At.UTC().Format(time.RFC3339))
}

// maxLine is how much of a condition is shown: all of it is in the JSON.
const maxLine = 110

// joined says how what is inside belongs together.
var joined = map[string]string{"and": "all of", "or": "any of", "not": "not", "if": "if, then, else"}

// conditions are the parts of a policy, one a line, and below a leaf what it
// read. What is inside of a part that was not reached is left out.
func conditions(p *client.ExplainedPolicy) []string {
	var out []string
	hidden := -1 // parts deeper than this are left out
	for _, part := range p.Parts {
		if hidden >= 0 && part.Depth > hidden {
			continue
		}
		hidden = -1
		text := part.Text
		if words, inner := joined[part.Join]; inner && part.Truth != "not reached" {
			text = words
		} else if inner {
			hidden = part.Depth
		}
		if part.Depth == 0 && part.Clause != "scope" {
			text = part.Clause + " " + text
		}
		indent := strings.Repeat("  ", part.Depth)
		out = append(out, fmt.Sprintf("  %-11s  %s%s", part.Truth, indent, cut(text)))
		if part.Truth == "not reached" {
			continue
		}
		for _, v := range part.Values {
			if v.Name+" = "+v.Value == strings.ReplaceAll(part.Text, " == ", " = ") {
				continue // it says nothing more
			}
			says := fmt.Sprintf("%s = %s, says the %s", v.Name, cut(v.Value)+clock(v), source(v.From))
			if v.Value == "absent" {
				says = v.Name + " is absent"
			}
			out = append(out, fmt.Sprintf("  %-11s  %s    %s", "", indent, says))
		}
	}
	if p.Cut {
		out = append(out, "  and more")
	}
	return out
}

// cut shortens what is too long for a line.
func cut(text string) string {
	if utf8.RuneCountInString(text) <= maxLine {
		return text
	}
	return string([]rune(text)[:maxLine-3]) + "..."
}

// source says who testifies, to go behind "the".
func source(from string) string {
	switch from {
	case "":
		return "server"
	case "people":
		return "people who approve"
	}
	return from
}

// clock is the minute of a day as clocks show it, in brackets.
func clock(v client.Input) string {
	n, err := strconv.Atoi(v.Value)
	if err != nil || n < 0 || n >= 24*60 || !strings.HasPrefix(v.Name, "context.zones.") || !strings.HasSuffix(v.Name, ".minute") {
		return ""
	}
	return fmt.Sprintf(" (%02d:%02d)", n/60, n%60)
}

// unlocking is what would have to be different, empty when nothing would.
func unlocking(e *client.Explanation) []string {
	permits := map[string]bool{}
	for i := range e.Policies {
		permits[e.Policies[i].ID] = e.Policies[i].Effect == "permit"
	}
	var forbids, grants []client.Unlock
	for _, u := range e.Unlock {
		if permits[u.Policy] {
			grants = append(grants, u)
		} else {
			forbids = append(forbids, u)
		}
	}
	out := ways("To unlock it:", "To unlock it, all of these:", forbids)
	return append(out, ways("No policy permits it. The nearest one:", "No policy permits it. One of these, the nearest, would do:", grants)...)
}

func ways(one, many string, unlock []client.Unlock) []string {
	if len(unlock) == 0 {
		return nil
	}
	out := []string{"", one}
	if len(unlock) > 1 {
		out[1] = many
	}
	for _, u := range unlock {
		head := u.Words
		if u.Policy != "" {
			head = u.Policy + ": " + u.Words
		}
		out = append(out, "  "+head)
		for i, way := range u.Ways {
			var changes []string
			for _, c := range way {
				text := c.Text
				if !c.Want {
					text = "not: " + text
				}
				changes = append(changes, cut(text))
			}
			lead := "    "
			if i > 0 {
				lead = "    or "
			}
			out = append(out, lead+strings.Join(changes, ", and "))
		}
	}
	return out
}
