package feed

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Skew is by how much the clocks of point and server may differ.
const Skew = 2 * time.Minute

// A State is how far a point has come. The zero State has nothing.
type State struct {
	Mark
	Point nhi.ID // whose state it is; empty until the first message
}

// Accept checks that a message is the answer to the question with this nonce,
// and that it leads on from s at the time now, and returns what it leads to. s
// is unchanged, so that nothing is lost when the message then cannot be applied.
func (s *State) Accept(f *Frame, nonce string, now time.Time) (State, error) {
	m := &f.Message
	if nonce == "" || m.Nonce != nonce {
		return *s, ErrReplay
	}
	switch {
	case m.Issued.After(now.Add(Skew)):
		return *s, fmt.Errorf("%w: it was issued %v in the future: set the clocks of point and server", ErrExpired, m.Issued.Sub(now).Round(time.Second))
	case !now.Before(m.Expires):
		return *s, fmt.Errorf("%w: it was good until %v ago: set the clocks of point and server, or see why its answer took so long", ErrExpired, now.Sub(m.Expires).Round(time.Second))
	}
	return s.follow(f)
}

// Replay checks that a message that was accepted before, and kept, follows s. Its
// nonce and its time are long gone: what the state is still good for, whoever
// replays it judges by the time when it was issued.
func (s *State) Replay(f *Frame) (State, error) {
	if !f.Message.Link() {
		return *s, fmt.Errorf("%w: it carries nothing", ErrGap)
	}
	return s.follow(f)
}

func (s *State) follow(f *Frame) (State, error) {
	m := &f.Message
	if s.Point != "" && (m.Point != s.Point || m.Mark.Installation != s.Installation) {
		return *s, fmt.Errorf("%w: it is for %.64s of installation %.64s", ErrReplay, m.Point, m.Mark.Installation)
	}
	if m.Mark.Generation < s.Generation {
		return *s, fmt.Errorf("%w: from generation %d to %d", ErrRollback, s.Generation, m.Mark.Generation)
	}
	next := State{Mark: m.Mark, Point: m.Point}
	next.Hash = f.Hash
	switch {
	case m.Mark.Sequence < s.Sequence:
		return *s, fmt.Errorf("%w: from message %d to %d", ErrRollback, s.Sequence, m.Mark.Sequence)
	case !m.Link():
		if m.Mark.Sequence != s.Sequence || m.Prev != s.Hash || s.Sequence == 0 || m.Mark.Basis != s.Basis || m.Mark.Scope != s.Scope {
			return *s, ErrGap
		}
		next.Hash = s.Hash
	case m.Mark.Sequence != s.Sequence+1:
		return *s, fmt.Errorf("%w: %d comes after %d", ErrGap, m.Mark.Sequence, s.Sequence)
	case m.Prev != s.Hash:
		return *s, ErrGap
	case m.Image == nil && (s.Sequence == 0 || m.From > s.Generation || m.Mark.Scope != s.Scope):
		return *s, ErrGap
	case m.Basis == nil && m.Mark.Basis != s.Basis, m.Basis != nil && m.Mark.Basis != m.Basis.Digest():
		return *s, fmt.Errorf("%w: its basis is not what it says", ErrGap)
	}
	return next, nil
}

// DigestOf identifies a change as the store keeps it.
func DigestOf(c *nhi.Change) Hash {
	return digest(string(c.Subject), c.Key, c.At.UTC().Format(time.RFC3339Nano), string(c.Payload))
}

// ScopeOf identifies a list of resources, in whatever order.
func ScopeOf(resources []string) Hash {
	return digest(slices.Sorted(slices.Values(resources))...)
}

// digest hashes texts, each behind its length.
func digest(texts ...string) Hash {
	h := sha256.New()
	var n [8]byte
	for _, text := range texts {
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	return Hash(h.Sum(nil))
}
