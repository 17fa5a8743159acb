package force

import (
	"fmt"
	"sync"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

const stop = `@id("stop") forbid (principal, action, resource);`

func holder(t testing.TB) *Holder {
	t.Helper()
	h, err := New(policy.DefaultSettings(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// staged has a set that denies everything decide for a share.
func staged(t testing.TB, h *Holder, share Share) Side {
	t.Helper()
	files := map[string]string{"stop.cedar": stop}
	set, err := h.Prepare(files)
	if err != nil {
		t.Fatal(err)
	}
	side := Side{set, files}
	if err := h.Stage(side, share, false); err != nil {
		t.Fatal(err)
	}
	return side
}

func question(id nhi.ID) *nhi.Question {
	return &nhi.Question{
		Subject: nhi.Attested{Identity: id, Method: "token", Assurance: nhi.AssuranceShort}, Action: nhi.Read, Resource: "r",
		Known: nhi.Known{Identity: true, Kind: nhi.KindWorkload, IdentityState: nhi.Active, Owned: true, Resource: true},
	}
}

func someone(i int) nhi.ID { return nhi.IdentityID("muster", "", fmt.Sprint(i)) }

func TestAShareGrowsAndNobodyLeavesIt(t *testing.T) {
	share := Share{Key: [KeySize]byte{1, 2, 3}}
	in := map[nhi.ID]bool{}
	for _, percent := range []int{0, 1, 10, 50, 100} {
		share.Percent = percent
		n := 0
		for i := range 10_000 {
			id := someone(i)
			has := share.Has(id)
			if in[id] && !has {
				t.Fatalf("%s left the share at %d percent", id, percent)
			}
			if in[id] = has; has {
				n++
			}
		}
		if want := percent * 100; n < want-200 || n > want+200 {
			t.Errorf("%d of 10,000 are in %d percent", n, percent)
		}
	}
	share.Percent = 99
	if share.Has("") {
		t.Error("who has no id is in a share")
	}
}

func TestNobodyCanChooseANameThatIsInAShare(t *testing.T) {
	a, b, both := Share{Percent: 10, Key: [KeySize]byte{1}}, Share{Percent: 10, Key: [KeySize]byte{2}}, 0
	for i := range 10_000 {
		if a.Has(someone(i)) && b.Has(someone(i)) {
			both++
		}
	}
	if both < 50 || both > 150 {
		t.Errorf("%d are in both shares: who is in one follows from the name and not from the key", both)
	}
}

func TestEachPrincipalIsDecidedByTheSetOfItsShare(t *testing.T) {
	h := holder(t)
	share := Share{Percent: 50, Key: [KeySize]byte{7}}
	side := staged(t, h, share)
	old := h.Set()
	for i := range 200 {
		want := old.Digest()
		if share.Has(someone(i)) {
			want = side.Set.Digest()
		}
		if got := h.Evaluate(question(someone(i))); got.Digest != want || (got.Outcome == nhi.Deny) != share.Has(someone(i)) {
			t.Fatalf("%d: %s by %s, want it by %s", i, got.Outcome, got.Digest, want)
		}
	}
	if !h.Watch(share.Key) || h.Set() != side.Set || h.Pair().Of("") != side.Set {
		t.Error("watched, the new set does not decide for everybody")
	}
	if former, next := h.Pair().Sides(); former != old || next != side.Set {
		t.Error("the sides of a watch")
	}
	if !h.Revert(share.Key) || h.Set() != old || h.Pair().Rival.Set != nil {
		t.Error("the former set is not in force again")
	}
}

func TestAPromotionThatEndedChangesNothing(t *testing.T) {
	h := holder(t)
	share := Share{Percent: 10, Key: [KeySize]byte{7}}
	side := staged(t, h, share)
	if !h.Revert(share.Key) {
		t.Fatal("not reverted")
	}
	if h.Grow(share.Key, 50) || h.Watch(share.Key) || h.Revert(share.Key) || h.Pair().Rival.Set != nil {
		t.Error("it went on after it was rolled back")
	}
	if err := h.Use(side); err != nil {
		t.Fatal(err)
	}
	if h.Revert(share.Key) || h.Set() != side.Set {
		t.Error("an old promotion took back what somebody put into force")
	}
}

func TestOtherGuardsHoldForBothSets(t *testing.T) {
	h := holder(t)
	share := Share{Percent: 50, Key: [KeySize]byte{7}}
	staged(t, h, share)
	settings := policy.DefaultSettings()
	settings.RiskDeny = 10
	if err := h.Configure(settings); err != nil {
		t.Fatal(err)
	}
	p := h.Pair()
	if p.Set.Settings() != settings || p.Rival.Set.Settings() != settings || p.Share != share {
		t.Errorf("%+v %+v", p.Set.Settings(), p.Rival.Set.Settings())
	}
}

func TestAnEmptyHolderDenies(t *testing.T) {
	var h Holder
	if got := h.Evaluate(question("nhi_a")); got.Outcome != nhi.Deny || len(got.Reasons) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestNoDecisionIsOfAMixedPair has everything change while decisions are made. What
// a ruling says must be what the set says whose digest it carries.
func TestNoDecisionIsOfAMixedPair(t *testing.T) {
	h := holder(t)
	allows := h.Set().Digest()
	share := Share{Percent: 50, Key: [KeySize]byte{7}}
	side := staged(t, h, share)
	denies := side.Set.Digest()
	done := make(chan struct{})
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				r := h.Evaluate(question(someone(i % 64)))
				if (r.Digest != allows || r.Outcome != nhi.Allow) && (r.Digest != denies || r.Outcome != nhi.Deny) {
					t.Errorf("%s by %s", r.Outcome, r.Digest)
					return
				}
			}
		})
	}
	for i := range 2000 {
		switch i % 4 {
		case 0:
			if err := h.Stage(side, share, false); err != nil {
				t.Error(err)
			}
		case 1:
			h.Grow(share.Key, 90)
		case 2:
			h.Watch(share.Key)
		case 3:
			h.Revert(share.Key)
		}
	}
	close(done)
	working.Wait()
}

func TestAShareCostsNoMemory(t *testing.T) {
	h := holder(t)
	share := Share{Percent: 50, Key: [KeySize]byte{7}}
	who, p := someone(1), h.Pair()
	if n := testing.AllocsPerRun(100, func() { p.Of(who) }); n != 0 {
		t.Errorf("%v allocations without a promotion", n)
	}
	staged(t, h, share)
	p = h.Pair()
	if n := testing.AllocsPerRun(100, func() { p.Of(who) }); n != 0 {
		t.Errorf("%v allocations during a promotion", n)
	}
}

func BenchmarkOf(b *testing.B) {
	h, who := holder(b), someone(1)
	b.Run("no promotion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Pair().Of(who)
		}
	})
	staged(b, h, Share{Percent: 50, Key: [KeySize]byte{7}})
	b.Run("a share", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.Pair().Of(who)
		}
	})
}
