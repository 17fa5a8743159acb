package notify

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

type box struct {
	waiting []Waiting
	settled []Settled
}

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
	s := deliver(t.Context(), Route{Channel: f, Least: nhi.High}, Waiting{Notice: nhi.Notice{Severity: nhi.Medium}})
	if s.Status != StatusDone || f.fail != 99 {
		t.Errorf("a medium notice went to a channel for high ones: %+v", s)
	}
}

func TestPausesGrowToABound(t *testing.T) {
	if pause(1) != firstPause || pause(2) != 2*firstPause || pause(200) != longest {
		t.Errorf("pauses %v, %v, %v", pause(1), pause(2), pause(200))
	}
}
