package stream

import (
	"errors"
	"sync"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

func TestSendersAreRefusedWhenTooMuchIsOnItsWay(t *testing.T) {
	f := NewFlow(3 << 20)
	var open []func()
	for range 2 {
		done, err := f.Take(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, done)
	}
	if _, err := f.Take(1 << 20); !errors.Is(err, ErrBusy) || !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("the third of 1 MB and a header = %v, want ErrBusy", err)
	}
	open[0]()
	done, err := f.Take(1 << 20)
	if err != nil {
		t.Errorf("with room again: %v", err)
	}
	done()
	open[1]()
	if f.now != 0 {
		t.Errorf("%d bytes are still counted with nothing on its way", f.now)
	}
}

func TestOneMessageAlwaysFits(t *testing.T) {
	f := NewFlow(10)
	done, err := f.Take(MaxPayload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Take(0); !errors.Is(err, ErrBusy) {
		t.Errorf("a second = %v, want ErrBusy", err)
	}
	done()
	if _, err := new(Flow).Take(0); !errors.Is(err, ErrBusy) {
		t.Errorf("the zero value = %v, want ErrBusy", err)
	}
}

func TestNeverMoreThanTheBoundIsOnItsWay(t *testing.T) {
	const most = 10 * messageCost
	f := NewFlow(most)
	var mu sync.Mutex
	now, refused := 0, 0
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 200 {
				done, err := f.Take(0)
				mu.Lock()
				if err != nil {
					refused++
					mu.Unlock()
					continue
				}
				if now++; now > 10 {
					t.Errorf("%d messages on their way, 10 fit", now)
				}
				mu.Unlock()
				mu.Lock()
				now--
				mu.Unlock()
				done()
			}
		})
	}
	wg.Wait()
	if f.now != 0 {
		t.Errorf("%d bytes are still counted", f.now)
	}
	t.Logf("%d refused", refused)
}
