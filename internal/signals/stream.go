package signals

import (
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// The statuses of a stream (SSF 1.0, section 8.1.2).
const (
	Enabled  = "enabled"  // events are sent
	Paused   = "paused"   // events are held, up to a bound
	Disabled = "disabled" // events are neither sent nor held
)

// A Stream is the path of events to one receiver (SSF 1.0, section 8.1.1), as
// its transmitter keeps it.
type Stream struct {
	ID       string
	Receiver nhi.ID // who made it and alone may touch it; also its aud
	Method   string // Push or Poll
	Endpoint string // push: where to; empty for poll
	// Sealed is the encrypted value of the Authorization header that the
	// receiver wants with each push. It is written and never read back.
	Sealed      []byte
	Requested   []string // events; nil: all
	Format      string   // of subjects, as the receiver wants them
	Description string

	Status string
	Reason string // of the status
	Ours   bool   // the transmitter chose the status, not the receiver

	Created  time.Time
	Verified time.Time // when a verification was last asked for
	Failing  time.Time // push: since when nothing gets through; zero: it does
	Error    string    // of the last attempt
	Lost     int64     // events that were dropped because nobody took them

	Waiting int // events in the outbox, as far as they were counted
}

// Delivers reports whether events of a type go over the stream.
func (s *Stream) Delivers(event string) bool {
	if event == Verification || event == StreamUpdated {
		return true
	}
	for _, e := range s.Delivered() {
		if e == event {
			return true
		}
	}
	return false
}

// Delivered are the events that the stream carries: what was requested, as far
// as it is supported, in the order of Supported.
func (s *Stream) Delivered() []string {
	if s.Requested == nil {
		return Supported
	}
	out := []string{}
	for _, e := range Supported {
		for _, want := range s.Requested {
			if want == e {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

// Holds reports whether new events are kept for the receiver.
func (s *Stream) Holds() bool { return s.Status == Enabled || s.Status == Paused }

// Waiting is an event in an outbox: the claims of a SET that is signed when it
// is sent, because keys live shorter than a receiver may be away.
type Waiting struct {
	ID     string // jti
	At     time.Time
	Claims []byte
}

// Known is what was last told of an identity or a credential. The zero Known is
// that of what is active, at low risk and was never rotated.
type Known struct {
	State     string
	Level     string
	NotBefore time.Time
	Rotated   time.Time
	Created   bool // a credential whose creation was told
	At        time.Time
}

// A Telling is what follows from a piece of the sequence, written at once.
type Telling struct {
	Through nhi.Generation
	Known   map[string]Known // by id; a zero Known is forgotten
	Events  []Told
	Lost    map[string]int64 // events that found no room, by stream
}

// Told is one event for one stream.
type Told struct {
	Stream string
	Waiting
}
