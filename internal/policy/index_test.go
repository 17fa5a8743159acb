package policy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

// reference answers q the slow way: every policy, every attribute, every
// parent, by cedar-go alone.
func reference(s *Set, q *nhi.Question) (types.Decision, []string, []string) {
	policies := cedar.NewPolicySet()
	for _, r := range s.rules {
		policies.Add(r.id, r.policy)
	}
	entities, request := world(s, q)
	decision, d := cedar.Authorize(policies, entities, request)
	var reasons, errs []string
	for _, r := range d.Reasons {
		reasons = append(reasons, string(r.PolicyID))
	}
	for _, e := range d.Errors {
		errs = append(errs, string(e.PolicyID))
	}
	slices.Sort(reasons)
	slices.Sort(errs)
	return decision, reasons, errs
}

// world is q as anybody would ask Cedar: every entity and attribute there is.
func world(s *Set, q *nhi.Question) (types.EntityMap, types.Request) {
	var full request.Request
	action, _ := request.ActionIndex(q.Action)
	full.Ask(s.request.Whole(), q, action)
	entities := types.EntityMap{}
	for uid, parents := range map[types.EntityUID]types.EntityUIDSet{
		full.Principal:  types.NewEntityUIDSet(full.Identity, full.IdentityEnvironment),
		full.Resource:   types.NewEntityUIDSet(full.ResourceEnvironment),
		full.Credential: {},
	} {
		known, _ := full.Get(uid)
		entities[uid] = types.Entity{UID: uid, Attributes: known.Attributes, Parents: parents}
	}
	for _, a := range request.ActionEntities {
		entities[a.UID] = a
	}
	asked := full.Cedar()
	asked.Context = reckoned(s, q, asked.Context)
	return entities, asked
}

// reckoned is a context with the numbers that are reckoned out of times, done another
// way.
func reckoned(s *Set, q *nhi.Question, context types.Record) types.Record {
	m := context.Map()
	m["now"] = types.NewDatetimeFromMillis(q.At.Unix()*1000 + int64(q.At.Nanosecond())/1e6)
	if a := q.Known.Attestation; a != nil {
		nanos := func(at time.Time) *big.Int {
			n := new(big.Int).Mul(big.NewInt(at.Unix()), big.NewInt(1e9))
			return n.Add(n, big.NewInt(int64(at.Nanosecond())))
		}
		age := new(big.Int).Sub(nanos(q.At), nanos(a.At))
		switch most := big.NewInt(math.MaxInt64); {
		case age.Sign() < 0:
			age.SetInt64(0)
		case age.Cmp(most) > 0:
			age = most
		}
		told := m["attestation"].(types.Record).Map()
		told["age"] = types.Long(age.Add(age, big.NewInt(1e9-1)).Div(age, big.NewInt(1e9)).Int64())
		m["attestation"] = types.NewRecord(told)
	}
	zones := types.RecordMap{}
	for _, z := range s.request.Zones() {
		at := q.At.In(z.At)
		hour, minute, _ := at.Clock()
		weekday := int64(at.Weekday())
		zones[z.Name] = types.NewRecord(types.RecordMap{
			"minute": types.Long(60*hour + minute), "weekday": types.Long((weekday+6)%7 + 1), "date": types.String(at.Format("2006-01-02")),
		})
	}
	m["zones"] = types.NewRecord(zones)
	return types.NewRecord(m)
}

// sliced answers q by the index, down to Cedar's own diagnostic.
func sliced(s *Set, q *nhi.Question) (types.Decision, []string, []string) {
	action, _ := request.ActionIndex(q.Action)
	e := newEvaluation(s)
	e.Ask(s.request, q, action)
	e.find(action)
	decision, d := cedar.Authorize(e, e, e.Cedar())
	var reasons, errs []string
	for _, r := range d.Reasons {
		reasons = append(reasons, string(r.PolicyID))
	}
	for _, err := range d.Errors {
		errs = append(errs, string(err.PolicyID))
	}
	slices.Sort(reasons)
	slices.Sort(errs)
	return decision, reasons, errs
}

func pickOne[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// randomPolicies writes n policies that name a small world, so that they
// often match and often nearly match.
func randomPolicies(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		principal := pickOne(r, "principal", "principal", "principal is Workload", "principal is Role",
			`principal in Identity::"nhi_1"`, `principal in Identity::"nhi_2"`, `principal in Environment::"prod"`,
			`principal is Workload in Environment::"test"`, `principal is Role in Identity::"nhi_1"`)
		action := pickOne(r, "action", `action == Action::"read"`, `action in [Action::"read", Action::"write"]`,
			`action in Action::"any"`, `action in [Action::"any"]`, `action == Action::"issue"`)
		resource := pickOne(r, "resource", "resource", "resource is Resource", `resource == Resource::"r1"`,
			`resource == Resource::"r2"`, `resource in Environment::"prod"`, `resource is Resource in Environment::"test"`)
		condition := pickOne(r, "", "", "when { context.newNetwork }", "unless { principal.owned }",
			"when { resource.sensitivity >= 3 }", `when { context.credential == Credential::"crd_1" }`,
			`when { principal in [Identity::"nhi_1", Identity::"nhi_3"] }`, `when { principal in Environment::"prod" }`,
			`when { context.country == "DE" || context.asn > 5 }`, `when { [context].contains(context) && context.rate > 2 }`,
			`when { context.surprise * 9223372036854775807 > 5 }`, "when { context.surprise >= 100 || context.rate == 7 }", "unless { 40 <= principal.risk && 3 != context.rate }", `when { context.now > datetime("2024-01-01") }`,
			`when { context has address && context.address.isInRange(ip("10.0.0.0/8")) }`,
			`when { (if context.newAction then resource else resource).labelled }`,
			`when { resource in Environment::"prod" && context.credential.state == "active" }`,
			`when { resource == Resource::"r1" && Resource::"r1".sensitivity > 2 }`,
			`unless { context has attestation && context.attestation.age <= 60 && context.attestation.selectors.contains("a:b") }`,
			`when { context.location has cluster && context.location.cluster == "c1" }`, `when { context has device && context.device.attested }`,
			`when { context has purpose && ["billing", "x"].contains(context.purpose) }`, `unless { context has approval && context.approval.people >= 2 }`,
			`when { context.delegation.depth > 1 || context.delegation.actors.contains(Identity::"nhi_3") }`,
			`when { context.zones["Europe/Berlin"].minute > 700 && context.zones["UTC"].weekday < 4 }`, `when { context.location == context.location && context.zones["Asia/Tokyo"].date == "2025-01-01" }`)
		if r.IntN(3) == 0 {
			condition = pickOne(r, "when", "unless") + " { " + randomCondition(r, 2) + " }"
		}
		step := ""
		effect := pickOne(r, "permit", "permit", "forbid")
		if effect == "forbid" && r.IntN(2) == 0 {
			step = ` @stepup("bind")`
		}
		fmt.Fprintf(&b, "@id(\"p%d\")%s %s (%s, %s, %s) %s;\n", i, step, effect, principal, action, resource, condition)
	}
	return b.String()
}

func randomQuestion(r *rand.Rand) *nhi.Question {
	b := func() bool { return r.IntN(2) == 0 }
	env := func() nhi.Environment {
		return pickOne(r, nhi.Environment{Name: "prod", Class: nhi.Production}, nhi.Environment{Name: "test", Class: nhi.Nonproduction}, nhi.Environment{})
	}
	q := &nhi.Question{
		Subject: nhi.Attested{
			Identity:   pickOne[nhi.ID](r, "nhi_1", "nhi_2", "nhi_3"),
			Credential: pickOne[nhi.CredentialID](r, "crd_1", "crd_2", ""),
			Assurance:  nhi.Assurance(r.IntN(4)), SenderBound: b(), Asserted: b(),
		},
		Action: pickOne(r, nhi.Read, nhi.Write, nhi.Issue, nhi.Delete), Resource: pickOne(r, "r1", "r2", "r3"),
		At: time.Unix(int64(1_600_000_000+r.IntN(300_000_000)), 0),
	}
	for range r.IntN(3) {
		q.Subject.Actors = append(q.Subject.Actors, pickOne[nhi.ID](r, "nhi_2", "nhi_3"))
	}
	q.Known = nhi.Known{
		Identity: b(), Kind: pickOne(r, nhi.KindWorkload, nhi.KindRole, nhi.KindUnknown), IdentityState: pickOne(r, nhi.Active, nhi.Quarantined),
		Owned: b(), IdentityEnvironment: env(), Risk: r.IntN(101),
		Credential: b(), CredentialState: pickOne(r, nhi.CredentialActive, nhi.CredentialNarrowed, nhi.CredentialSuspended),
		Resource: b(), Sensitivity: r.IntN(5), ResourceEnvironment: env(), Country: pickOne(r, "DE", "US", ""), ASN: uint32(r.IntN(9)),
		NewNetwork: b(), NewAction: b(), Surprise: r.IntN(3) * 100, RateHundreds: r.IntN(5),
	}
	q.Known.Purpose = pickOne(r, "", "billing", "payroll")
	if b() {
		q.Known.Attestation = &nhi.Attestation{
			At: q.At.Add(-time.Duration(r.IntN(120)) * time.Second), Selectors: pickOne(r, nil, []string{"a:b"}),
			Location: nhi.Location{Cluster: pickOne(r, "", "c1", "c2")}, Device: pickOne(r, nhi.Device{}, nhi.Device{ID: "d"}, nhi.Device{ID: "d", Attested: true}),
		}
	}
	if b() {
		q.Known.Approval = &nhi.Approval{ID: "apr_1", Expires: q.At.Add(time.Minute), Votes: make([]nhi.Vote, r.IntN(3))}
		for i := range q.Known.Approval.Votes {
			q.Known.Approval.Votes[i] = nhi.Vote{Person: fmt.Sprint("p", i), Yes: b()}
		}
	}
	fill(r, q)
	return q
}

func TestTheIndexAnswersLikeAFullScan(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	counts := map[types.Decision]int{}
	for range 60 {
		set, err := Load(DefaultSettings(), map[string]string{"x.cedar": randomPolicies(r, 1+r.IntN(60))})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range 60 {
			q := randomQuestion(r)
			wantDecision, wantReasons, wantErrors := reference(set, q)
			gotDecision, gotReasons, gotErrors := sliced(set, q)
			counts[gotDecision]++
			if gotDecision != wantDecision || !slices.Equal(gotReasons, wantReasons) || !slices.Equal(gotErrors, wantErrors) {
				t.Fatalf("seed %d, question %+v:\ndecision %v, want %v\nreasons %v\nwant    %v\nerrors %v\nwant   %v\n%s", seed, q,
					gotDecision, wantDecision, gotReasons, wantReasons, gotErrors, wantErrors, set.files["x.cedar"])
			}
			// The pooled path says the same twice over.
			if diff := cmp.Diff(set.Evaluate(q), set.Evaluate(q)); diff != "" {
				t.Fatalf("seed %d: two evaluations differ:\n%s", seed, diff)
			}
			if ruling := set.Evaluate(q); (ruling.Outcome == nhi.Allow) != (wantDecision == types.Allow) && ruling.Errors == 0 {
				t.Fatalf("seed %d: outcome %s, Cedar says %v", seed, ruling.Outcome, wantDecision)
			}
		}
	}
	if counts[types.Allow] == 0 || counts[types.Deny] == 0 {
		t.Errorf("the random world is one-sided: %v", counts)
	}
}

func TestAnotherCredentialsStateIsNotTakenForThePresentedOnes(t *testing.T) {
	// A policy may name a credential that was not presented; its attributes
	// are unknown here, and a forbid that asks for them must deny.
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("other") forbid (principal, action, resource) when { Credential::"crd_other".state == "suspended" };`})
	got := set.Evaluate(usual())
	if got.Outcome != nhi.Deny || got.Errors != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestAnActionThatIsNotAskedForIsWhatItIs: a policy may name another action than
// the request's, and that one is in any as well.
func TestAnActionThatIsNotAskedForIsWhatItIs(t *testing.T) {
	set := mustLoad(t, DefaultSettings(), map[string]string{"x.cedar": `
@id("other") forbid (principal, action, resource) when { Action::"delete" in Action::"any" && !(Action::"delete" in action) };`})
	if got := set.Evaluate(usual()); got.Outcome != nhi.Deny || got.Errors > 0 {
		t.Errorf("got %+v", got)
	}
}

// benchmarkPolicies writes n grants, six in ten for one identity and one
// resource, three for an environment, one for a resource.
func benchmarkPolicies(n int) map[string]string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "@id(\"g%d\") permit (", i)
		switch {
		case i%10 < 6:
			fmt.Fprintf(&b, "principal in Identity::\"nhi_%d\", action == Action::\"read\", resource == Resource::\"r%d\")", i, i%97)
		case i%10 < 9:
			fmt.Fprintf(&b, "principal in Environment::\"e%d\", action, resource == Resource::\"r%d\")", i%211, i)
		default:
			fmt.Fprintf(&b, "principal, action in [Action::\"read\", Action::\"list\"], resource == Resource::\"r%d\")", i)
		}
		b.WriteString(" when { context.assurance >= 0 && principal.risk < 50 };\n")
	}
	return map[string]string{"grants.cedar": b.String()}
}

func benchmarkQuestions(n int) []*nhi.Question {
	out := make([]*nhi.Question, n)
	for i := range out {
		q := usual()
		q.Subject.Identity = nhi.ID(fmt.Sprintf("nhi_%d", i))
		q.Resource = fmt.Sprintf("r%d", i%97)
		q.Known.Risk, q.Known.Surprise, q.Known.RateHundreds = i%40, (i*7)%120, i
		q.Known.IdentityEnvironment.Name = fmt.Sprintf("e%d", i%211)
		out[i] = q
	}
	return out
}

// timed are policies as most sets have some: about the hours, the time and how
// old an attestation is.
const timed = `
@id("hours") forbid (principal, action == Action::"delete", resource) unless { context.zones["Europe/Berlin"].minute >= 480 && context.zones["Europe/Berlin"].weekday <= 5 };
@id("until") forbid (principal, action, resource) when { context.now >= datetime("2040-01-01") };
@id("old") @stepup("reattest") forbid (principal, action, resource) when { context has attestation && context.attestation.age > 31536000 };`

var sink nhi.Ruling

func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000} {
		set := mustLoad(b, DefaultSettings(), benchmarkPolicies(n))
		varied := benchmarkQuestions(5_000)
		b.Run(fmt.Sprintf("warm/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			start := cpuTime()
			defer func() { reportCPU(b, start) }()
			for b.Loop() {
				sink = set.Evaluate(varied[0])
			}
		})
		b.Run(fmt.Sprintf("varied/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			start := cpuTime()
			defer func() { reportCPU(b, start) }()
			for i := 0; b.Loop(); i++ {
				sink = set.Evaluate(varied[i%len(varied)])
			}
		})
		b.Run(fmt.Sprintf("timed/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			files := benchmarkPolicies(n)
			files["timed.cedar"] = timed
			set, q := mustLoad(b, DefaultSettings(), files), benchmarkQuestions(1)[0]
			start := cpuTime()
			defer func() { reportCPU(b, start) }()
			for b.Loop() {
				q.At = q.At.Add(time.Millisecond)
				sink = set.Evaluate(q)
			}
		})
		b.Run(fmt.Sprintf("afresh/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			start := cpuTime()
			defer func() { reportCPU(b, start) }()
			e := newEvaluation(set)
			for i := 0; b.Loop(); i++ {
				e.Ask(set.request, varied[i%len(varied)], 0)
				sink = e.evaluate(0)
			}
		})
		b.Run(fmt.Sprintf("cedar-scan/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			start := cpuTime()
			defer func() { reportCPU(b, start) }()
			all := cedar.NewPolicySet()
			for _, r := range set.rules {
				all.Add(r.id, r.policy)
			}
			e := newEvaluation(set)
			for b.Loop() {
				e.Ask(set.request, varied[0], 0)
				cedar.Authorize(all, e, e.Cedar())
			}
		})
	}
}

// TestASetAfterAnotherIsTheSetByItself changes files again and again: what is
// taken over from the set before must make no difference.
func TestASetAfterAnotherIsTheSetByItself(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	files := map[string]string{}
	file := func(i int) string {
		return strings.ReplaceAll(randomPolicies(r, 1+r.IntN(5)), `@id("p`, fmt.Sprintf(`@id("f%d-p`, i))
	}
	for i := range 30 {
		files[fmt.Sprintf("f%d.cedar", i)] = file(i)
	}
	h, err := NewHolder(DefaultSettings(), maps.Clone(files))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	taken := 0
	for round := range 80 {
		before := h.Set()
		settings := DefaultSettings()
		switch i := r.IntN(30); r.IntN(6) {
		case 0:
			delete(files, fmt.Sprintf("f%d.cedar", i))
		case 1:
			settings.RiskDeny = r.IntN(101)
		default:
			files[fmt.Sprintf("f%d.cedar", i)] = "// moved\n" + file(i)
		}
		if err := errors.Join(h.Configure(settings), h.Replace(maps.Clone(files))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got := h.Set()
		want, err := Load(settings, files)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(want.Policies(), got.Policies()); diff != "" || want.Digest() != got.Digest() {
			t.Fatalf("seed %d, round %d: (-by itself +after another):\n%s", seed, round, diff)
		}
		for id, rule := range got.byID {
			if before.byID[id] == rule {
				taken++
			}
		}
		for range 30 {
			q := randomQuestion(r)
			if diff := cmp.Diff(want.Evaluate(q), got.Evaluate(q)); diff != "" {
				t.Fatalf("seed %d, round %d: (-by itself +after another):\n%s", seed, round, diff)
			}
			d, reasons, errs := reference(want, q)
			if gd, gr, ge := sliced(got, q); gd != d || !slices.Equal(gr, reasons) || !slices.Equal(ge, errs) {
				t.Fatalf("seed %d, round %d: %v %v %v, want %v %v %v", seed, round, gd, gr, ge, d, reasons, errs)
			}
		}
	}
	if taken == 0 {
		t.Error("nothing was taken over")
	}
	if err := h.Replace(map[string]string{"f0.cedar": "permit"}); err == nil || h.Replace(map[string]string{
		"a.cedar": `@id("x") permit (principal, action, resource == Resource::"r");`, "b.cedar": `@id("x") permit (principal, action, resource == Resource::"r");`,
	}) == nil {
		t.Error("a bad set was put in force")
	}
}

// BenchmarkReload changes one file of a thousand with ten policies each.
func BenchmarkReload(b *testing.B) {
	files := map[string]string{}
	for i := range 1000 {
		var text strings.Builder
		for n := range 10 {
			fmt.Fprintf(&text, "@id(\"f%d-%d\") permit (principal in Identity::\"nhi_%d\", action, resource == Resource::\"r%d\") when { principal.risk < 50 };\n", i, n, i, n)
		}
		files[fmt.Sprintf("f%d.cedar", i)] = text.String()
	}
	h, err := NewHolder(DefaultSettings(), files)
	if err != nil {
		b.Fatal(err)
	}
	text := files["f500.cedar"]
	b.ReportAllocs()
	for b.Loop() {
		files = maps.Clone(files)
		text += "// again\n"
		files["f500.cedar"] = text
		if err := h.Replace(files); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	files := benchmarkPolicies(1_000)
	b.ReportAllocs()
	for b.Loop() {
		mustLoad(b, DefaultSettings(), files)
	}
}
