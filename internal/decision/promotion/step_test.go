package promotion

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

func TestPeopleAreToldOnceOfWhatHoldsAPromotionUp(t *testing.T) {
	tally := under(nhi.PromotionStaged)
	tell := func(after time.Duration) (why []nhi.PromotionHold) {
		due := tally.Hold(monday.Add(after))
		if err := tally.Change(func(p *nhi.Promotion) error { Told(p, due); return nil }); err != nil {
			t.Fatal(err)
		}
		for _, h := range due {
			why = append(why, h.Why)
		}
		return why
	}
	want := func(after time.Duration, want ...nhi.PromotionHold) {
		t.Helper()
		got := tell(after)
		if len(got) != len(want) || len(want) == 1 && got[0] != want[0] {
			t.Errorf("after %v people are told of %v, want %v", after, got, want)
		}
	}
	want(0)
	want(48 * time.Hour) // it waits for its time and for decisions, which come by themselves
	d := refused(1)
	add(tally, &breaking, &d)
	want(100 * time.Hour)
	want(100*time.Hour + 59*time.Minute)
	want(101*time.Hour, nhi.HoldUnexplained)
	p, found, _ := tally.Found(false)
	tally = New(p, found) // the server is started again
	want(200 * time.Hour)
	if err := tally.Acknowledge(nhi.Acknowledgement{Policy: "stop", Reason: "meant", At: monday}); err != nil {
		t.Fatal(err)
	}
	want(201 * time.Hour)
	if p := tally.Promotion(); len(p.Held) != 0 {
		t.Errorf("nothing holds it up any more: %+v", p.Held)
	}
	if err := tally.Change(func(p *nhi.Promotion) error { p.Paused = true; return nil }); err != nil {
		t.Fatal(err)
	}
	want(202 * time.Hour)
	want(213 * time.Hour) // whoever paused it knows
	want(214*time.Hour, nhi.HoldPaused)
	want(400 * time.Hour)
}

// A person who has to mend policies must hear where they err.
func TestAHoldSaysAtWhichDecisionPoliciesErred(t *testing.T) {
	errs := allows
	errs.Digest, errs.Errors = "new", 1
	tally := under(nhi.PromotionShadow)
	for n := range 3 {
		d := refused(n)
		if d.Policy = "old"; n == 2 { // of this one, no platform vouches for anybody
			d.Inputs.Attestation = nil
		}
		add(tally, &Pair{Former: allows, Next: errs, Digest: "new", MaxFactsAge: time.Hour}, &d)
	}
	step := tally.Next(monday.Add(time.Hour))
	if len(step.Holds) != 1 || step.Holds[0].Why != nhi.HoldErrors || !strings.Contains(step.Holds[0].Text, "2 times") || !strings.Contains(step.Holds[0].Text, "decision d1 ") {
		t.Errorf("%+v", step.Holds)
	}
	if err := tally.Change(func(p *nhi.Promotion) error { p.Gate = nhi.PromotionWatching; return nil }); err != nil {
		t.Fatal(err)
	}
	if step := tally.Next(monday.Add(time.Hour)); len(step.Holds) != 0 {
		t.Errorf("at the last gate nothing waits for that: %+v", step.Holds)
	}
}
