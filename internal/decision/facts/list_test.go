package facts

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

func TestIdentitiesAreListedOnceEachInTheOrderOfTheirNumbers(t *testing.T) {
	f := New()
	var state State
	var want, roles []nhi.ID
	for n := range 5000 {
		i := someIdentity(n)
		if n%3 == 0 {
			i.Kind = nhi.KindWorkload
		}
		if n == 10 {
			i.Alias = identityN(11)
		} else {
			want = append(want, i.ID)
			if i.Kind == nhi.KindRole {
				roles = append(roles, i.ID)
			}
		}
		state.Identities = append(state.Identities, i)
	}
	odd := someIdentity(1)
	odd.ID = "alice"
	state.Identities = append(state.Identities, odd)
	if err := f.Load(1, state); err != nil {
		t.Fatal(err)
	}
	byNumber := func(a, b nhi.ID) int {
		if a.Number().Less(b.Number()) {
			return -1
		}
		return 1
	}
	slices.SortFunc(want, byNumber)
	slices.SortFunc(roles, byNumber)
	for _, tt := range []struct {
		kind nhi.Kind
		n    int
		want []nhi.ID
	}{{"", 1, want[:50]}, {"", 77, want}, {"", 10_000, want}, {nhi.KindRole, 100, roles}, {"user", 10, nil}} {
		var got []nhi.ID
		after, more := nhi.ID(""), true
		for more && (tt.n > 1 || len(got) < 50) {
			var ids []nhi.ID
			if ids, more = f.IdentitiesAfter(after, tt.kind, tt.n); len(ids) > tt.n || more && len(ids) < tt.n {
				t.Fatalf("%d identities of %d, and more: %v", len(ids), tt.n, more)
			}
			if got = append(got, ids...); len(ids) > 0 {
				after = ids[len(ids)-1]
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("kind %q by %d: %d of %d, (-want +got):\n%.300s", tt.kind, tt.n, len(got), len(tt.want), diff)
		}
	}
	// One that has gone meanwhile is no reason to begin again.
	gone := want[100]
	apply(t, f, change(t, 2, nhi.SubjectIdentity, string(gone), nil))
	if ids, _ := f.IdentitiesAfter(gone, "", 1); len(ids) != 1 || ids[0] != want[101] {
		t.Errorf("after one that is gone comes %v, want %s", ids, want[101])
	}
}

func TestResourcesAreListedInTheOrderOfNames(t *testing.T) {
	f := New()
	var state State
	var want []string
	for n := range 2000 {
		r := nhi.Resource{Name: fmt.Sprintf("r/%d", n), Sensitivity: n % 5}
		state.Resources = append(state.Resources, r)
		if n%5 != 4 {
			want = append(want, r.Name)
		}
	}
	if err := f.Load(1, state); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	mild := func(r *nhi.Resource) bool { return r.Sensitivity < 4 }
	for _, n := range []int{7, 100, 5000} {
		var got []string
		after, more := "", true
		for more {
			var names []string
			if names, more = f.ResourcesAfter(after, n, mild); len(names) > n || len(names) == 0 {
				t.Fatalf("%d names of %d", len(names), n)
			}
			got = append(got, names...)
			after = names[len(names)-1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %d: %d of %d", n, len(got), len(want))
		}
	}
}
