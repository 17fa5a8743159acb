package policy_test

import (
	"fmt"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// A thief who holds a static key calls from a network that its identity never
// used: the guards ask for a credential that is bound to a key.
func ExampleLoad() {
	set, err := policy.Load(policy.DefaultSettings(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ruling := set.Evaluate(&nhi.Question{
		Action: nhi.Read, Resource: "payments/api",
		Known: nhi.Known{
			Identity: true, Kind: nhi.KindWorkload, IdentityState: nhi.Active, Owned: true,
			Credential: true, CredentialState: nhi.CredentialActive,
			Sensitivity: 2, NewNetwork: true,
		},
	})
	fmt.Println(ruling.Outcome, ruling.StepUp)
	fmt.Println(ruling.Reasons[0].Text, ruling.Reasons[0].Position)
	// Output:
	// step-up [bind]
	// The identity has never called from this network. guards/behaviour.cedar:5
}

// A wrong policy is named with file, line, column and reason.
func ExampleCheck() {
	for _, p := range policy.Check(map[string]string{
		"team.cedar": "@id(\"night\")\nforbid (principal, action, resource)\nwhen { principal.shift == \"night\" };",
	}) {
		fmt.Println(p)
	}
	// Output:
	// team.cedar:1:1: policy "night": attribute `shift` on entity type `principal` not found
}
