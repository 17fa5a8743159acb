package simulate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
)

// memory is a ShadowStore.
type memory struct {
	mu     sync.Mutex
	shadow nhi.Shadow
	kept   []nhi.ShadowDifference
	down   bool
}

var errDown = errors.New("the store is down")

func (m *memory) locked(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	f()
	return nil
}

func (m *memory) Shadow(context.Context) (s nhi.Shadow, err error) {
	err = m.locked(func() { s = m.shadow })
	return s, err
}

func (m *memory) Begin(_ context.Context, s *nhi.Shadow) error {
	return m.locked(func() { m.shadow, m.kept = *s, nil })
}

func (m *memory) End(_ context.Context, id string, at time.Time) error {
	return m.locked(func() {
		if m.shadow.ID == id {
			m.shadow.Stopped = at
		}
	})
}

func (m *memory) Add(_ context.Context, id string, c nhi.ShadowCounts, ds []nhi.ShadowDifference) error {
	return m.locked(func() {
		if m.shadow.ID != id {
			return
		}
		s := &m.shadow.ShadowCounts
		s.Judged, s.Unanswered, s.Denied, s.StepUp, s.Allowed = s.Judged+c.Judged, s.Unanswered+c.Unanswered, s.Denied+c.Denied, s.StepUp+c.StepUp, s.Allowed+c.Allowed
		s.Dropped, s.Unkept, s.Errors = s.Dropped+c.Dropped, s.Unkept+c.Unkept, s.Errors+c.Errors
		m.kept = append(m.kept, ds...)
	})
}

// panicking breaks down on every question.
type panicking struct{}

func (panicking) Evaluate(*nhi.Question) nhi.Ruling { panic("broken") }

// shade returns a Shadow and what it hands decisions to.
func shade(t *testing.T, store ShadowStore) (*Shadow, *func(*nhi.Decision)) {
	t.Helper()
	var tapped func(*nhi.Decision)
	return NewShadow(ShadowDeps{
		Store: store, Tap: func(f func(*nhi.Decision)) { tapped = f }, MaxFactsAge: func() time.Duration { return time.Minute },
		Load: func(files map[string]string) (decision.Policies, error) {
			if files["broken"] != "" {
				return panicking{}, nil
			}
			return load(t, files["x"]), nil
		},
		Base: func(string) decision.Policies { return nil },
	}), &tapped
}

// TestAFullQueueNeverMakesADecisionWait offers more than fits while nothing
// takes it: no offer waits or allocates, and what does not fit is counted.
func TestAFullQueueNeverMakesADecisionWait(t *testing.T) {
	s, _ := shade(t, &memory{})
	d := decided(1, nil)
	for range shadowQueue {
		s.Offer(&d)
	}
	if got := testing.AllocsPerRun(1000, func() { s.Offer(&d) }); got != 0 {
		t.Errorf("an offer allocates %v times", got)
	}
	if got := s.Dropped(); got != 1001 { // AllocsPerRun warms up once
		t.Errorf("%d were dropped", got)
	}
}

func TestAShadowTriesWhatIsDecidedAndKeepsOnlyDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		s, tapped := shade(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		if *tapped != nil {
			t.Fatal("it listens without a candidate")
		}
		begin := func(id, text string) {
			if err := s.Start(ctx, &nhi.Shadow{ID: id, Files: map[string]string{"x": text}}); err != nil {
				t.Fatal(err)
			}
		}
		begin("one", candidate)
		same, write, old := decided(0, nil), decided(1, func(d *nhi.Decision) { d.Action = nhi.Write }), decided(2, func(d *nhi.Decision) { d.Inputs = nil })
		for _, d := range []*nhi.Decision{&same, &write, &old} {
			(*tapped)(d)
		}
		time.Sleep(2 * shadowBeat)
		synctest.Wait()
		got, _ := store.Shadow(ctx)
		if want := (nhi.ShadowCounts{Judged: 2, Unanswered: 1, Denied: 1}); got.ShadowCounts != want || len(store.kept) != 1 || store.kept[0].Decision != "d1" || store.kept[0].Kind != string(NewlyDenied) {
			t.Errorf("%+v, kept %+v", got.ShadowCounts, store.kept)
		}
		if s.Judged() != 2 || s.Changed(NewlyDenied) != 1 || s.Changed(NewlyAllowed) != 0 {
			t.Errorf("totals: %d, %d", s.Judged(), s.Changed(NewlyDenied))
		}
		// While the store is down differences are bounded, and counted.
		store.locked(func() { store.down = true })
		for range shadowKept + 20 {
			(*tapped)(&write)
			synctest.Wait()
		}
		store.mu.Lock()
		store.down = false
		store.mu.Unlock()
		time.Sleep(2 * shadowBeat)
		synctest.Wait()
		got, _ = store.Shadow(ctx)
		if got.Denied != shadowKept+21 || got.Unkept != 20 || len(store.kept) != shadowKept+1 {
			t.Errorf("%+v, kept %d", got.ShadowCounts, len(store.kept))
		}
		// Another process starts another one, and stops it.
		store.locked(func() { store.shadow = nhi.Shadow{ID: "two", Files: map[string]string{"x": ""}} })
		time.Sleep(2 * shadowBeat)
		synctest.Wait()
		(*tapped)(&write)
		time.Sleep(2 * shadowBeat)
		synctest.Wait()
		if got, _ = store.Shadow(ctx); got.Judged != 1 || got.Denied != 0 {
			t.Errorf("after another start: %+v", got.ShadowCounts)
		}
		store.locked(func() { store.shadow.Stopped = time.Now() })
		time.Sleep(2 * shadowBeat)
		synctest.Wait()
		if *tapped != nil {
			t.Error("it listens after the end")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestACandidateThatBreaksDownHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		s, tapped := shade(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		if err := s.Start(ctx, &nhi.Shadow{ID: "one", Files: map[string]string{"broken": "yes"}}); err != nil {
			t.Fatal(err)
		}
		d := decided(1, nil)
		(*tapped)(&d)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if store.shadow.Errors != 1 || store.shadow.Unanswered != 1 || *tapped != nil {
			t.Errorf("%+v", store.shadow.ShadowCounts)
		}
	})
}
