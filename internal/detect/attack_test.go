package detect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// An attack is what somebody does with an identity that is not theirs.
type attack struct {
	name string
	// rules of which one must name the finding.
	rules []string
	// except are habits to which the attack is nothing new.
	except string
	play   func(p *player, at time.Time)
}

var elsewhere = netip.MustParseAddr("185.220.101.7")

var attacks = []attack{
	{"a stolen key reads from elsewhere", []string{"DET-07", "DET-20"}, "", func(p *player, at time.Time) {
		p.calls(at, 5, 4, func(ev *nhi.Event) { ev.Address, ev.Agent = elsewhere, "aws-cli/2.15.1 Python/3.11" })
	}},
	{"a stolen key reads from elsewhere with the usual library", []string{"DET-07"}, "", func(p *player, at time.Time) {
		p.calls(at, 1, 1, func(ev *nhi.Event) { ev.Address = elsewhere })
	}},
	{"a new key is made from the usual place", []string{"DET-12"}, "automation", func(p *player, at time.Time) {
		ev := p.event(at, "CreateAccessKey", nhi.Admin)
		ev.Service = "iam.amazonaws.com"
		p.emit(ev)
	}},
	{"looking around from the usual place", []string{"DET-14", "DET-11", "DET-12"}, "", func(p *player, at time.Time) {
		for i := range 30 {
			ev := p.event(at.Add(time.Duration(i)*7*time.Second), fmt.Sprint("List", i), nhi.List)
			ev.Service = "iam.amazonaws.com"
			if i%2 == 0 {
				ev.Status, ev.Error = nhi.Failure, "AccessDenied"
			}
			p.emit(ev)
		}
	}},
	{"a console session", []string{"DET-20"}, "", func(p *player, at time.Time) {
		ev := p.event(at, "GetSigninToken", nhi.Assume)
		ev.Service, ev.Agent, ev.Principal.Interactive = "signin.amazonaws.com", "Mozilla/5.0 (X11)", true
		p.emit(ev)
	}},
	{"a person tries the key on a shell", []string{"DET-20", "DET-07"}, "", func(p *player, at time.Time) {
		for i, op := range []string{"GetCallerIdentity", "ListBuckets", "ListAttachedUserPolicies"} {
			ev := p.event(at.Add(time.Duration(i)*40*time.Second), op, nhi.List)
			ev.Address, ev.Agent = elsewhere, "aws-cli/2.15.1 Python/3.11"
			p.emit(ev)
		}
	}},
	{"logging is stopped", []string{"DET-22"}, "", func(p *player, at time.Time) {
		ev := p.event(at, "StopLogging", nhi.Admin)
		ev.Service = "cloudtrail.amazonaws.com"
		p.emit(ev)
	}},
	{"everything is copied out", []string{"DET-15", "DET-14"}, "", func(p *player, at time.Time) {
		for i := range 1000 {
			p.emit(p.event(at.Add(time.Duration(i)*270*time.Millisecond), "Get1", nhi.Read))
		}
	}},
	{"a slow search, a new call every hour", []string{"DET-14", "DET-11"}, "", func(p *player, at time.Time) {
		for i := range 16 {
			ev := p.event(at.Add(time.Duration(i)*time.Hour), fmt.Sprint("Describe", i), nhi.List)
			ev.Service = "ec2.amazonaws.com"
			p.emit(ev)
		}
	}},
}

// TestAttacksAreFoundAndNamed injects every attack into every identity after
// three months of life. At least nine in ten must become a finding, and the
// finding must be named for what changed.
func TestAttacksAreFoundAndNamed(t *testing.T) {
	inv := known{identity: IdentityFacts{Name: "service"}, credential: CredentialFacts{State: nhi.CredentialActive}}
	f := newFleet(inv)
	players, _ := live(f, 7, 1)
	image, err := f.d.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	at := start.AddDate(0, 0, historyDays+judgedDays).Add(11*time.Hour + 7*time.Minute)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			found, of, lowest := 0, 0, 100.0
			for _, p := range players {
				if a.except != "" && strings.Contains(string(p.id), a.except) {
					continue
				}
				of++
				g := newFleet(inv)
				if err := g.d.UnmarshalBinary(image); err != nil {
					t.Fatal(err)
				}
				g.pages[p.id] = &surprise.Page{}
				g.pages[p.id].CopyFrom(f.pages[p.id])
				said := g.attacked(a, p, at)
				i := slices.IndexFunc(said, func(x nhi.Finding) bool { return slices.Contains(a.rules, x.Rule) })
				if i >= 0 {
					found++
					if len(said) > 1 {
						t.Logf("%d findings with %s", len(said), p.id)
					}
					lowest = min(lowest, said[i].Score)
					continue
				}
				t.Logf("missed with %s: %v", p.id, named(said))
			}
			t.Logf("found with %d of %d identities, lowest score %.1f", found, of, lowest)
			if found*10 < of*9 {
				t.Errorf("found with %d of %d identities", found, of)
			}
		})
	}
}

// attacked plays an attack and returns the last word on each finding.
func (f *fleet) attacked(a attack, p *player, at time.Time) []nhi.Finding {
	last := map[string]nhi.Finding{}
	note := func(found []nhi.Finding) {
		for _, x := range found {
			last[x.ID] = x
		}
	}
	emit := p.emit
	p.emit = func(ev nhi.Event) { note(f.observe(&ev)) }
	a.play(p, at)
	p.emit = emit
	note(f.d.Flush())
	var out []nhi.Finding
	for _, x := range last {
		out = append(out, x)
	}
	return out
}

func named(found []nhi.Finding) []string {
	var out []string
	for _, x := range found {
		out = append(out, fmt.Sprintf("%s %.1f %v", x.Rule, x.Score, x.Features))
	}
	return out
}
