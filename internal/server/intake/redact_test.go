package intake

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

func TestKeysInTagsNamesAndPoliciesAreNotTakenIn(t *testing.T) {
	scanner, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	secret := key.Mint(key.API).Reveal()
	o := nhi.Observation{
		Identities: []nhi.Identity{{Name: "ci " + secret, Path: "arn:" + secret, Labels: map[string]string{"note": secret, secret: "x", "team": "payments"}}},
		Grants:     []nhi.Grant{{Name: secret, Document: `{"Condition":"` + secret + `"}`}},
		Owners:     []nhi.OwnerEvidence{{Owner: "team:payments", Detail: secret}},
	}
	redactObservation(scanner, &o)
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), secret) {
		t.Errorf("a key is left: %s", b)
	}
	if o.Identities[0].Labels["team"] != "payments" || o.Owners[0].Owner != "team:payments" || !strings.HasPrefix(o.Identities[0].Name, "ci ") {
		t.Errorf("what is no secret was lost: %s", b)
	}
}
