package stream

import (
	"fmt"
	"sync"
)

// Flow bounds what publishers have on their way at one time, so that servers
// that became slow cost their senders a refusal and not us our memory. The
// zero value lets nothing pass; NewFlow makes one.
type Flow struct {
	most int64

	mu  sync.Mutex // guards now
	now int64
}

// NewFlow returns a Flow of up to most bytes.
func NewFlow(most int64) *Flow { return &Flow{most: most} }

// messageCost is what a message takes beside its payload.
const messageCost = 4 << 10

// Take reserves room for a payload of size bytes until the caller calls done.
// It never waits: without room it returns ErrBusy. One message always fits, or
// it could never be sent.
func (f *Flow) Take(size int) (done func(), err error) {
	cost := int64(size) + messageCost
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most <= 0 || (f.now > 0 && f.now+cost > f.most) {
		return nil, fmt.Errorf("%d MB wait: %w", f.now>>20, ErrBusy)
	}
	f.now += cost
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now -= cost
	}, nil
}
