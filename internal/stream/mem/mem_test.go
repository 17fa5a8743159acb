package mem

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/streamtest"
)

func TestConformance(t *testing.T) {
	streamtest.Run(t, func(t *testing.T, set stream.Settings) stream.Stream { return New(set) })
}

func TestMessagesAndIDsLeaveByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(stream.Settings{MaxAge: time.Hour, Dedup: 10 * time.Minute})
		publish := func(wantSeq uint64, wantDuplicate bool) {
			t.Helper()
			seq, duplicate, err := s.Publish(t.Context(), stream.Change, "a", nil)
			if err != nil || seq != wantSeq || duplicate != wantDuplicate {
				t.Errorf("Publish = %d, %t, %v, want %d, %t", seq, duplicate, err, wantSeq, wantDuplicate)
			}
		}
		publish(1, false)
		time.Sleep(10 * time.Minute) // in the bubble: no time passes outside
		publish(1, true)
		time.Sleep(time.Second)
		publish(2, false)
		time.Sleep(time.Hour + time.Second)
		if n, err := s.LastSeq(t.Context(), stream.Change); err != nil || n != 0 {
			t.Errorf("LastSeq = %d, %v, want nothing kept", n, err)
		}
		if n, err := s.LastSeq(t.Context(), ""); err != nil || n != 2 {
			t.Errorf("LastSeq of all = %d, %v, want 2", n, err)
		}
		if err := s.Consume(t.Context(), stream.Consumer{After: 1}, nil); !errors.Is(err, stream.ErrGone) {
			t.Errorf("Consume = %v, want ErrGone", err)
		}
	})
}
