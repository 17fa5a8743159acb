package decision_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/surprise"
)

// chance makes everything up that a decision can know.
type chance struct{ *rand.Rand }

func (c chance) yes() bool { return c.IntN(2) == 0 }

func (c chance) rarely() bool { return c.IntN(8) == 0 }

func oneOf[T any](c chance, from ...T) T { return from[c.IntN(len(from))] }

func (c chance) environment() nhi.Environment {
	return oneOf(c, production, nhi.Environment{Name: "test", Class: nhi.Nonproduction}, nhi.Environment{})
}

func (c chance) attestation(now time.Time) *nhi.Attestation {
	if c.yes() {
		return nil
	}
	a := &nhi.Attestation{Method: oneOf(c, "oidc", "tpm"), At: now.Add(-time.Duration(c.Int64N(int64(2 * time.Minute)))), Level: nhi.EvidenceLevel(1 + c.IntN(3))}
	if c.yes() {
		a.Selectors = []string{"branch:main", "repository:shop/\"pay\""}
		a.Location = nhi.Location{Provider: "aws", Account: oneOf(c, "", "1"), Region: oneOf(c, "", "eu-west-1"), VPC: "v", Cluster: "c", Namespace: oneOf(c, "", "pay"), Node: "n"}
		a.Device = nhi.Device{ID: oneOf(c, "", "d"), Attested: c.yes(), SecureBoot: c.yes(), Image: oneOf(c, "", "sha256:1")}
	}
	return a
}

// Know implements decision.Facts.
func (c chance) Know(q *nhi.Question, now time.Time) decision.Standing {
	q.Known = nhi.Known{
		Identity: !c.rarely(), Kind: oneOf(c, nhi.KindWorkload, nhi.KindRole, ""), IdentityState: oneOf(c, nhi.Active, nhi.Active, nhi.Active, nhi.Active, nhi.Quarantined, ""), Owned: c.yes(),
		IdentityEnvironment: c.environment(), Risk: c.IntN(101), Credential: c.yes(), Pinned: c.rarely(), ConsumerProven: c.yes(), Expired: c.rarely(), Revoked: c.rarely(),
		CredentialState: oneOf(c, nhi.CredentialActive, nhi.CredentialActive, nhi.CredentialActive, nhi.CredentialNarrowed, ""), Attestation: c.attestation(now), Resource: c.yes(), Sensitivity: c.IntN(5),
		ResourceEnvironment: c.environment(), Service: oneOf(c, "", "s3"), Region: oneOf(c, "", "eu"), Jurisdiction: oneOf(c, "", "EU"),
		FactsAge: oneOf(c, 0, time.Second),
	}
	return decision.Standing{Generation: 7, Point: enforcing, PointKnown: true}
}

func (chance) Generation() nhi.Generation { return 7 }
func (c chance) Pin() decision.Facts      { return c }

// Assess implements decision.Behaviour.
func (c chance) Assess(q *nhi.Question, _ *surprise.Page, _ geo.Place) {
	k := &q.Known
	k.NewNetwork, k.NewCountry, k.NewAction, k.NewAgent, k.Surprise, k.RateHundreds = c.yes(), c.yes(), c.yes(), c.yes(), c.IntN(200), c.IntN(300)
}

// Lookup implements decision.Places.
func (c chance) Lookup(netip.Addr) geo.Place {
	return oneOf(c, geo.Place{}, geo.Place{Country: "DE", ASN: 3320, Organization: "Deutsche \x01 Telekom"})
}

func (c chance) question() nhi.Question {
	now := time.Now()
	return nhi.Question{
		Point: "nhi_p", Action: oneOf(c, nhi.Read, nhi.Write, nhi.Issue), Operation: oneOf(c, "", "GET /\"x\""), Resource: oneOf(c, "r1", "r2"),
		Address: oneOf(c, netip.Addr{}, office, netip.MustParseAddr("10.1.2.3")), Agent: oneOf(c, "", "curl/8", "Mozilla/5.0"), RoutePurpose: oneOf(c, "", "billing"),
		At: oneOf(c, time.Time{}, now, now.Add(-90*time.Second), now.Add(time.Minute)),
		Subject: nhi.Attested{
			Identity: oneOf[nhi.ID](c, "nhi_1", "nhi_2"), Credential: oneOf[nhi.CredentialID](c, "", "crd_1"), Method: oneOf(c, "token", "oidc"),
			Assurance: nhi.Assurance(c.IntN(4)), SenderBound: c.yes(), Asserted: c.IntN(9) == 0, Purpose: oneOf(c, "", "billing", "support"),
			Actors: oneOf(c, nil, []nhi.ID{"nhi_8"}, []nhi.ID{"nhi_8", "nhi_9"}),
		},
	}
}

// conditions read every attribute that there is, each so that it is now true
// and now false.
var conditions = []string{
	`principal.known`, `principal.state == "active"`, `principal.owned`, `principal.risk > 50`, `principal.environment == "prod"`, `principal.class == "production"`,
	`principal is Workload`, `principal in Environment::"prod"`, `resource in Environment::"test"`,
	`context.credential.known`, `context.credential.state == "active"`, `context.credential.pinned`, `context.credential.consumerProven`,
	`context.credential.expired`, `context.credential.revoked`, `context.credential == Credential::"crd_1"`,
	`resource.labelled`, `resource.sensitivity > 2`, `resource.environment == "prod"`, `resource.class == "production"`, `resource.service == "s3"`,
	`resource.region == "eu"`, `resource.jurisdiction == "EU"`,
	`context.assurance > 1`, `context.method == "token"`, `context.senderBound`, `context.asserted`, `context.newNetwork`, `context.newCountry`, `context.newAction`,
	`context.newAgent`, `context.interactive`, `context.surprise > 100`, `context.rate > 150`, `context.country == "DE"`, `context.asn == 3320`,
	`context.network like "Deutsche*"`, `context.agent == "curl"`, `context.operation like "GET*"`, `context.point == "nhi_p"`,
	`context.now.toTime() < duration("12h")`, `context.zones["Europe/Berlin"].minute % 2 == 0`, `context.zones["UTC"].weekday == 7`,
	`context has attestation && context.attestation.age > 60`, `context has attestation && context.attestation.level == 2`,
	`context has attestation && context.attestation.method == "tpm"`, `context has attestation && context.attestation.selectors.contains("branch:main")`,
	`context has approval && context.approval.people > 1`, `context has approval && context.approval.left > 45`, `context has approval && context.approval.by.contains("per_2")`,
	`context has device && context.device.secureBoot`, `context has device && context.device.attested`, `context has purpose && context.purpose == "billing"`,
	`context.location has namespace && context.location.namespace == "pay"`, `context.location has account`, `context.location has region`,
	`context.delegation.depth > 1`, `context.delegation.actors.contains(Identity::"nhi_9")`, `context has address && context.address.isInRange(ip("10.0.0.0/8"))`,
	`context.rate * 9223372036854775807 > 5`, // errs whenever rate is over 1
}

func (c chance) policies() string {
	var b strings.Builder
	for i := range 1 + c.IntN(12) {
		effect := oneOf(c, "permit", "forbid", `@stepup("approve") forbid`, `@stepup("bind") forbid`)
		condition := strings.ReplaceAll(oneOf(c, conditions...), `.minute % 2 == 0`, `.minute > 720`)
		fmt.Fprintf(&b, "@id(\"p%d\") %s (principal, action, resource) %s { %s };\n", i, effect, oneOf(c, "when", "unless"), condition)
	}
	return b.String()
}

// Approved implements decision.Approvals.
func (c chance) Approved(_ *nhi.Question, now time.Time) *nhi.Approval {
	if c.yes() {
		return nil
	}
	return &nhi.Approval{ID: "apr_1", Expires: now.Add(time.Duration(c.IntN(90)) * time.Second), Votes: []nhi.Vote{{Person: "per_1", Yes: true}, {Person: "per_2", Yes: c.yes()}}}
}

func (chance) Ask(*nhi.Question, *nhi.Decision) (string, bool) { return "apr_2", true }

func (chance) Spend(context.Context, string, string) error { return nil }

// heard notes what policies said last.
type heard struct {
	*policy.Set
	last *nhi.Ruling
}

func (h heard) Evaluate(q *nhi.Question) nhi.Ruling {
	*h.last = h.Set.Evaluate(q)
	return *h.last
}

func TestADecisionOnRecordIsJudgedAgainAsItWas(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	c := chance{rand.New(rand.NewPCG(seed, 1))}
	seen := map[nhi.Outcome]int{}
	errs := 0
	for round := range 100 {
		text := c.policies()
		if round%5 == 0 { // chance alone says yes too seldom
			text += "@id(\"p\") permit (principal, action, resource);"
		}
		set, err := policy.Load(policy.Settings{RiskDeny: 100, SurpriseStepUp: 1000, SensitivityOwned: 5, SensitivityBound: 5, RequireGrant: c.yes()}, map[string]string{"x.cedar": text})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		h := heard{set, &nhi.Ruling{}}
		service, err := decision.NewService(decision.Config{
			Facts: c, Policies: h, Log: logbook.New(nowhere{}, 1), Places: c, Behaviour: c, Approvals: c,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			q := c.question()
			d := service.Decide(t.Context(), &q)
			record := logbook.Append(nil, &d)
			back, err := logbook.Decode(record)
			if err != nil {
				t.Fatalf("seed %d: %s: %v", seed, record, err)
			}
			again, ok := back.Question()
			if !ok {
				t.Fatalf("seed %d: no question in %s", seed, record)
			}
			want := *h.last
			if diff := cmp.Diff(want, set.Evaluate(&again)); diff != "" {
				t.Fatalf("seed %d: judged again (-then +now):\n%s\n%s\n%s", seed, diff, record, text)
			}
			judged := decision.Judge(set, &again, 10*time.Minute)
			switch outcome, kinds, exact := decision.Recorded(&back); {
			case exact && (outcome != judged.Outcome || outcome == nhi.StepUp && !slices.Equal(kinds, judged.StepUp)):
				t.Fatalf("seed %d: on record %s %v, judged %s %v\n%s\n%s", seed, outcome, kinds, judged.Outcome, judged.StepUp, record, text)
			case !exact && judged.Outcome == nhi.Allow:
				t.Fatalf("seed %d: refused on record, allowed when judged again\n%s", seed, record)
			}
			seen[want.Outcome]++
			errs += want.Errors
		}
	}
	if len(seen) < 3 || errs == 0 {
		t.Errorf("the world is one-sided: %v, %d errors", seen, errs)
	} else {
		t.Log(seen, errs)
	}
}
