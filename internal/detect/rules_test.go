package detect

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// known is an inventory that says the same about everybody.
type known struct {
	identity   IdentityFacts
	unknown    bool
	credential CredentialFacts
}

func (k known) Identity(nhi.ID) (IdentityFacts, bool) { return k.identity, !k.unknown }

func (k known) Credential(nhi.CredentialID) (CredentialFacts, bool) { return k.credential, true }

var spring = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)

// play runs a sample and returns every rule that had a hit.
func (s *Sample) play(t *testing.T) []string {
	t.Helper()
	state := s.Credential.State
	if state == "" {
		state = nhi.CredentialActive
	}
	d := New(Settings{}, known{
		identity:   IdentityFacts{Kind: s.Identity.Kind, Name: "sample"},
		unknown:    s.Identity.Unknown,
		credential: CredentialFacts{State: state, Leaked: s.Credential.Leaked},
	}, nil)
	var fired []string
	at, n := spring, 0
	for _, e := range s.Events {
		at = at.Add(time.Duration(e.After) * 24 * time.Hour)
		for i := range max(1, e.Times) {
			if i > 0 {
				at = at.Add(max(time.Second, time.Duration(e.Every)*time.Minute))
			}
			n++
			ev := e.event(n, i)
			ev.Time = at
			score := e.score(t)
			v := d.Observe(&ev, &score)
			for _, h := range d.hits {
				fired = append(fired, h.rule.ID)
			}
			for _, f := range v.Findings {
				fired = append(fired, f.Rule)
			}
		}
	}
	return fired
}

func (e *SampleEvent) event(n, i int) nhi.Event {
	number := fmt.Sprint(i)
	if e.Agent == "three" { // an identity that knows three actions
		number = fmt.Sprint(i % 3)
	}
	service, op, _ := strings.Cut(strings.ReplaceAll(e.Action, "%d", number), ":")
	ev := nhi.Event{
		ID: fmt.Sprint("e", n), Provider: "aws", Account: "111122223333", Service: service + ".amazonaws.com", Operation: op,
		Class: e.Class, Agent: e.Agent, Status: nhi.Success, Identity: "nhi_sample", Resource: strings.ReplaceAll(e.Resource, "%d", number),
		Principal: nhi.Principal{Type: "IAMUser", Native: "AIDAX", Name: "sample", Interactive: e.Console, Platform: e.Platform},
	}
	if e.Principal != "" {
		ev.Principal.Type = e.Principal
	}
	if e.Error != "" {
		ev.Status, ev.Error = nhi.Failure, e.Error
	}
	switch e.Key {
	case "static":
		ev.Principal.KeyID, ev.Credential = "AKIAX", "crd_sample"
	case "session":
		ev.Principal.KeyID, ev.Principal.Temporary = "ASIAX", true
	}
	return ev
}

func (e *SampleEvent) score(t *testing.T) surprise.Score {
	t.Helper()
	s := surprise.Score{Established: !e.Young}
	for f := range surprise.Feature(surprise.Features) {
		if b, ok := e.Bits[f.String()]; ok {
			s.Features[f].Tenths = int16(b * 10)
			s.Tenths += int(b * 10)
		}
		s.Features[f].New = slices.Contains(e.New, f.String())
	}
	f := func(f surprise.Feature) bool { return s.Features[f].New }
	s.NewNetwork, s.NewASN, s.NewCountry = f(surprise.Network), f(surprise.ASN), f(surprise.Country)
	s.NewAgent, s.NewAction, s.NewClass = f(surprise.Agent), f(surprise.Action), f(surprise.Class)
	return s
}

func TestEveryRuleFiresOnItsSamplesAndOnNoOther(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			yes, no := 0, 0
			for _, s := range r.Samples {
				if s.Fires {
					yes++
				} else {
					no++
				}
				if got := slices.Contains(s.play(t), r.ID); got != s.Fires {
					t.Errorf("%s: fires = %v, want %v", s.Name, got, s.Fires)
				}
			}
			if yes == 0 || no == 0 {
				t.Errorf("%d samples fire and %d do not; both are needed", yes, no)
			}
		})
	}
}

func TestEveryFeatureOfAScoreBelongsToARule(t *testing.T) {
	set := builtin()
	for f, j := range judged {
		if set.byID[j.rule] == nil || set.byID[j.rule].dim != j.dim {
			t.Errorf("feature %v: rule %q", surprise.Feature(f), j.rule)
		}
	}
	for _, r := range Rules() {
		if r.Severity != "" && grade(r.Severity) < 0 {
			t.Errorf("%s: severity %q", r.ID, r.Severity)
		}
		if strings.ContainsAny(r.Phrase, ".!") {
			t.Errorf("%s: the phrase is no part of a sentence: %q", r.ID, r.Phrase)
		}
	}
}

func TestAWrongRuleIsRefused(t *testing.T) {
	good := "id: X\ntitle: t\nphrase: p\nadvice: a\ndimension: what\n"
	for name, text := range map[string]string{
		"an unknown key":       good + "colour: red\n",
		"no dimension":         "id: X\ntitle: t\nphrase: p\nadvice: a\n",
		"no advice":            "id: X\ntitle: t\nphrase: p\ndimension: what\n",
		"a bad operation":      good + "operations: [CreateUser]\n",
		"an unknown dimension": strings.Replace(good, "what", "whatever", 1),
	} {
		files := fstest.MapFS{"rules/x.yaml": {Data: []byte(text)}}
		if _, err := load(fs.FS(files)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	files := fstest.MapFS{"rules/x.yaml": {Data: []byte(good)}, "rules/y.yaml": {Data: []byte(good)}}
	if _, err := load(files); err == nil {
		t.Error("two rules of one id were accepted")
	}
	if _, err := load(fstest.MapFS{"rules/x.yaml": {Data: []byte(good)}}); err != nil {
		t.Error(err)
	}
}
