package proxies

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/nhi"
)

// A thief with a leaked key and a token of their own that they send beside it is
// cut off like anybody who has the key alone.
func TestANarrowedKeyKeepsOnlyTheStreamsOfItsOwnWorkload(t *testing.T) {
	id := func(name string) nhi.ID { return nhi.IdentityID("aws", "1", name) }
	issued := time.Now().Add(-time.Minute)
	const key = nhi.CredentialID("crd_key")
	for _, tt := range []struct {
		name     string
		pinned   nhi.ID // consumer of the key
		consumer nhi.ID // who proved itself beside it, before
		change   any    // meanwhile
		want     bool   // it is cut
	}{
		{"the key alone", id("job"), "", nil, true},
		{"with its workload", id("job"), id("job"), nil, false},
		{"with the thief's own token", id("job"), id("thief"), nil, true},
		{"with a stranger's", id("job"), id("stranger"), nil, true},
		{"narrowed to itself", "", id("holder"), nil, false},
		{"narrowed to itself, with the thief's own token", "", id("thief"), nil, true},
		{"with its workload, whose token was revoked", id("job"), id("job"), nhi.Revocation{Token: "jti", At: time.Now(), Expires: time.Now().Add(time.Hour)}, true},
		{"with its workload, which was quarantined", id("job"), id("job"), nhi.Identity{ID: id("job"), State: nhi.Quarantined}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := facts.New()
			err := f.Load(1, facts.State{
				Identities:  []nhi.Identity{{ID: id("holder"), State: nhi.Active}, {ID: id("job"), State: nhi.Active}, {ID: id("thief"), State: nhi.Active}},
				Credentials: []nhi.Credential{{ID: key, Identity: id("holder"), Kind: nhi.CredentialAPIKey, PublicID: "key", State: nhi.CredentialNarrowed, Consumer: tt.pinned}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				payload, err := json.Marshal(tt.change)
				if err != nil {
					t.Fatal(err)
				}
				c := nhi.Change{Seq: 2, Subject: nhi.SubjectIdentity, Key: string(id("job")), Payload: payload}
				if _, ok := tt.change.(nhi.Revocation); ok {
					c.Subject, c.Key = nhi.SubjectRevocation, "jti"
				}
				if err := f.Apply([]nhi.Change{c}); err != nil {
					t.Fatal(err)
				}
			}
			subject := nhi.Attested{Identity: id("holder"), Credential: key, KeyID: "key", Consumer: tt.consumer, ConsumerProof: nhi.Proof{KeyID: "jti", IssuedAt: issued}}
			if got := (standing{point: observing, facts: f}).Withdrawn(t.Context(), &subject, &nhi.Evidence{}); got != tt.want {
				t.Errorf("withdrawn: %v, want %v", got, tt.want)
			}
		})
	}
}

func observing() (nhi.Point, bool) { return nhi.Point{Mode: nhi.Observe}, true }

// The attack: a stolen key opens a websocket, and is pinned to its workload then.
func TestAStreamOfAKeyAloneDoesNotOutliveItsPin(t *testing.T) {
	const key = nhi.CredentialID("crd_key")
	holder, job := nhi.IdentityID("aws", "1", "holder"), nhi.IdentityID("aws", "1", "job")
	for _, tt := range []struct {
		name   string
		pinned nhi.ID
		point  func() (nhi.Point, bool)
		want   bool
	}{
		{"not pinned", "", func() (nhi.Point, bool) { return nhi.Point{Mode: nhi.Enforce, Percent: 100}, true }, false},
		{"pinned, at a point that enforces", job, func() (nhi.Point, bool) { return nhi.Point{Mode: nhi.Enforce, Percent: 100}, true }, true},
		{"pinned, at a point that observes", job, observing, false},
		{"pinned, at a point that is not known", job, func() (nhi.Point, bool) { return nhi.Point{}, false }, true},
	} {
		f := facts.New()
		if err := f.Load(1, facts.State{
			Identities:  []nhi.Identity{{ID: holder, State: nhi.Active}, {ID: job, State: nhi.Active}},
			Credentials: []nhi.Credential{{ID: key, Identity: holder, Kind: nhi.CredentialAPIKey, PublicID: "key", State: nhi.CredentialActive, Consumer: tt.pinned}},
		}); err != nil {
			t.Fatal(err)
		}
		subject := nhi.Attested{Identity: holder, Credential: key, KeyID: "key", Method: "api-key"}
		if got := (standing{point: tt.point, facts: f}).Withdrawn(t.Context(), &subject, &nhi.Evidence{}); got != tt.want {
			t.Errorf("%s: withdrawn: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A key that is pinned to a workload, and was used beside its proof, is worth no more
// than that proof: whoever took the workload over loses what runs, too.
func TestAPinnedKeyLosesItsStreamsWithItsWorkload(t *testing.T) {
	id := func(name string) nhi.ID { return nhi.IdentityID("aws", "1", name) }
	now := time.Now()
	const key = nhi.CredentialID("crd_key")
	job := func(edit func(*nhi.Identity)) any {
		i := nhi.Identity{ID: id("job"), State: nhi.Active}
		edit(&i)
		return i
	}
	for _, tt := range []struct {
		name             string
		pinned, consumer nhi.ID // to whom the key is pinned, and who proved itself beside it
		change           any    // meanwhile
		want             bool   // it is cut
	}{
		{"nothing changed", id("job"), id("job"), nil, false},
		{"the workload's token was revoked", id("job"), id("job"), nhi.Revocation{Token: "jti", At: now, Expires: now.Add(time.Hour)}, true},
		{"the key that the token is bound to was revoked", id("job"), id("job"), nhi.Revocation{Key: "tp", At: now, Expires: now.Add(time.Hour)}, true},
		{"all tokens of the workload were revoked", id("job"), id("job"), nhi.Revocation{Identity: id("job"), At: now, Expires: now.Add(time.Hour)}, true},
		{"the workload was quarantined", id("job"), id("job"), job(func(i *nhi.Identity) { i.State = nhi.Quarantined }), true},
		{"the workload was merged", id("job"), id("job"), job(func(i *nhi.Identity) { i.Alias = id("stranger") }), false},
		// What only the mode of the point let pass goes on.
		{"the key alone, at a point that observes", id("job"), "", nil, false},
		{"a stranger beside it, at a point that observes", id("job"), id("stranger"), nil, false},
		{"a key that nobody pinned, beside a revoked token", "", id("job"), nhi.Revocation{Token: "jti", At: now, Expires: now.Add(time.Hour)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := facts.New()
			err := f.Load(1, facts.State{
				Identities:  []nhi.Identity{{ID: id("holder"), State: nhi.Active}, {ID: id("job"), State: nhi.Active}, {ID: id("stranger"), State: nhi.Active}},
				Credentials: []nhi.Credential{{ID: key, Identity: id("holder"), Kind: nhi.CredentialAPIKey, PublicID: "key", State: nhi.CredentialActive, Consumer: tt.pinned}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				payload, err := json.Marshal(tt.change)
				if err != nil {
					t.Fatal(err)
				}
				c := nhi.Change{Seq: 2, Subject: nhi.SubjectIdentity, Payload: payload}
				if _, ok := tt.change.(nhi.Revocation); ok {
					c.Subject = nhi.SubjectRevocation
				}
				if err := f.Apply([]nhi.Change{c}); err != nil {
					t.Fatal(err)
				}
			}
			subject := nhi.Attested{
				Identity: id("holder"), Credential: key, KeyID: "key", Method: "api-key", Consumer: tt.consumer,
				ConsumerProof: nhi.Proof{KeyID: "jti", Thumbprint: "tp", IssuedAt: now.Add(-time.Minute)},
			}
			if got := (standing{point: observing, facts: f}).Withdrawn(t.Context(), &subject, &nhi.Evidence{}); got != tt.want {
				t.Errorf("withdrawn: %v, want %v", got, tt.want)
			}
		})
	}
}

// believes is a verifier for which one piece of evidence proves somebody.
type believes struct {
	authorization string
	who           nhi.ID
}

func (b believes) Verify(_ context.Context, e nhi.Evidence) (nhi.Attested, error) {
	if e.Authorization != b.authorization || e.Proof != "" || e.Attestation != "" || e.At.IsZero() {
		return nhi.Attested{}, nhi.ErrDenied
	}
	return nhi.Attested{Identity: b.who}, nil
}

func TestWhomAnotherIssuerNamedIsCutWhenNobodyBelievesItAnyMore(t *testing.T) {
	f := facts.New()
	if err := f.Load(1, facts.State{Identities: []nhi.Identity{{ID: "nhi_a", State: nhi.Active}, {ID: "nhi_old", State: nhi.Active, Alias: "nhi_a"}}}); err != nil {
		t.Fatal(err)
	}
	shown := nhi.Evidence{Authorization: "Bearer x", Proof: "a proof that is good once", Attestation: "a token", At: time.Now()}
	for _, tt := range []struct {
		name, method string
		verifier     believes
		want         bool
	}{
		{"it is believed", "oidc", believes{"Bearer x", "nhi_a"}, false},
		{"by a rule with its old name", "oidc", believes{"Bearer x", "nhi_old"}, false},
		{"its rule is gone", "oidc", believes{"Bearer y", "nhi_a"}, true},
		{"its rule names somebody else", "oidc", believes{"Bearer x", "nhi_b"}, true},
		{"its trust domain is gone", "x509-svid", believes{}, true},
		{"a token of ours, whose proof is good once", "token", believes{}, false},
	} {
		subject := nhi.Attested{Identity: "nhi_a", KeyID: "jti", Method: tt.method, IssuedAt: time.Now()}
		if got := (standing{point: observing, facts: f, verifier: tt.verifier}).Withdrawn(t.Context(), &subject, &shown); got != tt.want {
			t.Errorf("%s: withdrawn: %v, want %v", tt.name, got, tt.want)
		}
	}
	if shown.Proof == "" || shown.Attestation == "" {
		t.Error("the evidence was changed")
	}
}
