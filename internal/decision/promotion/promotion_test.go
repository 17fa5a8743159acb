package promotion

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

var monday = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// answers rules always alike.
type answers nhi.Ruling

func (a answers) Evaluate(*nhi.Question) nhi.Ruling { return nhi.Ruling(a) }

var (
	allows = answers{Outcome: nhi.Allow, Digest: "old", Reasons: []nhi.Reason{{Policy: "base-permit"}}}
	denies = answers{Outcome: nhi.Deny, Digest: "new", Reasons: []nhi.Reason{{Policy: "stop", Text: "Stop."}}}
	asks   = answers{Outcome: nhi.StepUp, StepUp: []nhi.StepUpKind{nhi.StepBind}, Digest: "new", Reasons: []nhi.Reason{{Policy: "bind"}}}
)

var breaking = Pair{Former: allows, Next: denies, Digest: "new", MaxFactsAge: time.Hour}

// refused is a decision of the new policies about the nth attested identity.
func refused(n int) nhi.Decision {
	return nhi.Decision{
		ID: fmt.Sprintf("d%d", n), At: monday, Outcome: nhi.Deny, Policy: "new", Identity: nhi.ID(fmt.Sprintf("nhi_%d", n)), Action: nhi.Read, Resource: "orders",
		Inputs: &nhi.Inputs{Known: true, State: nhi.Active, Attestation: &nhi.Attestation{Method: "kubernetes", At: monday}},
	}
}

func under(gate nhi.PromotionGate) *Tally {
	return New(nhi.Promotion{ID: "prm_x", Gate: gate, Since: monday, Plan: Settings{Shadow: time.Hour, Decisions: 1}.Plan()}, nhi.PromotionFound{})
}

func add(t *Tally, p *Pair, d *nhi.Decision) string {
	c := p.Compare(d)
	return t.Add(d, &c)
}

func TestAttestedIdentitiesThatAreDeniedTakeAPromotionBack(t *testing.T) {
	for _, gate := range []nhi.PromotionGate{nhi.PromotionStaged, nhi.PromotionWatching} {
		tally := under(gate)
		for n := range 3 {
			d := refused(n)
			why := add(tally, &breaking, &d)
			if (why != "") != (n == 2) {
				t.Errorf("%s: after %d identities: %q", gate, n+1, why)
			}
			if n == 2 && !strings.Contains(why, "d2") {
				t.Errorf("it does not say which decision: %q", why)
			}
		}
	}
}

func TestPoliciesThatErrTakeAPromotionBack(t *testing.T) {
	errs := allows
	errs.Digest, errs.Errors = "new", 1
	p, tally, why := Pair{Former: allows, Next: errs, Digest: "new", MaxFactsAge: time.Hour}, under(nhi.PromotionStaged), ""
	for n := range 3 {
		d := refused(n)
		d.Outcome = nhi.Allow
		why = add(tally, &p, &d)
	}
	if why == "" || tally.Promotion().Errors != 3 {
		t.Errorf("%q, %+v", why, tally.Promotion())
	}
}

// TestAStrangerCannotHoldAPromotionUp has somebody send what policies stumble over.
func TestAStrangerCannotHoldAPromotionUp(t *testing.T) {
	errs := allows
	errs.Digest, errs.Errors = "new", 1
	p := Pair{Former: allows, Next: errs, Digest: "new", MaxFactsAge: time.Hour}
	for name, spoil := range map[string]func(*nhi.Decision){
		"with a key that anybody may hold":  func(d *nhi.Decision) { d.Inputs.Attestation = nil },
		"as an identity that nobody knows":  func(d *nhi.Decision) { d.Inputs.Known = false },
		"as nobody":                         func(d *nhi.Decision) { d.Identity = "" },
		"by the word of a point":            func(d *nhi.Decision) { d.Asserted = true },
		"whom their platform vouched for":   nil,
		"attested, from a new network":      func(d *nhi.Decision) { d.Inputs.NewNetwork = true },
		"attested, by a point that decides": func(d *nhi.Decision) { d.Reported = true },
	} {
		t.Run(name, func(t *testing.T) {
			tally, holds := under(nhi.PromotionShadow), strings.Contains(name, "attested") || spoil == nil
			d := refused(1)
			if d.Policy = "old"; spoil != nil {
				spoil(&d)
			}
			add(tally, &p, &d)
			got, waits := tally.Promotion(), tally.Next(monday.Add(time.Hour)).Waits
			if (len(waits) > 0) != holds || (got.Errors == 1) != holds || (got.ErrorsUnproven == 1) == holds {
				t.Errorf("holds up: %v, want %v; %+v", waits, holds, got.PromotionCounts)
			}
		})
	}
	t.Run("unless the error denies what was allowed", func(t *testing.T) {
		tally, d := under(nhi.PromotionShadow), refused(1)
		d.Policy, d.Inputs.Attestation = "old", nil
		forbid := denies
		forbid.Errors = 1
		add(tally, &Pair{Former: allows, Next: forbid, Digest: "new", MaxFactsAge: time.Hour}, &d)
		if s := tally.Next(monday.Add(time.Hour)); !s.Unexplained || tally.Promotion().Errors != 0 {
			t.Errorf("%v", s.Waits)
		}
	})
}

func TestEvidenceOfBeforeARestartCountsOnce(t *testing.T) {
	tally := under(nhi.PromotionStaged)
	for range 2 {
		for n := range 3 {
			d := refused(n)
			c := breaking.Compare(&d)
			if why := tally.Recall(&d, &c); n < 2 && len(tally.witnesses) < 3 && why != "" {
				t.Fatalf("after %d: %s", n+1, why)
			}
		}
	}
	p, found, _ := tally.Found(false)
	if why := New(p, found).Enough(); !strings.Contains(why, "3 attested identities") || !strings.Contains(why, "d2") {
		t.Errorf("what is stored is not enough: %q", why)
	}
	if p.Judged != 0 || p.Denied != 0 || len(found.Denials) != 0 {
		t.Errorf("what was counted before is counted again: %+v", p.PromotionCounts)
	}
	p.Ended = monday
	if why := New(p, found).Enough(); why != "" {
		t.Errorf("a promotion that ended is taken back: %s", why)
	}
}

// TestAThiefCannotTakeAPromotionBack has him do, a thousand times each, what he can.
func TestAThiefCannotTakeAPromotionBack(t *testing.T) {
	for name, spoil := range map[string]func(*nhi.Decision){
		"by being denied with stolen keys": func(d *nhi.Decision) { d.Inputs.Attestation = nil },
		"by one stolen attested identity":  func(d *nhi.Decision) { d.Identity = "nhi_stolen" },
		"by the keys of one workload that he took over": func(d *nhi.Decision) {
			d.Inputs.Stored, d.Inputs.Pinned, d.Consumer, d.Inputs.CredentialState = true, true, true, nhi.CredentialActive
			d.Inputs.Attestation.Selectors = []string{"namespace:shop", "service-account:gateway"}
		},
		"by the word of a point":                func(d *nhi.Decision) { d.Asserted = true },
		"by a point that decides by itself":     func(d *nhi.Decision) { d.Reported = true },
		"by identities that nobody knows":       func(d *nhi.Decision) { d.Inputs.Known = false },
		"as nobody":                             func(d *nhi.Decision) { d.Identity = "" },
		"at risk":                               func(d *nhi.Decision) { d.Risk = 1 },
		"by unusual work":                       func(d *nhi.Decision) { d.Surprise = usual + 1 },
		"by new actions":                        func(d *nhi.Decision) { d.Inputs.NewAction = true },
		"from a new network":                    func(d *nhi.Decision) { d.Inputs.NewNetwork = true },
		"by hand":                               func(d *nhi.Decision) { d.Inputs.Interactive = true },
		"by contained identities":               func(d *nhi.Decision) { d.Inputs.State = nhi.Quarantined },
		"by revoked tokens":                     func(d *nhi.Decision) { d.Inputs.Revoked = true },
		"by decisions of the former policies":   func(d *nhi.Decision) { d.Policy = "old" },
		"by decisions that nobody can ask anew": func(d *nhi.Decision) { d.Inputs = nil },
	} {
		t.Run(name, func(t *testing.T) {
			tally := under(nhi.PromotionStaged)
			for n := range 1000 {
				d := refused(n)
				spoil(&d)
				if why := add(tally, &breaking, &d); why != "" {
					t.Fatalf("after %d: %s", n+1, why)
				}
			}
		})
	}
}

func TestStepUpsTakeNothingBack(t *testing.T) {
	p, tally := Pair{Former: allows, Next: asks, Digest: "new", MaxFactsAge: time.Hour}, under(nhi.PromotionStaged)
	for n := range 100 {
		d := refused(n)
		if why := add(tally, &p, &d); why != "" {
			t.Fatal(why)
		}
	}
	if got := tally.Promotion(); got.StepUp != 100 || tally.Unexplained() != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWhatWasNotAllowedBeforeIsNoEvidence(t *testing.T) {
	for _, former := range []answers{denies, asks} {
		p, tally := Pair{Former: former, Next: denies, Digest: "new", MaxFactsAge: time.Hour}, under(nhi.PromotionStaged)
		for n := range 10 {
			d := refused(n)
			if why := add(tally, &p, &d); why != "" {
				t.Fatal(why)
			}
		}
	}
}

func TestWhatIsExplainedWasMeant(t *testing.T) {
	tally := under(nhi.PromotionStaged)
	for n := range 2 {
		d := refused(n)
		add(tally, &breaking, &d)
	}
	if tally.Unexplained() != 2 {
		t.Fatalf("%d unexplained", tally.Unexplained())
	}
	if err := tally.Acknowledge(nhi.Acknowledgement{Policy: "stop", Reason: "the contract ended"}); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		d := refused(n)
		if why := add(tally, &breaking, &d); why != "" {
			t.Fatalf("rights that were taken away on purpose came back: %s", why)
		}
	}
	if tally.Unexplained() != 0 {
		t.Errorf("%d unexplained", tally.Unexplained())
	}
	for _, a := range []nhi.Acknowledgement{{Policy: "stop"}, {Reason: "all"}, {Reason: "reads", Action: nhi.Read}, {Policy: noPermit, Reason: "whatever"}} {
		if err := tally.Acknowledge(a); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%+v explains everything: %v", a, err)
		}
	}
}

// A caller who is denied once for what nobody meant and then often for what was
// meant, as whoever wants the policies in force can arrange, is still to be explained.
func TestWhatIsExplainedDoesNotHideWhatIsNot(t *testing.T) {
	fault := breaking
	fault.Next = answers{Outcome: nhi.Deny, Digest: "new", Reasons: []nhi.Reason{{Policy: "fault", Text: "A mistake."}}}
	meant := nhi.Acknowledgement{Policy: "stop", Reason: "the contract ended"}
	for name, when := range map[string]int{"explained after the first": 1, "explained before all": 0, "explained when all was seen": 4} {
		t.Run(name, func(t *testing.T) {
			tally, d := under(nhi.PromotionShadow), refused(1)
			for n, p := range []*Pair{&fault, &breaking, &breaking, &breaking, nil} {
				if n == when {
					if err := tally.Acknowledge(meant); err != nil {
						t.Fatal(err)
					}
				}
				if n == 2 { // the server is started again
					promotion, found, _ := tally.Found(false)
					tally = New(promotion, found)
				}
				if p != nil {
					add(tally, p, &d)
				}
			}
			_, found, _ := tally.Found(false)
			if n := tally.Unexplained(); n != 1 || len(found.Denials) != 2 || found.Denials[0].Reason != "A mistake." || found.Denials[0].Count != 1 || found.Denials[1].Count != 3 {
				t.Errorf("%d are to be explained, found %+v", n, found.Denials)
			}
		})
	}
}

// The same of what takes a promotion back by itself: an explanation removes the
// witnesses of what it explains, and no other, not even of the same identity.
func TestWhatIsExplainedTakesNoOtherEvidenceWithIt(t *testing.T) {
	fault, errs := breaking, breaking
	fault.Next = answers{Outcome: nhi.Deny, Digest: "new", Reasons: []nhi.Reason{{Policy: "fault", Text: "A mistake."}}}
	errs.Next = answers{Outcome: nhi.Allow, Digest: "new", Errors: 1}
	for name, p := range map[string]*Pair{"denied by another policy": &fault, "erred": &errs} {
		for _, others := range []int{1, 3 * maxEach} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, first: %v, beside %d", name, first, others), func(t *testing.T) {
					tally, d := under(nhi.PromotionStaged), refused(1)
					if first {
						add(tally, p, &d)
					}
					for n := range others {
						d := refused(1)
						d.Resource = fmt.Sprint(n)
						add(tally, &breaking, &d)
					}
					if !first {
						add(tally, p, &d)
					}
					promotion, found, _ := tally.Found(false)
					if len(found.Witnesses) > maxEach {
						t.Errorf("one identity is witness of %d things", len(found.Witnesses))
					}
					tally = New(promotion, found)
					if err := tally.Acknowledge(nhi.Acknowledgement{Policy: "stop", Reason: "the contract ended"}); err != nil {
						t.Fatal(err)
					}
					why := ""
					for n := range 2 {
						d := refused(2 + n)
						why = add(tally, p, &d)
					}
					if _, found, _ = tally.Found(false); why == "" || len(found.Witnesses) != 3 {
						t.Errorf("not taken back (%q), of %+v", why, found.Witnesses)
					}
				})
			}
		}
	}
}

func TestWhatIsTooMuchToListStillHoldsAPromotionUp(t *testing.T) {
	tally := under(nhi.PromotionShadow)
	for n := range maxDenials + 5 {
		d := refused(n)
		d.Policy = "old"
		add(tally, &breaking, &d)
	}
	if _, f, _ := tally.Found(false); len(f.Denials) != maxDenials || tally.Unexplained() != maxDenials+5 || tally.Promotion().Unlisted != 5 {
		t.Errorf("%d listed, %d unexplained", len(f.Denials), tally.Unexplained())
	}
	at := monday.Add(time.Hour)
	if err := tally.Acknowledge(nhi.Acknowledgement{Policy: "stop", Reason: "meant", At: at}); err != nil {
		t.Fatal(err)
	}
	if got := tally.Promotion(); !got.Since.Equal(at) || len(tally.Next(at).Waits) == 0 {
		t.Errorf("what was not listed is not counted anew: %+v", got)
	}
}

func TestAThiefCannotHideWhoElseIsDenied(t *testing.T) {
	tally := under(nhi.PromotionShadow)
	tries := func(from, to int) {
		for n := from; n < to; n++ {
			d := refused(n)
			d.Policy, d.Identity, d.Resource = "old", "nhi_thief", fmt.Sprint(n)
			add(tally, &breaking, &d)
		}
	}
	tries(0, maxDenials+5)
	if err := tally.Acknowledge(nhi.Acknowledgement{Identity: "nhi_thief", Reason: "it was stolen", At: monday}); err != nil {
		t.Fatal(err)
	}
	tries(maxDenials+5, 3*maxDenials)
	d := refused(1)
	add(tally, &breaking, &d)
	_, f, _ := tally.Found(false)
	if !slices.ContainsFunc(f.Denials, func(n nhi.PromotionDenial) bool { return n.Identity == d.Identity }) || tally.Unexplained() != 1 {
		t.Errorf("%d are listed, but not the one that nobody explained; %d unexplained", len(f.Denials), tally.Unexplained())
	}
}

func TestWitnessesOfOneWorkloadStayOneAfterARestart(t *testing.T) {
	var found nhi.PromotionFound
	for n := range 3 {
		d := refused(n)
		d.Inputs.Stored, d.Consumer, d.Inputs.CredentialState = true, true, nhi.CredentialActive
		d.Inputs.Attestation.Selectors = []string{"service-account:gateway"}
		before := under(nhi.PromotionStaged).p
		tally := New(before, found)
		if why := add(tally, &breaking, &d); why != "" {
			t.Fatal(why)
		}
		_, found, _ = tally.Found(false)
	}
	who := map[string]bool{}
	for _, w := range found.Witnesses {
		who[Who(&w)] = true
	}
	if len(who) != 1 || len(found.Witnesses) != 3 {
		t.Errorf("%d witnesses of %d, want one: %+v", len(found.Witnesses), len(who), found.Witnesses)
	}
	if why := New(under(nhi.PromotionStaged).p, found).Enough(); why != "" {
		t.Errorf("one workload takes it back after a restart: %s", why)
	}
}

func TestAGateOpensWhenItsTimeIsOverAndNothingIsLeft(t *testing.T) {
	tally := under(nhi.PromotionShadow)
	if s := tally.Next(monday.Add(time.Hour)); len(s.Waits) != 1 || !strings.Contains(s.Waits[0], "0 of at least 1 decisions") {
		t.Errorf("untried: %v", s.Waits)
	}
	d := refused(1)
	add(tally, &Pair{Former: allows, Next: allows, Digest: "new", MaxFactsAge: time.Hour}, &d)
	if s := tally.Next(monday.Add(time.Hour - 1)); len(s.Waits) != 1 || s.Unexplained {
		t.Errorf("too early: %v", s.Waits)
	}
	if s := tally.Next(monday.Add(time.Hour)); len(s.Waits) != 0 {
		t.Errorf("due: %v", s.Waits)
	}
	add(tally, &breaking, &d)
	if s := tally.Next(monday.Add(time.Hour)); len(s.Waits) != 1 || !s.Unexplained {
		t.Errorf("unexplained: %v", s.Waits)
	}
	if err := tally.Acknowledge(nhi.Acknowledgement{Identity: d.Identity, Reason: "meant"}); err != nil {
		t.Fatal(err)
	}
	if err := tally.Change(func(p *nhi.Promotion) error { p.Paused = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if s := tally.Next(monday.Add(time.Hour)); len(s.Waits) != 1 || !strings.Contains(s.Waits[0], "paused") {
		t.Errorf("paused: %v", s.Waits)
	}
}

func TestAPanicOfTheEngineIsAnErrorOfTheNewPolicies(t *testing.T) {
	p, d := Pair{Former: allows, Next: nil, Digest: "new", MaxFactsAge: time.Hour}, refused(1)
	if c := p.Compare(&d); c.Errors != 1 || !c.Answered {
		t.Errorf("%+v", c)
	}
}

func TestSettingsOutOfRangeAreRefused(t *testing.T) {
	for _, s := range []Settings{{Shadow: -1}, {Stage: maxTime + 1}, {Stages: []int{10, 1}}, {Stages: []int{0}}, {Stages: []int{100}}, {Threshold: -1}, {Threshold: maxWitnesses + 1}, {Decisions: -1}} {
		if err := s.Validate(); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := (Settings{}).WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
}
