package notify

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

type box struct {
	waiting []Waiting
	settled []Settled
	routed  []Want
}

func (b *box) Route(_ context.Context, wants []Want) error { b.routed = wants; return nil }

func (b *box) Forget(context.Context, time.Time) error { return nil }

func (b *box) Due(_ context.Context, _ string, at time.Time, _ int) ([]Waiting, error) {
	if len(b.settled) > 0 {
		last := b.settled[len(b.settled)-1]
		if last.Status != StatusWaiting || at.Before(last.Due) {
			return nil, nil
		}
		w := b.waiting[0]
		w.Attempts = last.Attempts
		return []Waiting{w}, nil
	}
	return b.waiting, nil
}

func (b *box) Settle(_ context.Context, _ string, s Settled) error {
	b.settled = append(b.settled, s)
	return nil
}

type flaky struct{ fail int }

func (f *flaky) Name() string { return "flaky" }
func (f *flaky) Send(context.Context, nhi.Notice) error {
	if f.fail--; f.fail >= 0 {
		return errors.New("no answer")
	}
	return nil
}

func TestADeliveryIsTriedUntilItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{waiting: []Waiting{{Notice: nhi.Notice{ID: "n", Severity: nhi.High}}}}
		r := NewRouter(b, []Route{{Channel: &flaky{fail: 3}}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if n := len(b.settled); n != 4 || b.settled[3].Status != StatusDone || b.settled[3].Attempts != 4 {
			t.Errorf("attempts: %+v, want three that wait and one that is done", b.settled)
		}
	})
}

func TestAChannelGetsOnlyTheSeverityItAskedFor(t *testing.T) {
	f := &flaky{fail: 99}
	s, _ := deliver(t.Context(), Route{Channel: f, Least: nhi.High}, Waiting{Notice: nhi.Notice{Severity: nhi.Medium}})
	if s.Status != StatusDone || f.fail != 99 {
		t.Errorf("a medium notice went to a channel for high ones: %+v", s)
	}
}

func TestAChannelWantsItsSeverityAndAbove(t *testing.T) {
	r := NewRouter(&box{}, []Route{{Channel: &flaky{}, Least: nhi.High}, {Channel: &flaky{}}})
	want := []Want{
		{Channel: "flaky", Severities: []nhi.Severity{nhi.Critical, nhi.High}},
		{Channel: "flaky", Severities: []nhi.Severity{nhi.Critical, nhi.High, nhi.Info, nhi.Low, nhi.Medium}},
	}
	if diff := cmp.Diff(want, wants(*r.routes.Load())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// slow never answers until it is told to.
type slow struct{ entered, release chan struct{} }

func (s slow) Name() string { return "slow" }
func (s slow) Send(ctx context.Context, _ nhi.Notice) error {
	close(s.entered)
	select {
	case <-s.release:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// one gives each channel its notice once.
type one struct {
	box
	mu    sync.Mutex
	given map[string]bool
	done  chan string
}

func (o *one) Due(_ context.Context, channel string, _ time.Time, _ int) ([]Waiting, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.given[channel] {
		return nil, nil
	}
	o.given[channel] = true
	return []Waiting{{Notice: nhi.Notice{ID: "n"}}}, nil
}

func (o *one) Settle(_ context.Context, channel string, s Settled) error {
	o.done <- channel + " " + s.Status
	return nil
}

func TestASlowReceiverHoldsNobodyUpAndACutAttemptIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slow{make(chan struct{}), make(chan struct{})}
		o := &one{given: map[string]bool{}, done: make(chan string, 4)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- NewRouter(o, []Route{{Channel: s}, {Channel: &flaky{}}}).Run(ctx) }()
		<-s.entered
		if got := <-o.done; got != "flaky done" {
			t.Errorf("settled %q first, want the receiver that answers", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(o.done) != 0 {
			t.Errorf("the attempt that was cut off by the stop counts as %q", <-o.done)
		}
	})
}

func TestTryingEndsAfterAboutThreeDays(t *testing.T) {
	total := time.Duration(0)
	for n := 1; n < lastTry; n++ {
		total += pause(n)
	}
	if total < 60*time.Hour || total > 84*time.Hour || total >= keepFor {
		t.Errorf("tried for %v", total)
	}
}

func TestPausesGrowToABound(t *testing.T) {
	if pause(1) != firstPause || pause(2) != 2*firstPause || pause(200) != longest {
		t.Errorf("pauses %v, %v, %v", pause(1), pause(2), pause(200))
	}
}
