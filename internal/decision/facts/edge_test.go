package facts

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/nhi"
)

// TestAPointGetsOnlyWhatItGuards looks at what a point elsewhere is given, and
// that it can be read back.
func TestAPointGetsOnlyWhatItGuards(t *testing.T) {
	f := New()
	apply(t, f, history(t, rand.New(rand.NewPCG(7, 1)), 2000)...)
	g := f.Generation()
	owner := nhi.Owner{Ref: "ann@example.com"}
	who := someIdentity(1)
	who.Owner = owner
	nobody := someIdentity(2)
	nobody.Owner = nhi.Owner{}
	self := nhi.Point{ID: "nhi_self", KeyID: "self", Mode: nhi.Enforce, Resources: []string{"ours"}}
	apply(t, f,
		change(t, g+1, nhi.SubjectIdentity, "", who), change(t, g+2, nhi.SubjectIdentity, "", nobody), change(t, g+3, nhi.SubjectPoint, "nhi_self", self),
		change(t, g+4, nhi.SubjectPoint, "nhi_other", nhi.Point{ID: "nhi_other", KeyID: "other"}), change(t, g+5, nhi.SubjectSource, "nhi_source", nhi.Source{ID: "nhi_source", KeyID: "source"}),
		change(t, g+6, nhi.SubjectResource, "ours", nhi.Resource{Name: "ours", Sensitivity: 3}), change(t, g+7, nhi.SubjectResource, "theirs", nhi.Resource{Name: "theirs", Sensitivity: 1}))
	before := all(f.Snapshot())
	mine := f.Snapshot().For(&self)
	path := t.TempDir() + "/image"
	if err := mine.Save(path, imageKey, Mark{Generation: mine.Generation()}); err != nil {
		t.Fatal(err)
	}
	again := New()
	if err := again.Restore(path, imageKey, anyMark); err != nil {
		t.Fatal(err)
	}
	got := all(again.Snapshot())
	if len(got.Points) != 1 || got.Points["nhi_self"].KeyID != "self" || len(got.Sources) != 0 || len(got.Resources) != 1 || got.Resources["ours"].Sensitivity != 3 {
		t.Errorf("the point knows points %v, sources %v, resources %v", got.Points, got.Sources, got.Resources)
	}
	if diff := cmp.Diff(before.Credentials, got.Credentials); diff != "" {
		t.Errorf("credentials (-server +point):\n%s", diff)
	}
	if diff := cmp.Diff(before.Revoked, got.Revoked); diff != "" {
		t.Errorf("revocations (-server +point):\n%s", diff)
	}
	if diff := cmp.Diff(before.Identities, got.Identities, cmpopts.IgnoreFields(nhi.Identity{}, "Owner")); diff != "" {
		t.Errorf("identities (-server +point):\n%s", diff)
	}
	for id, i := range got.Identities {
		if was := before.Identities[id]; was.Owned() != i.Owned() {
			t.Errorf("%s is owned: %v at the server, %v at the point", id, was.Owned(), i.Owned())
		}
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(image, []byte(owner.Ref)) || bytes.Contains(image, []byte("theirs")) {
		t.Error("the image names an owner, or what the point does not guard")
	}
	if diff := cmp.Diff(before, all(f.Snapshot())); diff != "" {
		t.Errorf("the server's own facts changed:\n%s", diff)
	}
}

// TestFollowIsApplyWithoutWhatIsOfNoInterest compares facts that see every
// change with facts that are told some of them at a time.
func TestFollowIsApplyWithoutWhatIsOfNoInterest(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 2))
	changes := history(t, r, 600)
	for i := range changes {
		if i%5 == 0 {
			changes[i].Subject, changes[i].Payload = nhi.SubjectFinding, []byte("{}")
		}
	}
	live, told := New(), New()
	apply(t, live, changes...)
	for at := 0; at < len(changes); {
		from := max(0, at-r.IntN(3)) // some of them twice
		to := min(len(changes), at+1+r.IntN(40))
		var some []nhi.Change
		for _, c := range changes[from:to] {
			if c.Subject != nhi.SubjectFinding {
				some = append(some, c)
			}
		}
		if err := told.Follow(nhi.Generation(from), nhi.Generation(to), some); err != nil {
			t.Fatal(err)
		}
		at = to
	}
	if diff := cmp.Diff(all(live.Snapshot()), all(told.Snapshot()), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-saw everything +was told):\n%s", diff)
	}
	if err := told.Follow(told.Generation()+1, told.Generation()+2, nil); err == nil || told.Stale() == "" {
		t.Error("a gap was not noticed")
	}
}
