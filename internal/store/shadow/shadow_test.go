package shadow

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func TestThereIsOneShadowAndItsNewestDifferencesStay(t *testing.T) {
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, s := t.Context(), New(db)
	if got, err := s.Shadow(ctx); err != nil || got.Running() || got.ID != "" {
		t.Fatalf("before any: %+v, %v", got, err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	first := nhi.Shadow{ID: "one", Digest: "d", Files: map[string]string{"a.cedar": "x"}, Author: "operator:'; DROP TABLE shadow", Started: now}
	if err := s.Begin(ctx, &first); err != nil {
		t.Fatal(err)
	}
	difference := func(i int) nhi.ShadowDifference {
		return nhi.ShadowDifference{
			Decision: fmt.Sprintf("d%05d", i), At: now.Add(time.Duration(i) * time.Second), Kind: "newly-denied", Identity: nhi.ID(fmt.Sprint("nhi_", i%3)),
			Resource: fmt.Sprint("r", i%2), Policies: []string{"p"}, Before: "allow", After: "deny",
		}
	}
	counts := nhi.ShadowCounts{Judged: 10, Unanswered: 1, Denied: 2, StepUp: 3, Allowed: 4, Dropped: 5, Unkept: 6, Errors: 7}
	for range 2 { // the same decision twice is kept once
		if err := s.Add(ctx, "one", counts, []nhi.ShadowDifference{difference(0), difference(1), difference(2)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(ctx, "another", counts, []nhi.ShadowDifference{difference(9)}); err != nil {
		t.Fatal(err)
	}
	want := first
	want.ShadowCounts = nhi.ShadowCounts{Judged: 20, Unanswered: 2, Denied: 4, StepUp: 6, Allowed: 8, Dropped: 10, Unkept: 12, Errors: 14}
	got, err := s.Shadow(ctx)
	if diff := cmp.Diff(want, got); err != nil || diff != "" || !got.Running() {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, tt := range []struct {
		f    nhi.ShadowFilter
		want []string
	}{
		{nhi.ShadowFilter{Limit: 9}, []string{"d00002", "d00001", "d00000"}}, {nhi.ShadowFilter{Limit: 2}, []string{"d00002", "d00001"}},
		{nhi.ShadowFilter{Identity: "nhi_1", Limit: 9}, []string{"d00001"}}, {nhi.ShadowFilter{Resource: "r0", Limit: 9}, []string{"d00002", "d00000"}},
		{nhi.ShadowFilter{Kind: "newly-allowed", Limit: 9}, nil},
	} {
		list, err := s.Differences(ctx, tt.f)
		var ids []string
		for _, d := range list {
			ids = append(ids, d.Decision)
		}
		if diff := cmp.Diff(tt.want, ids); err != nil || diff != "" {
			t.Errorf("%+v: %v (-want +got):\n%s", tt.f, err, diff)
		}
	}
	var many []nhi.ShadowDifference
	s.kept = 50
	for i := range 70 {
		many = append(many, difference(i))
	}
	if err := s.Add(ctx, "one", nhi.ShadowCounts{}, many); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Differences(ctx, nhi.ShadowFilter{Limit: 500}); err != nil || len(list) != 50 || list[49].Decision != "d00020" {
		t.Errorf("%d are kept, %v", len(list), err)
	}
	if err := s.End(ctx, "one", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Shadow(ctx); err != nil || got.Running() || !got.Stopped.Equal(now.Add(time.Hour)) {
		t.Errorf("stopped: %+v, %v", got, err)
	}
	if err := s.Begin(ctx, &nhi.Shadow{ID: "two", Files: map[string]string{}, Started: now}); err != nil {
		t.Fatal(err)
	}
	list, err := s.Differences(ctx, nhi.ShadowFilter{Limit: 9})
	if got, err2 := s.Shadow(ctx); err != nil || err2 != nil || len(list) != 0 || got.ID != "two" || !got.Running() || got.ShadowCounts != (nhi.ShadowCounts{}) {
		t.Errorf("after another start: %+v, %d differences, %v, %v", got, len(list), err, err2)
	}
}
