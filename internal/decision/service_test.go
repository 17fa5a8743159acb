package decision_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/surprise"
)

// memory is a Journal in memory that can be told to fail.
type memory struct {
	mu      sync.Mutex
	records [][]byte // guarded by mu
	waited  int      // guarded by mu
	fail    error    // guarded by mu
}

func (m *memory) Append(record []byte) error { return m.add(record, 1) }

func (m *memory) AppendAsync(record []byte) error { return m.add(record, 0) }

func (m *memory) add(record []byte, waited int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.records = append(m.records, slices.Clone(record))
	m.waited += waited
	return nil
}

// nowhere is a Journal that forgets, for benchmarks.
type nowhere struct{}

func (nowhere) Append([]byte) error      { return nil }
func (nowhere) AppendAsync([]byte) error { return nil }

// pages are decision.Pages in a map.
type pages map[nhi.ID]*surprise.Page

func (p pages) Page(id nhi.ID) *surprise.Page { return p[id] }

func change(t testing.TB, seq nhi.Generation, subject nhi.Subject, key string, v any) nhi.Change {
	t.Helper()
	payload, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return nhi.Change{Seq: seq, Subject: subject, Key: key, Version: 1, Payload: payload}
}

func apply(t testing.TB, f *facts.Facts, changes ...nhi.Change) {
	t.Helper()
	if err := f.Apply(changes); err != nil {
		t.Fatal(err)
	}
}

func identityN(n int) nhi.ID { return nhi.IdentityID("aws", "1", fmt.Sprint("i", n)) }

func credentialN(n int) nhi.CredentialID { return nhi.NewCredentialID("aws", "1", fmt.Sprint("c", n)) }

func someCredential(n, of int) nhi.Credential {
	verifier := make([]byte, 32)
	verifier[0], verifier[1], verifier[2], verifier[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return nhi.Credential{
		ID: credentialN(n), Identity: identityN(of), Kind: nhi.CredentialAPIKey, PublicID: fmt.Sprintf("key%09d", n),
		Verifier: verifier, State: nhi.CredentialActive,
	}
}

// world is a Service over a small company.
type world struct {
	facts   *facts.Facts
	journal *memory
	log     *logbook.Log
	service *decision.Service
	config  decision.Config
	pages   pages
}

var (
	office     = netip.MustParseAddr("192.0.2.7")
	enforcing  = nhi.Point{ID: "nhi_enforcing", KeyID: "p1", Mode: nhi.Enforce, Percent: 100}
	observing  = nhi.Point{ID: "nhi_observing", KeyID: "p2", Mode: nhi.Observe}
	production = nhi.Environment{Name: "prod", Class: nhi.Production}
)

type everywhere geo.Place

func (e everywhere) Lookup(netip.Addr) geo.Place { return geo.Place(e) }

func newWorld(t testing.TB, change func(*decision.Config)) *world {
	t.Helper()
	w := &world{facts: facts.New(), journal: &memory{}, pages: pages{}}
	owned := func(n int) nhi.Identity {
		return nhi.Identity{ID: identityN(n), Kind: nhi.KindWorkload, State: nhi.Active, Environment: production, Owner: nhi.Owner{Ref: "team:pay"}}
	}
	merged := owned(3)
	merged.Alias = identityN(1)
	err := w.facts.Load(1, facts.State{
		Identities:  []nhi.Identity{owned(1), owned(2), merged},
		Credentials: []nhi.Credential{someCredential(1, 1), someCredential(2, 2), someCredential(3, 3)},
		Resources: []nhi.Resource{
			{Name: "low", Sensitivity: 1, Environment: production}, {Name: "mid", Sensitivity: 2, Environment: production},
			{Name: "high", Sensitivity: 4, Environment: production, Jurisdiction: "EU"}, {Name: "test", Environment: nhi.Environment{Name: "t", Class: nhi.Nonproduction}},
			{Name: "assumed", Assumed: true, Environment: production},
		},
		Points: []nhi.Point{enforcing, observing},
	})
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.NewHolder(policy.DefaultSettings(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.log = logbook.New(w.journal, 64)
	c := decision.Config{Facts: w.facts, Policies: policies, Log: w.log, Pages: w.pages, Places: everywhere{Country: "DE", ASN: 64500, Organization: "Example"}}
	if change != nil {
		change(&c)
	}
	w.config = c
	if w.service, err = decision.NewService(c); err != nil {
		t.Fatal(err)
	}
	return w
}

// ask is a plain request of identity 1 with its key.
func ask(changes ...func(*nhi.Question)) *nhi.Question {
	q := &nhi.Question{
		Point: enforcing.ID, Action: nhi.Read, Operation: "GET /x", Resource: "mid", Address: office, Agent: "curl/8.1", At: time.Now(),
		Subject: nhi.Attested{Identity: identityN(1), Credential: credentialN(1), KeyID: "key000000001", Method: "api-key"},
	}
	for _, c := range changes {
		c(q)
	}
	return q
}

func observed(q *nhi.Question) { q.Point = observing.ID }

// because lists the policies that decided.
func because(d nhi.Decision) []string {
	var out []string
	for _, r := range d.Reasons {
		out = append(out, r.Policy)
	}
	return out
}

func TestDecide(t *testing.T) {
	bound := func(q *nhi.Question) { q.Subject.SenderBound, q.Subject.Assurance = true, nhi.AssuranceAttested }
	on := func(resource string) func(*nhi.Question) { return func(q *nhi.Question) { q.Resource = resource } }
	for _, tt := range []struct {
		name    string
		ask     []func(*nhi.Question)
		want    nhi.Outcome
		because []string
	}{
		{"a usual request is allowed", nil, nhi.Allow, []string{"base-permit"}},
		{"a stranger is denied", []func(*nhi.Question){func(q *nhi.Question) { q.Subject = nhi.Attested{Identity: identityN(77)} }}, nhi.Deny, []string{"unknown-subject"}},
		{"nobody is denied", []func(*nhi.Question){func(q *nhi.Question) { q.Subject = nhi.Attested{} }}, nhi.Deny, []string{"unknown-subject"}},
		{"an action that is not known is denied", []func(*nhi.Question){func(q *nhi.Question) { q.Action = "fly" }}, nhi.Deny, []string{"action-unknown"}},
		{"no action is denied", []func(*nhi.Question){func(q *nhi.Question) { q.Action = "" }}, nhi.Deny, []string{"action-unknown"}},
		{"no resource is denied", []func(*nhi.Question){on("")}, nhi.Deny, []string{"resource-none"}},
		{"a resource nobody labelled has sensitivity 2", []func(*nhi.Question){on("unheard-of")}, nhi.Allow, []string{"base-permit"}},
		{"a resource in production that nobody labelled has sensitivity 3", []func(*nhi.Question){on("assumed")}, nhi.StepUp, []string{"assurance-too-low"}},
		{"a route raises the sensitivity", []func(*nhi.Question){func(q *nhi.Question) { q.RouteSensitivity = 3 }}, nhi.StepUp, []string{"assurance-too-low"}},
		{"a route never lowers the sensitivity", []func(*nhi.Question){on("high"), func(q *nhi.Question) { q.RouteSensitivity = 1 }}, nhi.StepUp, []string{"assurance-too-low"}},
		{"a bound caller reaches what is sensitive", []func(*nhi.Question){bound, on("high")}, nhi.Allow, []string{"base-permit"}},
		{"production does not cross", []func(*nhi.Question){on("test")}, nhi.Deny, []string{"environment-crossing"}},
		{"a credential that was removed is dead", []func(*nhi.Question){func(q *nhi.Question) { q.Subject.Credential = credentialN(50) }}, nhi.Deny, []string{"credential-unknown-state"}},
		{"somebody else's credential is dead", []func(*nhi.Question){func(q *nhi.Question) { q.Subject.Credential = credentialN(2) }}, nhi.Deny, []string{"credential-unknown-state"}},
		{"an expired token is denied", []func(*nhi.Question){bound, func(q *nhi.Question) {
			q.Subject.Credential, q.Subject.Expires = "", time.Now().Add(-time.Second)
		}}, nhi.Deny, []string{"credential-expired"}},
		{"a question without a point is enforced", []func(*nhi.Question){on("test"), func(q *nhi.Question) { q.Point = "" }}, nhi.Deny, []string{"environment-crossing"}},
		{"a question of an unknown point is enforced", []func(*nhi.Question){on("test"), func(q *nhi.Question) { q.Point = "nhi_nobody" }}, nhi.Deny, []string{"environment-crossing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			d := w.service.Decide(context.Background(), ask(tt.ask...))
			if d.Outcome != tt.want || d.WouldRefuse {
				t.Errorf("outcome = %s (would refuse %v), want %s: %v", d.Outcome, d.WouldRefuse, tt.want, d.Reasons)
			}
			if diff := cmp.Diff(tt.because, because(d)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if d.ID == "" || d.At.IsZero() || d.Generation != 1 || d.Latency <= 0 {
				t.Errorf("id %q, at %v, generation %d, latency %v", d.ID, d.At, d.Generation, d.Latency)
			}
			if kept, ok := w.log.Get(d.ID); !ok || kept.Outcome != d.Outcome {
				t.Errorf("not in the log as given: %+v", kept)
			}
			if len(w.journal.records) != 1 {
				t.Fatalf("%d records in the journal", len(w.journal.records))
			}
			read, err := logbook.Decode(w.journal.records[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(d, read, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("record differs from the answer (-answer +record):\n%s", diff)
			}
		})
	}
}

func TestAPointThatObservesLetsPassWhatIsNotDead(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*nhi.Identity, *nhi.Credential, *nhi.Question)
		want   nhi.Outcome
		would  bool
	}{
		{"what is allowed anyway", func(*nhi.Identity, *nhi.Credential, *nhi.Question) {}, nhi.Allow, false},
		{"a crossing", func(_ *nhi.Identity, _ *nhi.Credential, q *nhi.Question) { q.Resource = "test" }, nhi.Allow, true},
		{"a step-up", func(_ *nhi.Identity, _ *nhi.Credential, q *nhi.Question) { q.Resource = "high" }, nhi.Allow, true},
		{"a stranger", func(_ *nhi.Identity, _ *nhi.Credential, q *nhi.Question) { q.Subject = nhi.Attested{} }, nhi.Allow, true},
		{"no route", func(_ *nhi.Identity, _ *nhi.Credential, q *nhi.Question) { q.Action, q.Resource = "", "" }, nhi.Allow, true},
		{"a narrowed key", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Question) { c.State = nhi.CredentialNarrowed }, nhi.Allow, true},
		{"a suspended key", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Question) { c.State = nhi.CredentialSuspended }, nhi.Deny, false},
		{"a revoked key", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Question) { c.State = nhi.CredentialRevoked }, nhi.Deny, false},
		{"a key of unknown state", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Question) { c.State = "zombie" }, nhi.Deny, false},
		{"an expired key", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Question) { c.Expires = time.Now().Add(-time.Hour) }, nhi.Deny, false},
		{"a quarantined identity", func(i *nhi.Identity, _ *nhi.Credential, _ *nhi.Question) { i.State = nhi.Quarantined }, nhi.Deny, false},
		{"a quarantined identity at no route", func(i *nhi.Identity, _ *nhi.Credential, q *nhi.Question) {
			i.State = nhi.Quarantined
			q.Action, q.Resource = "", ""
		}, nhi.Deny, false},
		{"a revoked token", func(i *nhi.Identity, _ *nhi.Credential, q *nhi.Question) {
			i.NotBefore = time.Now()
			q.Subject.Credential, q.Subject.IssuedAt = "", time.Now().Add(-time.Minute)
		}, nhi.Deny, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			i, _ := w.facts.Identity(identityN(1))
			c, _ := w.facts.Credential(credentialN(1))
			q := ask(observed)
			tt.change(&i, &c, q)
			apply(t, w.facts, change(t, 2, nhi.SubjectIdentity, "", i), change(t, 3, nhi.SubjectCredential, "", c))
			d := w.service.Decide(context.Background(), q)
			if d.Outcome != tt.want || d.WouldRefuse != tt.would {
				t.Errorf("outcome %s, would refuse %v; want %s, %v: %v", d.Outcome, d.WouldRefuse, tt.want, tt.would, d.Reasons)
			}
			if d.WouldRefuse && (len(d.Reasons) == 0 || len(d.Obligations) > 0) {
				t.Errorf("let pass with reasons %v and obligations %v", d.Reasons, d.Obligations)
			}
		})
	}
}

func TestANarrowedKeyNeedsItsConsumer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		consumer nhi.ID // of the credential
		proven   nhi.ID // by the request
		state    nhi.State
		want     nhi.Outcome
	}{
		{"the key alone", identityN(2), "", nhi.Active, nhi.StepUp},
		{"with its consumer", identityN(2), identityN(2), nhi.Active, nhi.Allow},
		{"with somebody else", identityN(2), identityN(1), nhi.Active, nhi.StepUp},
		{"with a quarantined consumer", identityN(2), identityN(2), nhi.Quarantined, nhi.StepUp},
		{"with a stranger", identityN(2), identityN(70), nhi.Active, nhi.StepUp},
		{"narrowed to itself, alone", "", "", nhi.Active, nhi.StepUp},
		{"narrowed to itself, attested", "", identityN(1), nhi.Active, nhi.Allow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c, _ := w.facts.Credential(credentialN(1))
			c.State, c.Consumer = nhi.CredentialNarrowed, tt.consumer
			i, _ := w.facts.Identity(identityN(2))
			i.State = tt.state
			apply(t, w.facts, change(t, 2, nhi.SubjectCredential, "", c), change(t, 3, nhi.SubjectIdentity, "", i))
			d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Subject.Consumer = tt.proven }))
			if d.Outcome != tt.want {
				t.Errorf("outcome = %s, want %s: %v", d.Outcome, tt.want, d.Reasons)
			}
			if tt.want == nhi.StepUp {
				if diff := cmp.Diff([]nhi.Obligation{{Kind: nhi.StepBind}}, d.Obligations); diff != "" {
					t.Errorf("obligations (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// What was cut off is not good for half a proof either: a leaked key beside a
// stolen token of its workload stays narrowed once that token is revoked.
func TestARevokedTokenBesideANarrowedKeyProvesNobody(t *testing.T) {
	issued := time.Now().Add(-time.Minute)
	for name, c := range map[string]nhi.Change{
		"the token":               change(t, 3, nhi.SubjectRevocation, "a", nhi.Revocation{Token: "jti", At: time.Now(), Expires: time.Now().Add(time.Hour)}),
		"its key":                 change(t, 3, nhi.SubjectRevocation, "b", nhi.Revocation{Key: "thumb", At: time.Now(), Expires: time.Now().Add(time.Hour)}),
		"all of its identity":     change(t, 3, nhi.SubjectRevocation, "c", nhi.Revocation{Identity: identityN(2), At: time.Now(), Expires: time.Now().Add(time.Hour)}),
		"all before, by identity": change(t, 3, nhi.SubjectIdentity, "", nhi.Identity{ID: identityN(2), State: nhi.Active, NotBefore: time.Now()}),
	} {
		t.Run(name, func(t *testing.T) {
			w := opened(t)
			key, _ := w.facts.Credential(credentialN(1))
			key.State, key.Consumer = nhi.CredentialNarrowed, identityN(2)
			beside := func(q *nhi.Question) {
				q.Subject.Consumer, q.Subject.ConsumerProof = identityN(2), nhi.Proof{KeyID: "jti", Thumbprint: "thumb", IssuedAt: issued}
			}
			apply(t, w.facts, change(t, 2, nhi.SubjectCredential, "", key))
			if d := w.service.Decide(context.Background(), ask(beside)); d.Outcome != nhi.Allow || !d.Consumer {
				t.Fatalf("before: %s: %v", d.Outcome, d.Reasons)
			}
			apply(t, w.facts, c)
			if d := w.service.Decide(context.Background(), ask(beside)); d.Outcome == nhi.Allow || d.Consumer || d.Glass != "" {
				t.Errorf("after: %s, consumer %v, glass %q: %v", d.Outcome, d.Consumer, d.Glass, d.Reasons)
			}
		})
	}
}

func TestAThiefsRiskDoesNotRefuseTheWorkloadThatProvesItself(t *testing.T) {
	w := newWorld(t, nil)
	c, _ := w.facts.Credential(credentialN(1))
	c.State, c.Risk = nhi.CredentialNarrowed, 95 // from what the thief tried
	apply(t, w.facts, change(t, 2, nhi.SubjectCredential, "", c))
	alone := w.service.Decide(context.Background(), ask())
	if alone.Outcome != nhi.Deny || alone.Risk != 95 || alone.Consumer {
		t.Errorf("the key alone: %s at risk %d %v", alone.Outcome, alone.Risk, because(alone))
	}
	proven := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Subject.Consumer = identityN(1) }))
	if proven.Outcome != nhi.Allow || proven.Risk != 0 || !proven.Consumer {
		t.Errorf("with its workload's attestation: %s at risk %d %v", proven.Outcome, proven.Risk, because(proven))
	}
	i, _ := w.facts.Identity(identityN(1))
	i.Risk = 95 // from what the workload itself did
	apply(t, w.facts, change(t, 3, nhi.SubjectIdentity, "", i))
	if own := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Subject.Consumer = identityN(1) })); own.Outcome != nhi.Deny {
		t.Errorf("a workload that is itself at risk: %s", own.Outcome)
	}
}

func TestAnAttestationIsTheCallersOrItsPinnedConsumers(t *testing.T) {
	own, beside := &nhi.Attestation{Method: "own"}, &nhi.Attestation{Method: "beside"}
	for _, tt := range []struct {
		name             string
		key              bool // a stored credential is presented
		pinned, consumer nhi.ID
		asserted         bool
		want             *nhi.Attestation
	}{
		{name: "a token", want: own},
		{name: "an asserted subject", asserted: true},
		{name: "a key that is not pinned", key: true},
		{name: "a key that is not pinned, with somebody beside it", key: true, consumer: identityN(2)},
		{name: "a pinned key alone", key: true, pinned: identityN(2)},
		{name: "a pinned key with its consumer", key: true, pinned: identityN(2), consumer: identityN(2), want: beside},
		{name: "a pinned key with somebody else", key: true, pinned: identityN(2), consumer: identityN(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c, _ := w.facts.Credential(credentialN(1))
			c.Consumer = tt.pinned
			apply(t, w.facts, change(t, 2, nhi.SubjectCredential, "", c))
			q := ask(func(q *nhi.Question) {
				s := &q.Subject
				s.Consumer, s.Attestation, s.ConsumerAttestation, s.Asserted = tt.consumer, own, beside, tt.asserted
				if !tt.key {
					s.Credential = ""
				}
			})
			w.service.Decide(context.Background(), q)
			if q.Known.Attestation != tt.want {
				t.Errorf("the attestation is %+v", q.Known.Attestation)
			}
		})
	}
}

func TestAPurposeIsWhatCredentialAndRouteSay(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct{ granted, routed, want string }{
		{"", "", ""}, {"billing", "", "billing"}, {"", "billing", "billing"}, {"billing", "billing", "billing"}, {"billing", "payroll", ""},
	} {
		q := ask(func(q *nhi.Question) { q.Subject.Purpose, q.RoutePurpose = tt.granted, tt.routed })
		w.service.Decide(context.Background(), q)
		if q.Known.Purpose != tt.want {
			t.Errorf("granted for %q on a route for %q: %q, want %q", tt.granted, tt.routed, q.Known.Purpose, tt.want)
		}
	}
	q := ask(func(q *nhi.Question) { q.Subject.Purpose, q.Subject.Asserted = "billing", true })
	if w.service.Decide(context.Background(), q); q.Known.Purpose != "" {
		t.Error("a point asserted what the request is for")
	}
}

func TestAMergedIdentityIsTheOneThatLivesOn(t *testing.T) {
	w := newWorld(t, nil)
	d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) {
		q.Subject.Identity, q.Subject.Credential = identityN(3), credentialN(3)
	}))
	if d.Outcome != nhi.Allow || d.Identity != identityN(1) {
		t.Errorf("outcome %s for %s: %v", d.Outcome, d.Identity, d.Reasons)
	}
	loop, _ := w.facts.Identity(identityN(1))
	loop.Alias = identityN(3)
	apply(t, w.facts, change(t, 2, nhi.SubjectIdentity, "", loop))
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny {
		t.Error("a circle of aliases was allowed")
	}
}

func TestACallerCannotAssertWhatIsKnown(t *testing.T) {
	w := newWorld(t, nil)
	d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) {
		q.Subject = nhi.Attested{Identity: identityN(66)}
		q.Known = nhi.Known{Identity: true, IdentityState: nhi.Active, Owned: true}
	}))
	if d.Outcome != nhi.Deny {
		t.Errorf("outcome = %s", d.Outcome)
	}
}

func TestAPointCannotAssertAProofOfPossession(t *testing.T) {
	w := newWorld(t, nil)
	claim := func(q *nhi.Question) {
		q.Resource = "high"
		q.Subject.Asserted, q.Subject.SenderBound, q.Subject.Assurance, q.Subject.Thumbprint = true, true, nhi.AssuranceAttested, "tp"
	}
	d := w.service.Decide(context.Background(), ask(claim))
	if d.Outcome != nhi.StepUp || d.SenderBound || d.Assurance != nhi.AssuranceStatic || !d.Asserted {
		t.Errorf("got %+v", d)
	}
	d = w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Resource, q.Subject.Assurance = "high", 9 }))
	if d.Outcome != nhi.StepUp {
		t.Errorf("an assurance that does not exist: %s", d.Outcome)
	}
}

func TestAnAllowThatMustBeOnRecordFirst(t *testing.T) {
	bound := func(q *nhi.Question) { q.Subject.SenderBound, q.Subject.Assurance = true, nhi.AssuranceAttested }
	broken := errors.New("disk is gone")
	for _, tt := range []struct {
		name   string
		ask    []func(*nhi.Question)
		waits  bool
		onFail nhi.Outcome
	}{
		{"sensitive", []func(*nhi.Question){bound, func(q *nhi.Question) { q.Resource = "high" }}, true, nhi.Deny},
		{"a released credential", []func(*nhi.Question){bound, func(q *nhi.Question) { q.Action, q.Resource = nhi.Exchange, "low" }}, true, nhi.Deny},
		{"not sensitive", nil, false, nhi.Allow},
		{"a denial", []func(*nhi.Question){func(q *nhi.Question) { q.Resource = "test" }}, false, nhi.Deny},
		{"sensitive, at a point that observes", []func(*nhi.Question){observed, func(q *nhi.Question) { q.Resource = "high" }}, true, nhi.Allow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.service.Decide(context.Background(), ask(tt.ask...))
			if (w.journal.waited == 1) != tt.waits {
				t.Errorf("waited %d times", w.journal.waited)
			}
			w.journal.fail = broken
			d := w.service.Decide(context.Background(), ask(tt.ask...))
			if d.Outcome != tt.onFail {
				t.Errorf("with a broken journal: %s, want %s", d.Outcome, tt.onFail)
			}
			if w.log.Unlogged() != 1 {
				t.Errorf("unlogged = %d, want 1", w.log.Unlogged())
			}
			if kept, ok := w.log.Get(d.ID); !ok || kept.Outcome != d.Outcome {
				t.Error("the log in memory says something else")
			}
		})
	}
}

func TestStaleFactsDenyWhatIsSensitive(t *testing.T) {
	w := newWorld(t, nil)
	w.facts.Heartbeat(time.Now().Add(-11 * time.Minute))
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny || !slices.Contains(because(d), "facts-stale") {
		t.Errorf("sensitivity 2: %s %v", d.Outcome, d.Reasons)
	}
	if d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Resource = "low" })); d.Outcome != nhi.Allow {
		t.Errorf("sensitivity 1: %s %v", d.Outcome, d.Reasons)
	}
	if d := w.service.Decide(context.Background(), ask(observed)); d.Outcome != nhi.Allow || !d.WouldRefuse {
		t.Errorf("observing: %s %v", d.Outcome, d.Reasons)
	}
	w.facts.Heartbeat(time.Now())
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Allow {
		t.Errorf("after a heartbeat: %s %v", d.Outcome, d.Reasons)
	}
	if w.facts.Apply([]nhi.Change{{Seq: 99, Subject: nhi.SubjectIdentity}}) == nil {
		t.Fatal("a gap was applied")
	}
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny {
		t.Errorf("after a gap: %s", d.Outcome)
	}
}

type ruling nhi.Ruling

func (r ruling) Evaluate(*nhi.Question) nhi.Ruling { return nhi.Ruling(r) }

type panicking struct{}

func (panicking) Evaluate(*nhi.Question) nhi.Ruling               { panic("secret") }
func (panicking) Assess(*nhi.Question, *surprise.Page, geo.Place) { panic("secret") }
func (panicking) Lookup(netip.Addr) geo.Place                     { panic("secret") }

func TestAPanicInsideDenies(t *testing.T) {
	for name, change := range map[string]func(*decision.Config){
		"policy":    func(c *decision.Config) { c.Policies = panicking{} },
		"behaviour": func(c *decision.Config) { c.Behaviour = panicking{} },
		"places":    func(c *decision.Config) { c.Places = panicking{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, change)
			for _, point := range []nhi.ID{enforcing.ID, observing.ID} {
				d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Point = point }))
				if d.Outcome != nhi.Deny || because(d)[0] != "internal-error" {
					t.Errorf("got %+v", d)
				}
			}
			if w.service.Panics() != 2 || len(w.journal.records) != 2 {
				t.Errorf("%d panics, %d records", w.service.Panics(), len(w.journal.records))
			}
		})
	}
}

func TestAnOutcomeThatIsNotKnownDenies(t *testing.T) {
	for _, o := range []nhi.Outcome{"", "maybe", "ALLOW"} {
		w := newWorld(t, func(c *decision.Config) { c.Policies = ruling{Outcome: o} })
		if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny {
			t.Errorf("outcome %q became %s", o, d.Outcome)
		}
	}
}

func TestPolicyCannotReviveTheDead(t *testing.T) {
	w := newWorld(t, func(c *decision.Config) { c.Policies = ruling{Outcome: nhi.Allow} })
	c, _ := w.facts.Credential(credentialN(1))
	c.State = nhi.CredentialSuspended
	apply(t, w.facts, change(t, 2, nhi.SubjectCredential, "", c))
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny {
		t.Errorf("outcome = %s", d.Outcome)
	}
}

func TestAThiefOfAStaticKeyIsStoppedAtTheFirstUnusualUse(t *testing.T) {
	w := newWorld(t, func(c *decision.Config) { c.Behaviour = &decision.Scorer{} })
	page := &surprise.Page{}
	place := geo.Place{Country: "DE", ASN: 64500, Organization: "Example"}
	start := time.Now().Add(-30 * 24 * time.Hour)
	for i := range 3000 {
		q := ask(func(q *nhi.Question) { q.At = start.Add(time.Duration(i) * 14 * time.Minute) })
		q.Known.AgentFamily = "curl"
		call := decision.Call(q, place)
		page.Learn(call.Observation())
	}
	w.pages[identityN(1)] = page
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Allow {
		t.Fatalf("the workload itself: %s %v, surprise %d %v", d.Outcome, d.Reasons, d.Surprise, d.Features)
	}
	abroad := newThief(t, w)
	d := abroad.Decide(context.Background(), ask(func(q *nhi.Question) { q.Address, q.Agent = netip.MustParseAddr("203.0.113.9"), "python-requests/2" }))
	if d.Outcome != nhi.StepUp || !slices.Contains(because(d), "new-country") || !slices.Contains(because(d), "new-network") {
		t.Errorf("the thief: %s %v, surprise %d", d.Outcome, d.Reasons, d.Surprise)
	}
	if len(d.Features) == 0 || d.Features[0].Seen == "" {
		t.Errorf("features = %+v", d.Features)
	}
	// The workload that proves to hold a bound key may move.
	d = abroad.Decide(context.Background(), ask(func(q *nhi.Question) {
		q.Subject = nhi.Attested{Identity: identityN(1), Method: "token", SenderBound: true, Assurance: nhi.AssuranceAttested, IssuedAt: time.Now(), Expires: time.Now().Add(time.Minute)}
		q.Address = netip.MustParseAddr("203.0.113.9")
	}))
	if d.Outcome != nhi.Allow {
		t.Errorf("the workload with a bound token: %s %v", d.Outcome, d.Reasons)
	}
}

// newThief is the same service as seen from another country.
func newThief(t *testing.T, w *world) *decision.Service {
	t.Helper()
	c := w.config
	c.Places = everywhere{Country: "KP", ASN: 64999, Organization: "Elsewhere"}
	service, err := decision.NewService(c)
	if err != nil {
		t.Fatal(err)
	}
	return service
}

func TestNewServiceSaysWhatIsMissing(t *testing.T) {
	for _, c := range []decision.Config{{}, {Facts: facts.New()}, {Facts: facts.New(), Policies: ruling{}},
		{Facts: facts.New(), Policies: ruling{}, Log: logbook.New(nowhere{}, 1), Settings: decision.Settings{LogFirst: 9}}} {
		if _, err := decision.NewService(c); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("error = %v", err)
		}
	}
}

// TestNoAllowAfterAnAcknowledgedRevocation suspends keys while others decide.
// A question that is asked after the suspension was acknowledged must not be
// allowed, and must not carry an older generation.
func TestNoAllowAfterAnAcknowledgedRevocation(t *testing.T) {
	const keys = 200
	w := newWorld(t, nil)
	gen := w.facts.Generation()
	for n := 100; n < 100+keys; n++ {
		i := nhi.Identity{ID: identityN(n), Kind: nhi.KindWorkload, State: nhi.Active, Environment: production, Owner: nhi.Owner{Ref: "x"}}
		gen += 2
		apply(t, w.facts, change(t, gen-1, nhi.SubjectIdentity, "", i), change(t, gen, nhi.SubjectCredential, "", someCredential(n, n)))
	}
	var acknowledged atomic.Uint64 // keys below it are suspended
	var acknowledgedGeneration atomic.Uint64
	var wrong atomic.Pointer[string]
	var allowed atomic.Int64
	done := make(chan struct{})
	var deciders sync.WaitGroup
	for worker := range 4 {
		deciders.Go(func() {
			for n := worker; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				k := n % keys
				suspended, generation := acknowledged.Load(), acknowledgedGeneration.Load()
				point := enforcing.ID
				if n%2 == 0 {
					point = observing.ID
				}
				d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) {
					q.Point, q.Subject.Identity, q.Subject.Credential = point, identityN(100+k), credentialN(100+k)
				}))
				if d.Outcome == nhi.Allow {
					allowed.Add(1)
					if uint64(k) < suspended {
						s := fmt.Sprintf("key %d was allowed with %d suspended", k, suspended)
						wrong.Store(&s)
					}
				}
				if uint64(d.Generation) < generation {
					s := fmt.Sprintf("generation %d after %d was acknowledged", d.Generation, generation)
					wrong.Store(&s)
				}
			}
		})
	}
	for n := range keys {
		c := someCredential(100+n, 100+n)
		c.State = nhi.CredentialSuspended
		gen++
		apply(t, w.facts, change(t, gen, nhi.SubjectCredential, "", c))
		acknowledgedGeneration.Store(uint64(gen))
		acknowledged.Store(uint64(n + 1))
		for seen := allowed.Load(); n < keys-1 && allowed.Load() == seen; runtime.Gosched() { // let the deciders run in between
			if wrong.Load() != nil {
				break
			}
		}
	}
	close(done)
	deciders.Wait()
	if s := wrong.Load(); s != nil {
		t.Fatal(*s)
	}
	if allowed.Load() == 0 {
		t.Error("nothing was ever allowed")
	}
}

// TestOneDecisionIsOneGeneration changes an identity and its credential
// together, always in agreement. No decision may see one without the other.
func TestOneDecisionIsOneGeneration(t *testing.T) {
	agree := func(q *nhi.Question) nhi.Ruling {
		mixed := (q.Known.Risk%2 == 0) != (q.Known.CredentialState == nhi.CredentialActive)
		if mixed || uint64(q.Known.Sensitivity) != uint64(q.Known.Risk%5) {
			return nhi.Ruling{Outcome: nhi.Deny}
		}
		return nhi.Ruling{Outcome: nhi.Allow}
	}
	w := newWorld(t, func(c *decision.Config) { c.Policies = policyFunc(agree) })
	i, _ := w.facts.Identity(identityN(1))
	c, _ := w.facts.Credential(credentialN(1))
	gen := w.facts.Generation()
	step := func(n int) {
		i.Risk, c.State = n%100, nhi.CredentialActive
		if n%2 == 1 {
			c.State = nhi.CredentialNarrowed
		}
		apply(t, w.facts, change(t, gen+1, nhi.SubjectIdentity, "", i), change(t, gen+2, nhi.SubjectCredential, "", c),
			change(t, gen+3, nhi.SubjectResource, "mid", nhi.Resource{Name: "mid", Sensitivity: n % 100 % 5}))
		gen += 3
	}
	step(0)
	done := make(chan struct{})
	var mixed atomic.Int64
	var deciders sync.WaitGroup
	for range 3 {
		deciders.Go(func() {
			last := nhi.Generation(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				d := w.service.Decide(context.Background(), ask())
				if d.Outcome != nhi.Allow || d.Generation < last || (d.Generation-1)%3 != 0 {
					mixed.Add(1)
				}
				last = d.Generation
			}
		})
	}
	for n := range 2000 {
		step(n)
	}
	close(done)
	deciders.Wait()
	if mixed.Load() > 0 {
		t.Errorf("%d decisions saw a mixture", mixed.Load())
	}
}

// onDisk is a Journal as production has it.
type onDisk struct{ *journal.Journal }

func (o onDisk) Append(record []byte) error {
	_, err := o.Journal.Append(record)
	return err
}

func TestDecisionsAreReadBackFromDisk(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	w := newWorld(t, func(c *decision.Config) { c.Log = logbook.New(onDisk{j}, 16) })
	for i := range 20 {
		q := ask()
		if i%2 == 0 { // these wait for the disk
			q.Resource, q.Subject.SenderBound, q.Subject.Assurance = "high", true, nhi.AssuranceAttested
		}
		d := w.service.Decide(t.Context(), q)
		if d.Outcome != nhi.Allow {
			t.Fatalf("not allowed: %v", d.Reasons)
		}
		want = append(want, d.ID)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for entry, err := range journal.Read(dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := logbook.Decode(entry.Payload)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on disk (-decided +read):\n%s", diff)
	}
	if d := w.service.Decide(t.Context(), ask(func(q *nhi.Question) {
		q.Resource, q.Subject.SenderBound, q.Subject.Assurance = "high", true, nhi.AssuranceAttested
	})); d.Outcome != nhi.Deny {
		t.Errorf("allowed although the journal is closed")
	}
}

type policyFunc func(*nhi.Question) nhi.Ruling

func (f policyFunc) Evaluate(q *nhi.Question) nhi.Ruling { return f(q) }

var sink nhi.Decision

func BenchmarkDecide(b *testing.B) {
	const people = 20_000
	table, err := geo.Default()
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b, func(c *decision.Config) {
		c.Places, c.Behaviour, c.Log = table, &decision.Scorer{}, logbook.New(nowhere{}, 0)
	})
	l := w.facts.Begin()
	questions := make([]*nhi.Question, people)
	for n := range people {
		i := nhi.Identity{ID: identityN(n), Kind: nhi.KindWorkload, State: nhi.Active, Environment: production, Owner: nhi.Owner{Ref: "x"}}
		c := someCredential(n, n)
		l.Identity(&i)
		l.Credential(&c)
		l.Resource(&nhi.Resource{Name: fmt.Sprint("r", n%500), Sensitivity: n % 3, Environment: production})
		questions[n] = ask(func(q *nhi.Question) {
			q.Point, q.Subject.Identity, q.Subject.Credential, q.Resource = "", i.ID, c.ID, fmt.Sprint("r", n%500)
			q.Address = netip.AddrFrom4([4]byte{byte(40 + n%30), byte(n), byte(n >> 3), 9})
		})
	}
	if err := l.Commit(9); err != nil {
		b.Fatal(err)
	}
	for n := range people {
		page := &surprise.Page{}
		for k := range 40 {
			q := *questions[n]
			q.At, q.Known.AgentFamily = time.Now().Add(time.Duration(k-40)*time.Hour), "curl"
			call := decision.Call(&q, table.Lookup(q.Address))
			page.Learn(call.Observation())
		}
		w.pages[identityN(n)] = page
	}
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		start := cpuTime()
		defer func() { reportCPU(b, start) }()
		for b.Loop() {
			sink = w.service.Decide(context.Background(), questions[7])
		}
		if sink.Outcome != nhi.Allow {
			b.Errorf("the warm question is not allowed: %v", sink.Reasons)
		}
	})
	b.Run("varied", func(b *testing.B) {
		b.ReportAllocs()
		start := cpuTime()
		defer func() { reportCPU(b, start) }()
		for i := 0; b.Loop(); i++ {
			sink = w.service.Decide(context.Background(), questions[i%people])
		}
	})
}

// BenchmarkYardstick is what the figures of this package are compared with: a
// raw ES256 signature, on the same machine in the same run.
func BenchmarkYardstick(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("yardstick"))
	start := cpuTime()
	defer func() { reportCPU(b, start) }()
	for b.Loop() {
		if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func TestALongNameIsNotJudgedAsTheShorterOneItBeginsWith(t *testing.T) {
	w := newWorld(t, nil)
	d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Resource = strings.Repeat("x", 257) }))
	if got := because(d); d.Outcome != nhi.Deny || !slices.Contains(got, "resource-none") {
		t.Errorf("%s because of %v", d.Outcome, got)
	}
}
