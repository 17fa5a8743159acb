// Package stream is how domains meet that must not import each other: one
// ordered, durable sequence of messages, each under a subject.
//
// What is published has one number, its Seq, counted over all subjects
// without repeats. A consumer is a loop and a number: it stores the Seq of
// what it has applied, best in the same transaction as the effect, and asks
// for what comes after. The stream remembers nothing about consumers, so
// delivery is at least once, and applying must be idempotent.
//
// A message with an id is stored once: publishing the same id again under the
// same subject within Settings.Dedup says where it is and adds nothing. So a
// publisher that does not know whether it succeeded simply repeats.
//
// Old messages leave by age and by size. A consumer that was away for longer
// is told so (ErrGone) and decides itself; it is never skipped in silence.
//
// Bulk activity travels in batches, see EncodeBatch: the sync that makes a
// message durable is paid once per batch.
//
// The folders hold the implementations: nats is JetStream inside this process
// or elsewhere, mem is for tests. Both pass streamtest.
package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Subjects in use. A subject is lower-case words joined by dots; the payload
// is named behind it.
const (
	ActivityBatch = "activity.batch" // EncodeBatch of events from logs
	DecisionBatch = "decision.batch" // EncodeBatch of our own decisions
	Change        = "change"         // nhi.Change in JSON; the id is its number
	Finding       = "finding"        // nhi.Finding in JSON
	Sighting      = "sighting"       // nhi.Sighting in JSON
)

// Version is the version of the envelope and of all payloads that this
// program writes. It reads up to it.
const Version = 1

// Limits that every implementation keeps.
const (
	MaxPayload = 2 << 20 // bytes
	MaxID      = 256     // bytes
	MaxSubject = 128     // bytes
)

// Errors that callers tell apart.
var (
	ErrClosed = errors.New("stream is closed")
	// ErrGone means that messages a consumer asked for have left the stream.
	ErrGone = errors.New("messages have left the stream")
	// ErrNewer means that a message or the whole stream was written by a newer
	// version.
	ErrNewer = errors.New("written by a newer version")
	// ErrFull means that the disk has no room to spare; ingest must stop until
	// there is.
	ErrFull = errors.New("stream store is full")
	// ErrBroken means that a write failed and the store takes nothing more
	// until it is opened anew. What was acknowledged is safe.
	ErrBroken = errors.New("stream store refuses messages after a failed write")
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("stream store is in use by another process")
	// ErrUnavailable means that the stream's servers cannot be reached or too
	// few of them run. It passes by itself once they do.
	ErrUnavailable = errors.New("stream is not available")
	// ErrBusy means that as much as may wait is on its way into the stream;
	// the sender keeps what it has and sends it again a little later. It wraps
	// nhi.ErrBusy.
	ErrBusy = fmt.Errorf("too much is on its way into the stream; send it again in a few seconds: %w", nhi.ErrBusy)
)

// Message is one message as delivered.
type Message struct {
	Subject string
	ID      string    // the publisher's; empty if it gave none
	Seq     uint64    // from 1, rising
	At      time.Time // of publishing, UTC
	Version int
	Payload []byte // belongs to the receiver
}

// Consumer says which messages to deliver.
type Consumer struct {
	// Subjects in full, or ending in ".>" for all below. None means all.
	Subjects []string
	// After is the last Seq that was applied; 0 starts with the oldest kept.
	After uint64
	// Gone, if set, is told that messages up to and including upTo left the
	// stream before they were looked at, and delivery goes on behind them.
	// Without it Consume returns ErrGone. The lost ones may have had other
	// subjects: a consumer of rare ones, whose After can be older than the
	// stream, should set it. It is called in between calls of handle.
	Gone func(upTo uint64)
}

// Stream is a sequence of messages. All methods may be called concurrently.
type Stream interface {
	// Publish stores a message and returns its number once it is durable. If
	// id is not empty and was published under subject before, it returns that
	// number and true. An error leaves open whether the message was stored:
	// repeat with the same id. It wraps nhi.ErrInvalid or nhi.ErrTooLarge for
	// bad input, ErrFull when there is no room, ErrBroken after a failed write,
	// ErrUnavailable when the servers are away, ErrBusy when too much waits.
	Publish(ctx context.Context, subject, id string, payload []byte) (seq uint64, duplicate bool, err error)

	// Consume calls handle with one message after another in order, those
	// there and those to come, and blocks until ctx ends (it returns nil), the
	// stream is closed (ErrClosed) or handle returns an error (returned,
	// wrapped). handle is given ctx and is not called concurrently.
	Consume(ctx context.Context, c Consumer, handle func(context.Context, Message) error) error

	// LastSeq returns the number of the last message under subject, which may
	// not end in ".>"; "" means of all. It is 0 if none is kept.
	LastSeq(ctx context.Context, subject string) (uint64, error)

	// Origin names the sequence. A number means something only together with
	// it: another stream in place of this one, or this one begun anew, has
	// another origin.
	Origin(ctx context.Context) (string, error)

	// Close releases everything. What was acknowledged stays durable.
	Close() error
}

// Settings of a stream. The zero value is the production default.
type Settings struct {
	MaxAge   time.Duration // messages older than this leave; 0 means 30 days
	MaxBytes int64         // the oldest leave when there is more; 0 means 20 GB
	Dedup    time.Duration // how long ids are remembered; 0 means 20 minutes
	Waiting  int64         // bytes that publishers may have on their way; 0 means 64 MB
}

// WithDefaults returns the settings with zeros replaced. The ids of messages
// that left are forgotten, so Dedup is at most MaxAge.
func (s Settings) WithDefaults() Settings {
	if s.MaxAge <= 0 {
		s.MaxAge = 30 * 24 * time.Hour
	}
	if s.MaxBytes <= 0 {
		s.MaxBytes = 20 << 30
	}
	if s.Dedup <= 0 {
		s.Dedup = 20 * time.Minute
	}
	if s.Waiting <= 0 {
		s.Waiting = 64 << 20
	}
	s.Dedup = min(s.Dedup, s.MaxAge)
	return s
}

// Check is what Publish refuses in every implementation.
func Check(subject, id string, payload []byte) error {
	switch {
	case !validSubject(subject):
		return nhi.Invalidf("publish under subject %.*q", MaxSubject, subject)
	case len(id) > MaxID || !printable(id):
		return nhi.Invalidf("publish under %s with an id of %d bytes or unprintable", subject, len(id))
	case len(payload) > MaxPayload:
		return fmt.Errorf("publish %d bytes under %s: %w", len(payload), subject, nhi.ErrTooLarge)
	}
	return nil
}

// Check is what Consume refuses in every implementation.
func (c Consumer) Check() error {
	for _, s := range c.Subjects {
		if s != ">" && !validSubject(strings.TrimSuffix(s, ".>")) {
			return nhi.Invalidf("consume subject %.*q", MaxSubject, s)
		}
	}
	return nil
}

// Wants reports whether the consumer wants messages under subject.
func (c Consumer) Wants(subject string) bool {
	if len(c.Subjects) == 0 {
		return true
	}
	for _, s := range c.Subjects {
		above, all := strings.CutSuffix(s, ">")
		if s == subject || (all && strings.HasPrefix(subject, above)) {
			return true
		}
	}
	return false
}

// validSubject reports whether s is words of a-z, 0-9, - and _ joined by dots.
func validSubject(s string) bool {
	if s == "" || len(s) > MaxSubject {
		return false
	}
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// printable reports whether s can be a header's value: ASCII without control
// characters, no space at an end.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}
