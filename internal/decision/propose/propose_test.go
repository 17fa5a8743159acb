package propose

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

var monday = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// did is a decision about an identity that read a resource because of a policy.
func did(identity nhi.ID, resource, because string, at time.Time) nhi.Decision {
	return nhi.Decision{
		ID: "d-" + at.Format("0102T1504"), At: at, Outcome: nhi.Allow, Identity: identity, Resource: resource, Action: nhi.Read,
		Reasons: []nhi.Reason{{Policy: because, Effect: "permit"}},
	}
}

func TestWhatIsUsedIsProposedAndWhatIsGrantedIsSaidToBe(t *testing.T) {
	s := New(Settings{MinDays: 2})
	for day := range 3 {
		at := monday.AddDate(0, 0, day)
		read, write := did("nhi_a", "orders", basePermit, at), did("nhi_a", "orders", basePermit, at.Add(time.Hour))
		write.Action = nhi.Write
		granted := did("nhi_b", "orders", "orders-for-b", at)
		observed := did("nhi_c", "orders", noPermit, at)
		observed.WouldRefuse = true
		for _, d := range []nhi.Decision{read, write, granted, observed} {
			s.Add(&d)
		}
	}
	once := did("nhi_d", "orders", basePermit, monday)
	s.Add(&once)
	p := s.Proposal([]string{"orders-for-b", "nobody-needs-me"})
	got := []string{}
	for _, g := range p.Grants {
		got = append(got, fmt.Sprint(g.Identity, " ", g.Actions, " ", g.Uses, " in ", g.Days, " granted ", g.Granted))
	}
	want := []string{
		"nhi_a [read write] 6 in 3 granted false",
		"nhi_b [read] 3 in 3 granted true",
		"nhi_c [read] 3 in 3 granted false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
	if !slices.Equal(p.Unused, []string{"nobody-needs-me"}) || p.Seldom != 1 || p.Taught != 13 || p.Decisions != 13 {
		t.Errorf("unused %v, seldom %d, taught %d of %d", p.Unused, p.Seldom, p.Taught, p.Decisions)
	}
	if g := p.Grants[0]; !g.First.Equal(monday) || !g.Last.Equal(monday.AddDate(0, 0, 2).Add(time.Hour)) || g.Example != "d-0304T1000" {
		t.Errorf("times %v to %v, example %s", g.First, g.Last, g.Example)
	}
}

func TestAThiefCannotTeachHimselfAGrant(t *testing.T) {
	for name, spoil := range map[string]func(*nhi.Decision){
		"by trying":                  func(d *nhi.Decision) { d.Outcome = nhi.Deny },
		"by asking to step up":       func(d *nhi.Decision) { d.Outcome = nhi.StepUp },
		"by a point's word":          func(d *nhi.Decision) { d.Asserted = true },
		"by a point's late report":   func(d *nhi.Decision) { d.Reported = true },
		"as nobody":                  func(d *nhi.Decision) { d.Identity = "" },
		"by what is unusual":         func(d *nhi.Decision) { d.Surprise = 101 },
		"at risk":                    func(d *nhi.Decision) { d.Risk = 41 },
		"past a guard that observes": func(d *nhi.Decision) { d.WouldRefuse = true; d.Reasons[0].Policy = "quarantined" },
		"past a guard and for a grant": func(d *nhi.Decision) {
			d.WouldRefuse = true
			d.Reasons = append(d.Reasons, nhi.Reason{Policy: noPermit})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Settings{})
			for i := range 50 {
				d := did("nhi_t", "vault", basePermit, monday.Add(time.Duration(i)*time.Hour))
				spoil(&d)
				s.Add(&d)
			}
			if p := s.Proposal(nil); len(p.Grants) != 0 || p.Taught != 0 || p.Tried+p.Unusual+p.Asserted != 50 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestAStudyIsBounded(t *testing.T) {
	s := New(Settings{MinUses: 1})
	s.most = 100
	d := did("nhi_a", "", basePermit, monday)
	for i := range s.most + 7 {
		d.Resource = fmt.Sprint(i)
		s.Add(&d)
	}
	if p := s.Proposal(nil); len(p.Grants) != s.most || p.LeftOut != 7 {
		t.Errorf("%d grants, %d left out", len(p.Grants), p.LeftOut)
	}
}
