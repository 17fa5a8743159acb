package bench

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// guards.rego says in Rego what Muster's built-in guards say in Cedar, with
// the numbers of the default settings.
//
//go:embed guards.rego
var guards string

// grants writes n policies of the same meaning in both languages, besides the
// guards: six in ten name one identity and one resource, three an environment,
// one a resource alone. Rego gets them in the form that OPA's rule index can
// use: plain equalities, one value each.
func grants(n int) (cedar, regoText string) {
	var c, r strings.Builder
	for i := range n {
		name, res := fmt.Sprintf("g%d", i), fmt.Sprintf("r%d", i)
		tail := "  input.context.assurance >= 0\n  input.principal.risk < 50\n}\n"
		switch {
		case i%10 < 6:
			res = fmt.Sprintf("r%d", i%97)
			fmt.Fprintf(&c, "@id(%q) permit (principal in Identity::\"nhi_%d\", action == Action::\"read\", resource == Resource::%q)", name, i, res)
			fmt.Fprintf(&r, "permit contains %q if {\n  input.principal.id == \"nhi_%d\"\n  input.action == \"read\"\n  input.resource.name == %q\n%s", name, i, res, tail)
		case i%10 < 9:
			fmt.Fprintf(&c, "@id(%q) permit (principal in Environment::\"e%d\", action, resource == Resource::%q)", name, i%211, res)
			fmt.Fprintf(&r, "permit contains %q if {\n  input.principal.environment == \"e%d\"\n  input.resource.name == %q\n%s", name, i%211, res, tail)
		default:
			fmt.Fprintf(&c, "@id(%q) permit (principal, action == Action::\"read\", resource == Resource::%q)", name, res)
			fmt.Fprintf(&r, "permit contains %q if {\n  input.action == \"read\"\n  input.resource.name == %q\n%s", name, res, tail)
		}
		c.WriteString(" when { context.assurance >= 0 && principal.risk < 50 };\n")
	}
	return c.String(), r.String()
}

// questions are n requests of as many identities; every seventh is unusual.
func questions(n int) []*nhi.Question {
	out := make([]*nhi.Question, n)
	for i := range out {
		q := &nhi.Question{
			Subject: nhi.Attested{Identity: nhi.ID(fmt.Sprintf("nhi_%d", i)), Credential: nhi.NewCredentialID("muster", "", "k"), Method: "api-key"},
			Action:  nhi.Read, Resource: fmt.Sprintf("r%d", i%97), At: time.Unix(1_780_000_000, 0),
			Known: nhi.Known{
				Identity: true, Kind: nhi.KindWorkload, IdentityState: nhi.Active, Owned: i%11 != 0, Risk: i % 40,
				IdentityEnvironment: nhi.Environment{Name: fmt.Sprintf("e%d", i%211), Class: nhi.Production},
				Credential:          true, CredentialState: nhi.CredentialActive,
				Resource: true, Sensitivity: i % 4, ResourceEnvironment: nhi.Environment{Name: "prod", Class: nhi.Production},
				Surprise: i * 7 % 120, RateHundreds: i,
			},
		}
		if i%7 == 0 {
			q.Known.NewNetwork, q.Known.Surprise = true, 190
		}
		out[i] = q
	}
	return out
}

// input is a question as OPA sees it. The values are made ready beforehand,
// which a server could not do; Muster makes its own from the question every
// time.
func input(q *nhi.Question) (ast.Value, error) {
	k := &q.Known
	return ast.InterfaceToValue(map[string]any{
		"action": string(q.Action),
		"principal": map[string]any{
			"id": string(q.Subject.Identity), "known": k.Identity, "state": string(k.IdentityState), "owned": k.Owned, "risk": k.Risk,
			"environment": k.IdentityEnvironment.Name, "class": string(k.IdentityEnvironment.Class),
		},
		"resource": map[string]any{"name": q.Resource, "sensitivity": k.Sensitivity, "class": string(k.ResourceEnvironment.Class)},
		"context": map[string]any{
			"assurance": int(q.Subject.Assurance), "senderBound": q.Subject.SenderBound, "newNetwork": k.NewNetwork, "newCountry": k.NewCountry,
			"newAction": k.NewAction, "surprise": k.Surprise,
			"credential": map[string]any{
				"known": k.Credential, "state": string(k.CredentialState), "pinned": k.Pinned, "consumerProven": k.ConsumerProven,
				"expired": k.Expired, "revoked": k.Revoked,
			},
		},
	})
}

// clock never matches. It reckons with the time, so that no ruling is remembered.
const clock = `@id("clock") forbid (principal, action, resource) when { context.now.offset(duration("1d")) < datetime("2000-01-01") };`

// A pair is both engines with the same policies.
type pair struct {
	muster *policy.Set
	anew   *policy.Set // which asks Cedar each time
	opa    rego.PreparedEvalQuery
}

func newPair(tb testing.TB, n int) pair {
	tb.Helper()
	cedar, text := grants(n)
	set, err := policy.Load(policy.DefaultSettings(), map[string]string{"grants.cedar": cedar})
	if err != nil {
		tb.Fatal(err)
	}
	anew, err := policy.Load(policy.DefaultSettings(), map[string]string{"grants.cedar": cedar, "clock.cedar": clock})
	if err != nil {
		tb.Fatal(err)
	}
	query, err := rego.New(rego.Query("data.muster.ruling"), rego.Module("guards.rego", guards),
		rego.Module("grants.rego", "package muster\n"+text)).PrepareForEval(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return pair{set, anew, query}
}

func (p pair) ask(ctx context.Context, in ast.Value) (string, error) {
	results, err := p.opa.Eval(ctx, rego.EvalParsedInput(in))
	if err != nil {
		return "", err
	}
	if len(results) != 1 {
		return "", fmt.Errorf("%d results", len(results))
	}
	ruling, _ := results[0].Expressions[0].Value.(map[string]any)
	outcome, _ := ruling["outcome"].(string)
	return outcome, nil
}

// A comparison is worth something only if both sides answer the same question.
func TestBothEnginesSayTheSame(t *testing.T) {
	p := newPair(t, 100)
	seen := map[nhi.Outcome]int{}
	for i, q := range questions(300) {
		in, err := input(q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.ask(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		want := p.muster.Evaluate(q).Outcome
		if got != string(want) {
			t.Errorf("question %d: OPA says %s, Muster %s", i, got, want)
		}
		seen[want]++
	}
	if len(seen) < 3 {
		t.Errorf("the questions are one-sided: %v", seen)
	}
}

func BenchmarkPolicy(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		p := newPair(b, n)
		qs := questions(500)
		inputs := make([]ast.Value, len(qs))
		for i, q := range qs {
			in, err := input(q)
			if err != nil {
				b.Fatal(err)
			}
			inputs[i] = in
		}
		var ours, anew, theirs float64
		b.Run(fmt.Sprintf("muster/%d", n), func(b *testing.B) {
			measure(b, &ours, func(i int) { p.muster.Evaluate(qs[i%len(qs)]) })
		})
		// What it takes to evaluate each time is measured apart.
		b.Run(fmt.Sprintf("muster-anew/%d", n), func(b *testing.B) {
			measure(b, &anew, func(i int) { p.anew.Evaluate(qs[i%len(qs)]) })
		})
		b.Run(fmt.Sprintf("opa/%d", n), func(b *testing.B) {
			measure(b, &theirs, func(i int) {
				if _, err := p.ask(b.Context(), inputs[i%len(inputs)]); err != nil {
					b.Fatal(err)
				}
			})
			if ours > 0 && anew > 0 {
				b.ReportMetric(theirs/ours, "times-muster")
				b.ReportMetric(theirs/anew, "times-muster-anew")
			}
		})
	}
}
