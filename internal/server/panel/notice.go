package panel

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
)

// Notices says what people are told when an identity asks. separated is whether
// its owner may not say yes.
func Notices(a *nhi.Approval, who *nhi.Identity, separated bool) []nhi.Notice {
	sentence := fmt.Sprintf("%s asks to %s %s. It is refused until %s. Answer before %s.",
		cmp.Or(who.Name, string(a.Identity)), a.Action, a.Resource, people(a.Needed), a.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	if separated {
		sentence += " Who answers for the identity can say no, but not yes."
	}
	from := a.Address
	for _, more := range []string{a.Network, a.Country, a.Agent} {
		if more != "" {
			from += ", " + more
		}
	}
	why := ""
	if len(a.Reasons) > 0 {
		why = a.Reasons[0].Text
	}
	data, err := json.Marshal(map[string]any{
		"title": "Somebody has to approve a request", "sentence": sentence, "identity": a.Identity, "name": who.Name, "owner": who.Owner.Ref, "reason": why,
		"approval": notify.Asked{ID: a.ID, What: fmt.Sprintf("%s %s (%s), sensitivity %d", a.Action, a.Resource, a.Operation, a.Sensitivity), From: from, Purpose: a.Purpose},
	})
	if err != nil {
		return nil // these always encode
	}
	return []nhi.Notice{{ID: "approval:" + a.ID, Topic: notify.TopicAsked, Severity: nhi.High, At: a.Asked, Data: data}}
}

func people(n int) string {
	if n == 1 {
		return "one person says yes"
	}
	return fmt.Sprintf("%d people say yes", n)
}
