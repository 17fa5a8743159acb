package decision_test

import (
	"context"
	"fmt"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// forgetful is a journal for the example. A real one is internal/journal.
type forgetful struct{}

func (forgetful) Append([]byte) error      { return nil }
func (forgetful) AppendAsync([]byte) error { return nil }

// A key is suspended. From the moment Apply has returned, it is refused, at
// points that only observe as well.
func Example() {
	who := nhi.Identity{ID: nhi.IdentityID("muster", "", "reports"), Kind: nhi.KindWorkload, State: nhi.Active, Owner: nhi.Owner{Ref: "team:bi"}}
	key := nhi.Credential{ID: nhi.NewCredentialID("muster", "", "k1"), Identity: who.ID, State: nhi.CredentialActive}
	point := nhi.Point{ID: "nhi_edge", Mode: nhi.Observe}

	known := facts.New()
	if err := known.Load(41, facts.State{
		Identities: []nhi.Identity{who}, Credentials: []nhi.Credential{key}, Points: []nhi.Point{point},
	}); err != nil {
		fmt.Println(err)
		return
	}
	policies, err := policy.NewHolder(policy.DefaultSettings(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	service, err := decision.NewService(decision.Config{Facts: known, Policies: policies, Log: logbook.New(forgetful{}, 0)})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func() {
		d := service.Decide(context.Background(), &nhi.Question{
			Point: point.ID, Subject: nhi.Attested{Identity: who.ID, Credential: key.ID, Method: "api-key"},
			Action: nhi.Read, Resource: "reports/daily",
		})
		fmt.Println(d.Generation, d.Outcome, d.Reasons[0].Policy)
	}
	ask()
	payload := fmt.Sprintf(`{"id":%q,"identity":%q,"state":"suspended"}`, key.ID, who.ID)
	if err := known.Apply([]nhi.Change{{Seq: 42, Subject: nhi.SubjectCredential, Key: string(key.ID), Version: 1, Payload: []byte(payload)}}); err != nil {
		fmt.Println(err)
		return
	}
	ask()
	// Output:
	// 41 allow base-permit
	// 42 deny credential-suspended
}
