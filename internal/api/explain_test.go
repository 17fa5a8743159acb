package api

import (
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

func TestARefusalBeforeAnyPolicyIsNotBlamedOnOtherPolicies(t *testing.T) {
	asked := false
	s := &server{Frame: frame.New(frame.Deps{})}
	s.Explain = func(*nhi.Question) client.Explanation { asked = true; return client.Explanation{} }
	d := &nhi.Decision{Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "route-none", Text: "No route."}}, Inputs: &nhi.Inputs{}}
	e := s.explain(d)
	if asked || e.Recorded || e.Note != "It was decided before any policy was asked, for these reasons." || len(e.Unlock) != 1 || e.Unlock[0].Policy != "route-none" {
		t.Errorf("asked %v: %+v", asked, e)
	}
}
