package nats

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/muster-id/muster/internal/stream"
)

// heartbeat is how soon a consumer notices that the server it reads from is
// gone; two that are missing make it begin anew elsewhere.
const heartbeat = 2 * time.Second

// resetAttempts is how often a consumer is made again before Consume fails: at
// once, after a second and after two more, each within ten seconds.
const resetAttempts = 3

// Consume implements stream.Stream. It uses an ordered consumer: the server
// keeps nothing about it, and a message that goes missing between server and
// client is asked for again.
func (s *Stream) Consume(ctx context.Context, c stream.Consumer, handle func(context.Context, stream.Message) error) error {
	if err := c.Check(); err != nil {
		return err
	}
	both, cancel := context.WithCancel(ctx) // the caller's end, or the stream's
	defer cancel()
	defer context.AfterFunc(s.closed, cancel)()
	r := &reader{s: s, c: c}
	err := r.start(both, handle)
	switch {
	case r.handled != nil:
		return r.handled
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("consume after %d: %w", r.c.After, s.explain(err))
	}
	return nil
}

// A reader is one consumer at work. Its c.After moves on with what it has
// looked at.
type reader struct {
	s       *Stream
	stream  jetstream.Stream
	c       stream.Consumer
	handled error // from handle
}

func (r *reader) start(ctx context.Context, handle func(context.Context, stream.Message) error) (err error) {
	if r.stream, err = r.s.current(ctx); err != nil {
		return err
	}
	return r.run(ctx, handle)
}

func (r *reader) run(ctx context.Context, handle func(context.Context, stream.Message) error) error {
	if r.c.After > 0 {
		if err := r.checkGone(ctx, math.MaxUint64); err != nil {
			return err
		}
	}
	config := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   r.c.After + 1,
		// When its server is killed the consumer is made again under a name that
		// follows from the old one. That can go wrong for good, and cannot be
		// cancelled; whoever consumes begins anew, which can.
		MaxResetAttempts: resetAttempts,
	}
	for _, subject := range r.c.Subjects {
		config.FilterSubjects = append(config.FilterSubjects, r.s.prefix+subject)
	}
	consumer, err := r.stream.OrderedConsumer(ctx, config)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(256, bufferBytes), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := r.next(ctx, messages)
		if errors.Is(err, errIdle) {
			if err := r.idle(ctx, consumer); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if m.Seq > r.c.After+1 && r.c.After > 0 {
			if err := r.checkGone(ctx, m.Seq); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.Subject == probeSubject {
			r.c.After = m.Seq
			continue
		}
		if err := handle(ctx, m); err != nil {
			r.handled = fmt.Errorf("consume message %d under %s: %w", m.Seq, m.Subject, err)
			return r.handled
		}
		r.c.After = m.Seq
	}
}

var errIdle = errors.New("nothing came for a while")

func (r *reader) next(ctx context.Context, messages jetstream.MessagesContext) (stream.Message, error) {
	wait, cancel := context.WithTimeout(ctx, idleCheck)
	defer cancel()
	m, err := messages.Next(jetstream.NextContext(wait))
	if err != nil && ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)) {
		return stream.Message{}, errIdle
	}
	if err != nil {
		return stream.Message{}, err
	}
	return decode(m, r.s.prefix)
}

// idle moves After on over messages of other subjects, so that their leaving
// is not taken for a loss.
func (r *reader) idle(ctx context.Context, consumer jetstream.Consumer) error {
	all, err := r.stream.Info(ctx) // first: what comes meanwhile is pending
	if err != nil {
		return err
	}
	mine, err := consumer.Info(ctx)
	if err != nil {
		return err
	}
	if mine.NumPending == 0 && mine.Delivered.Stream <= r.c.After {
		r.c.After = max(r.c.After, all.State.LastSeq)
	}
	return nil
}

// checkGone looks whether messages between After and next have left.
func (r *reader) checkGone(ctx context.Context, next uint64) error {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return err
	}
	oldest := min(info.State.FirstSeq, next)
	if r.c.After+1 >= oldest {
		return nil
	}
	if r.c.Gone == nil {
		return fmt.Errorf("the oldest is %d: %w", oldest, stream.ErrGone)
	}
	r.c.Gone(oldest - 1)
	r.c.After = oldest - 1
	return nil
}

func decode(m jetstream.Msg, prefix string) (stream.Message, error) {
	meta, err := m.Metadata()
	if err != nil {
		return stream.Message{}, fmt.Errorf("read message: %w", err)
	}
	version, err := strconv.Atoi(m.Headers().Get(versionHeader))
	if err != nil || version > stream.Version {
		return stream.Message{}, fmt.Errorf("message %d: %w", meta.Sequence.Stream, stream.ErrNewer)
	}
	subject := strings.TrimPrefix(m.Subject(), prefix)
	id, given := strings.CutPrefix(m.Headers().Get(jetstream.MsgIDHeader), subject+"/")
	if !given { // sendAway's own
		id = ""
	}
	return stream.Message{
		Subject: subject,
		ID:      id,
		Seq:     meta.Sequence.Stream,
		At:      meta.Timestamp.In(time.UTC),
		Version: version,
		Payload: m.Data(),
	}, nil
}
