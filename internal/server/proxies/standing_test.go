package proxies

import (
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
			if got := (standing{facts: f}).Withdrawn(&subject); got != tt.want {
				t.Errorf("withdrawn: %v, want %v", got, tt.want)
			}
		})
	}
}
