// Package mem is a stream in memory, for tests: it keeps every promise of
// package stream but to survive the process. It passes the same conformance
// kit as the real one, so what works on it works there.
package mem

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/stream"
)

// Stream is a stream in memory. New makes one.
type Stream struct {
	set    stream.Settings
	origin string

	mu     sync.Mutex       // guards everything below
	kept   []stream.Message // in order
	bytes  int64            // of payloads kept
	last   uint64           // highest Seq ever given
	ids    map[string]uint64
	idAge  []agedID      // oldest first
	grown  chan struct{} // closed and replaced when something changes
	closed bool
}

type agedID struct {
	id string // subject and id
	at time.Time
}

// New returns an empty stream.
func New(set stream.Settings) *Stream {
	return &Stream{set: set.WithDefaults(), origin: rand.Text(), ids: map[string]uint64{}, grown: make(chan struct{})}
}

// Publish implements stream.Stream.
func (s *Stream) Publish(ctx context.Context, subject, id string, payload []byte) (uint64, bool, error) {
	if err := stream.Check(subject, id, payload); err != nil {
		return 0, false, err
	}
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, stream.ErrClosed)
	}
	now := time.Now().UTC()
	s.retire(now)
	if old, ok := s.ids[subject+"/"+id]; ok && id != "" {
		return old, true, nil
	}
	s.last++
	s.kept = append(s.kept, stream.Message{
		Subject: subject, ID: id, Seq: s.last, At: now, Version: stream.Version, Payload: bytes.Clone(payload),
	})
	s.bytes += int64(len(payload))
	if id != "" {
		s.ids[subject+"/"+id] = s.last
		s.idAge = append(s.idAge, agedID{subject + "/" + id, now})
	}
	s.retire(now)
	s.wake()
	return s.last, false, nil
}

// retire lets old messages and ids go. The caller holds mu.
func (s *Stream) retire(now time.Time) {
	n := 0
	for n < len(s.kept) && (s.bytes > s.set.MaxBytes || now.Sub(s.kept[n].At) > s.set.MaxAge) {
		s.bytes -= int64(len(s.kept[n].Payload))
		n++
	}
	s.kept = slices.Delete(s.kept, 0, n)
	n = 0
	for n < len(s.idAge) && now.Sub(s.idAge[n].at) > s.set.Dedup {
		delete(s.ids, s.idAge[n].id)
		n++
	}
	s.idAge = slices.Delete(s.idAge, 0, n)
}

// wake wakes all consumers. The caller holds mu.
func (s *Stream) wake() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// Consume implements stream.Stream.
func (s *Stream) Consume(ctx context.Context, c stream.Consumer, handle func(context.Context, stream.Message) error) error {
	if err := c.Check(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		found, err := s.next(&c)
		if err != nil {
			return err
		}
		if found.gone > 0 {
			c.Gone(found.gone)
		}
		if found.wait != nil {
			select {
			case <-found.wait:
			case <-ctx.Done():
			}
			continue
		}
		if err := handle(ctx, found.message); err != nil {
			return fmt.Errorf("consume message %d under %s: %w", found.message.Seq, found.message.Subject, err)
		}
	}
	return nil
}

// found is a message, or a channel that tells when to look again.
type found struct {
	message stream.Message
	wait    <-chan struct{}
	gone    uint64 // messages up to here have left before they were looked at
}

// next looks for the first message behind c.After and moves that on over all
// that it has looked at.
func (s *Stream) next(c *stream.Consumer) (f found, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return found{}, fmt.Errorf("consume: %w", stream.ErrClosed)
	}
	s.retire(time.Now())
	oldest := s.last + 1
	if len(s.kept) > 0 {
		oldest = s.kept[0].Seq
	}
	if c.After > 0 && c.After+1 < oldest {
		if c.Gone == nil {
			return found{}, fmt.Errorf("consume after %d, the oldest is %d: %w", c.After, oldest, stream.ErrGone)
		}
		f.gone = oldest - 1
	}
	i := sort.Search(len(s.kept), func(i int) bool { return s.kept[i].Seq > c.After })
	for _, m := range s.kept[i:] {
		c.After = m.Seq
		if c.Wants(m.Subject) {
			f.message = m
			f.message.Payload = bytes.Clone(m.Payload)
			return f, nil
		}
	}
	c.After = max(c.After, oldest-1)
	f.wait = s.grown
	return f, nil
}

// LastSeq implements stream.Stream.
func (s *Stream) LastSeq(ctx context.Context, subject string) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("last of %s: %w", subject, err)
	}
	if subject != "" {
		if err := stream.Check(subject, "", nil); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, fmt.Errorf("last of %s: %w", subject, stream.ErrClosed)
	}
	s.retire(time.Now())
	if subject == "" {
		return s.last, nil
	}
	for _, m := range slices.Backward(s.kept) {
		if m.Subject == subject {
			return m.Seq, nil
		}
	}
	return 0, nil
}

// Origin implements stream.Stream.
func (s *Stream) Origin(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("origin: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", fmt.Errorf("origin: %w", stream.ErrClosed)
	}
	return s.origin, nil
}

// Close implements stream.Stream.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.wake()
	}
	return nil
}
