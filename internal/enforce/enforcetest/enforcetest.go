// Package enforcetest is what every way of asking for a decision is tested
// with: an enrolled point, a decider that answers what it is told and remembers
// what it was asked, and one table of decisions whose meaning must be the same
// behind every protocol.
package enforcetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// A Decider answers every question with Answer and keeps the questions. It is
// safe for concurrent use once Answer is set.
type Decider struct {
	Answer nhi.Decision
	Panic  bool // panic instead of answering

	mu    sync.Mutex // guards asked
	asked []nhi.Question
}

// Decide remembers the question and returns Answer.
func (d *Decider) Decide(_ context.Context, question *nhi.Question) nhi.Decision {
	if d.Panic {
		panic("decider panics as told")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, *question)
	return d.Answer
}

// DecideAll decides one after the other.
func (d *Decider) DecideAll(ctx context.Context, questions []nhi.Question, enough func(*nhi.Decision) bool) []nhi.Decision {
	var out []nhi.Decision
	for i := range questions {
		out = append(out, d.Decide(ctx, &questions[i]))
		if enough != nil && enough(&out[i]) {
			break
		}
	}
	return out
}

// Try returns Answer to every question and remembers none.
func (d *Decider) Try(questions []nhi.Question) []nhi.Decision {
	if d.Panic {
		panic("decider panics as told")
	}
	return slices.Repeat([]nhi.Decision{d.Answer}, len(questions))
}

// Asked returns the questions so far, the oldest first.
func (d *Decider) Asked() []nhi.Question {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]nhi.Question(nil), d.asked...)
}

// A Verifier knows the evidence in Known by its Authorization value, or where
// there is none by "certificate" and the common name of the one that the caller
// showed; other evidence is denied.
type Verifier struct{ Known map[string]nhi.Attested }

// Verify looks the evidence up.
func (v *Verifier) Verify(_ context.Context, evidence nhi.Evidence) (nhi.Attested, error) {
	name := evidence.Authorization
	if name == "" && evidence.Certificate != nil {
		name = "certificate " + evidence.Certificate.Subject.CommonName
	}
	if attested, ok := v.Known[name]; ok {
		return attested, nil
	}
	return nhi.Attested{}, fmt.Errorf("unknown evidence: %w", nhi.ErrDenied)
}

// Points is a PointStore of points by their key id.
type Points map[string]nhi.Point

// PointByKeyID looks a point up.
func (p Points) PointByKeyID(id string) (nhi.Point, bool) {
	point, ok := p[id]
	return point, ok
}

// Enroll adds a point of a dialect that loopback may speak for, changed by
// edit when that is not nil, and returns its key.
func (p Points) Enroll(dialect nhi.Dialect, edit func(*nhi.Point)) (secret string) {
	minted := key.Mint(key.Point)
	point := nhi.Point{
		ID:       nhi.IdentityID("muster", "points", minted.ID),
		Name:     string(dialect),
		KeyID:    minted.ID,
		Verifier: minted.Verifier[:],
		Dialect:  dialect,
		Mode:     nhi.Enforce,
		Percent:  100,
	}
	if edit != nil {
		edit(&point)
	}
	p[minted.ID] = point
	return minted.Reveal()
}

// A Case is a decision and what a point must do with it.
type Case struct {
	Name     string
	Decision nhi.Decision
	Want     nhi.Outcome
	// WantRefused is the outcome when the question was hopeless before it was
	// asked, as when the caller proved nothing.
	WantRefused nhi.Outcome
}

// Cases are the decisions whose meaning every protocol must keep.
var Cases = []Case{
	{"the zero decision denies", nhi.Decision{}, nhi.Deny, nhi.Deny},
	{"allow allows, but not the hopeless", nhi.Decision{ID: "d1", Outcome: nhi.Allow}, nhi.Allow, nhi.Deny},
	{"observed allow lets everything pass", nhi.Decision{ID: "d2", Outcome: nhi.Allow, WouldRefuse: true}, nhi.Allow, nhi.Allow},
	{"what a break-glass code lets pass passes, but not the hopeless", nhi.Decision{ID: "d7", Outcome: nhi.Allow, Glass: "01900000-0000-7000-8000-000000000009"}, nhi.Allow, nhi.Deny},
	{"deny denies", nhi.Decision{ID: "d3", Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "guard-quarantined", Text: "quarantined", Effect: "forbid"}}}, nhi.Deny, nhi.Deny},
	{"deny that would also refuse denies", nhi.Decision{ID: "d4", Outcome: nhi.Deny, WouldRefuse: true}, nhi.Deny, nhi.Deny},
	{"step-up is no allow", nhi.Decision{ID: "d5", Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepBind}}}, nhi.StepUp, nhi.Deny},
	{"an outcome from the future denies", nhi.Decision{ID: "d6", Outcome: "permit"}, nhi.Deny, nhi.Deny},
}

// A Caller says how good the question is that a way of asking puts.
type Caller string

// The callers: a question that nothing is wrong with, one that no route
// covers, and one whose caller proved nothing.
const (
	Known    Caller = "a known caller"
	Unrouted Caller = "a request without a route"
	Unproven Caller = "an unknown caller"
)

// Drive puts every case through a way of asking, with each of the callers that
// it knows. Ask sets up the way anew with a Decider that gives answer, asks as
// caller, and returns what the reply tells the point to do.
func Drive(t *testing.T, ask func(t *testing.T, answer nhi.Decision, caller Caller) nhi.Outcome, callers ...Caller) {
	for _, c := range Cases {
		for _, caller := range callers {
			t.Run(c.Name+", "+string(caller), func(t *testing.T) {
				want := c.Want
				if caller != Known {
					want = c.WantRefused
				}
				if got := ask(t, c.Decision, caller); got != want {
					t.Errorf("the point is told %q, want %q", got, want)
				}
			})
		}
	}
}

// Routes are an enforce.RouteSource that never changes.
type Routes []nhi.Route

// Routes implements enforce.RouteSource.
func (r Routes) Routes() ([]nhi.Route, nhi.Generation) { return r, 1 }

// Shop are the routes, and Robot the caller, that the kits of the ways of asking
// about whole requests share.
var (
	Shop = Routes{
		{Host: "shop.example", Path: "/payments/{id}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read, "POST": nhi.Write}, Resource: "payments/api"},
		{Host: "shop.example", Path: "/admin", Methods: map[string]nhi.ActionClass{"GET": nhi.Admin}, Resource: "shop/admin"},
	}
	Robot = nhi.IdentityID("muster", "test", "robot")
)

// Certificate is one of a common name, which it signed itself.
func Certificate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Escaped is a certificate as nginx and Envoy tell it: PEM, percent-encoded.
func Escaped(c *x509.Certificate) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
}
