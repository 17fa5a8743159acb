// Package nats is the durable stream: NATS JetStream, by default as a server
// inside this process ([Open]), or on servers elsewhere, one or a cluster
// ([Connect]). The client code is the same.
//
// The server inside opens no port; the client talks to it through memory.
// Every message is synced to disk before it is acknowledged (sync always): the
// server's own default of two minutes would lose what was acknowledged when
// the power fails. Servers elsewhere are configured by whoever runs them; in a
// cluster a message is acknowledged when most of its copies have it.
//
// All messages lie in one JetStream stream, so that they have one order. Its
// name and the prefix of its subjects follow from a prefix, so that several
// installations can share servers: "muster" makes the stream MUSTER of
// "muster.>".
//
// JetStream does not guard its folder against a second process, so Open
// takes a lock. When the disk is full it stops for good and lets publishers
// wait in vain; so Publish refuses before, with stream.ErrFull, as long as
// less than Settings.MinFree is free, and asks the server why after every
// failure.
//
// Servers elsewhere may go away at any time. Publish then repeats for a few
// seconds, which their memory of message ids makes safe, and gives up with
// stream.ErrUnavailable; the connection is tried again for as long as the
// stream is open, at growing intervals up to ten seconds.
package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/muster-id/muster/internal/stream"
)

const (
	defaultPrefix = "muster"
	versionKey    = "muster-version" // metadata of the stream
	versionHeader = "Muster-Version" // of a message
	startTimeout  = 30 * time.Second // reading a large folder after a crash
	callTimeout   = 10 * time.Second // for calls whose caller gave no deadline
	bufferBytes   = 16 << 20         // waiting in memory for one consumer
	idleCheck     = 30 * time.Second // how often an idle consumer looks where it is
	headerRoom    = 4 << 10          // what a message may be longer than its payload
)

// Settings of the stream. The zero value, with a folder, is the production
// default.
type Settings struct {
	stream.Settings
	// MinFree is how many bytes of the disk stay free for others. Zero means
	// 512 MB. It counts only for the server inside.
	MinFree int64
	// Log takes what the server has to say; nil means slog.Default.
	Log *slog.Logger
}

// Stream is an open stream.
type Stream struct {
	settings Settings
	prefix   string // of subjects, ends in a dot
	name     string // of the JetStream stream
	log      *slog.Logger
	flow     *stream.Flow
	conn     *nats.Conn
	js       jetstream.JetStream

	dir     string         // of the server inside
	lock    *os.File       // of dir
	server  *server.Server // inside; nil when the servers are elsewhere
	outside *Outside       // nil for the server inside
	watch   watch          // what is known of servers elsewhere

	setting sync.Mutex                       // serialises setUp
	ready   atomic.Pointer[jetstream.Stream] // set once it is set up
	broken  atomic.Pointer[error]            // why the server inside stopped writing
	closed  context.Context                  // ends with Close
	close   context.CancelFunc
	closing sync.Once
}

var _ stream.Stream = (*Stream)(nil)

func newStream(ctx context.Context, set Settings, prefix string) *Stream {
	set.Settings = set.Settings.WithDefaults()
	set.MinFree = cmp.Or(max(set.MinFree, 0), 512<<20)
	s := &Stream{
		settings: set, prefix: prefix + ".", name: strings.ToUpper(prefix), log: cmp.Or(set.Log, slog.Default()),
		flow: stream.NewFlow(set.Waiting),
	}
	s.closed, s.close = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// current returns the JetStream stream, which it sets up if that was not
// possible before.
func (s *Stream) current(ctx context.Context) (jetstream.Stream, error) {
	if st := s.ready.Load(); st != nil {
		return *st, nil
	}
	if s.closed.Err() != nil {
		return nil, stream.ErrClosed
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	if st := s.ready.Load(); st != nil {
		return *st, nil
	}
	st, err := s.setUp(ctx)
	if err != nil {
		return nil, err
	}
	s.ready.Store(&st)
	return st, nil
}

// Bound keeps what is stored within other bounds from now on. Zero is the
// default. What lies outside goes soon after. Servers elsewhere that are away
// are told when they come.
func (s *Stream) Bound(ctx context.Context, age time.Duration, bytes int64) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	set := s.settings.Settings
	set.MaxAge, set.MaxBytes = age, bytes
	s.settings.Settings = set.WithDefaults()
	st := s.ready.Load()
	if st == nil {
		return nil
	}
	next := (*st).CachedInfo().Config
	next.MaxAge, next.MaxBytes, next.Duplicates = s.settings.MaxAge, s.settings.MaxBytes, s.settings.Dedup
	if _, err := s.js.UpdateStream(ctx, next); err != nil {
		return fmt.Errorf("bound the stream: %w", s.explain(err))
	}
	return nil
}

// setUp opens the JetStream stream, creates it, or adapts its bounds.
func (s *Stream) setUp(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if most := s.conn.MaxPayload(); s.conn.IsConnected() && most < stream.MaxPayload+headerRoom {
		return nil, fmt.Errorf("set up stream: %w", payloadError(most))
	}
	old, err := s.js.Stream(ctx, s.name)
	replicas := 0
	switch {
	case err == nil:
		c := old.CachedInfo().Config
		text, ours := c.Metadata[versionKey]
		if !ours {
			return nil, fmt.Errorf("%w: the servers have a stream %s that is not ours; choose another stream.prefix", errForeign, s.name)
		}
		if v, err := strconv.Atoi(text); err != nil || v > stream.Version {
			return nil, fmt.Errorf("open stream of version %q, this program reads up to %d: %w", text, stream.Version, stream.ErrNewer)
		}
		replicas = c.Replicas
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("open stream: %w", err)
	}
	st, err := s.js.CreateOrUpdateStream(ctx, s.config(replicas))
	if err != nil {
		return nil, fmt.Errorf("set up stream: %w", err)
	}
	return st, nil
}

func (s *Stream) config(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       s.name,
		Subjects:   []string{s.prefix + ">"},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		Replicas:   s.replicas(replicas),
		MaxAge:     s.settings.MaxAge,
		MaxBytes:   s.settings.MaxBytes,
		MaxMsgSize: -1, // the server's MaxPayload bounds it
		Duplicates: s.settings.Dedup,
		DenyDelete: true,
		DenyPurge:  true,
		Metadata:   map[string]string{versionKey: strconv.Itoa(stream.Version)},
	}
}

// Publish implements stream.Stream.
func (s *Stream) Publish(ctx context.Context, subject, id string, payload []byte) (uint64, bool, error) {
	if err := stream.Check(subject, id, payload); err != nil {
		return 0, false, err
	}
	if err := s.room(); err != nil {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, err)
	}
	done, err := s.flow.Take(len(payload))
	if err != nil {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, err)
	}
	defer done()
	m := nats.NewMsg(s.prefix + subject)
	m.Data = payload
	m.Header.Set(versionHeader, strconv.Itoa(stream.Version))
	if id != "" {
		// The server knows ids for the whole stream, we for a subject.
		m.Header.Set(jetstream.MsgIDHeader, subject+"/"+id)
	}
	ack, err := s.send(ctx, m)
	if err != nil {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, err)
	}
	return ack.Sequence, ack.Duplicate && id != "", nil
}

func (s *Stream) send(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	if s.outside != nil {
		return s.sendAway(ctx, m)
	}
	ack, err := s.js.PublishMsg(ctx, m)
	if err != nil {
		return nil, s.explain(err)
	}
	return ack, nil
}

// room says whether more may be stored.
func (s *Stream) room() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	if s.closed.Err() != nil {
		return stream.ErrClosed
	}
	if s.server == nil {
		return nil // servers elsewhere look for themselves
	}
	return s.diskRoom()
}

// explain adds what callers tell apart.
func (s *Stream) explain(err error) error {
	if s.closed.Err() != nil {
		return fmt.Errorf("%w: %w", stream.ErrClosed, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	if s.server == nil {
		return s.explainAway(err)
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("%w: %w", stream.ErrClosed, err)
	}
	// The server does not answer a message that it could not write.
	if broken := s.failed(); broken != nil {
		return broken
	}
	return err
}

// Health returns why nothing can be published now, wrapping stream.ErrFull,
// stream.ErrBroken, stream.ErrUnavailable or stream.ErrClosed, or nil. It says
// what to do. Of servers elsewhere it may take two seconds to find out.
func (s *Stream) Health() error {
	if err := s.room(); err != nil {
		return err
	}
	if s.server == nil {
		return s.look().failed
	}
	return s.failed()
}

// Degraded says in words what works now and soon may not: a copy that lags or
// whose server is away. It is empty when all is well, and always for the server
// inside.
func (s *Stream) Degraded() string {
	if s.server != nil || s.closed.Err() != nil {
		return ""
	}
	return s.look().degraded
}

// LastSeq implements stream.Stream.
func (s *Stream) LastSeq(ctx context.Context, subject string) (uint64, error) {
	if subject != "" {
		if err := stream.Check(subject, "", nil); err != nil {
			return 0, err
		}
	}
	st, err := s.current(ctx)
	if err != nil {
		return 0, fmt.Errorf("last of the stream: %w", s.explain(err))
	}
	if subject == "" {
		info, err := st.Info(ctx)
		if err != nil {
			return 0, fmt.Errorf("last of all subjects: %w", s.explain(err))
		}
		return info.State.LastSeq, nil
	}
	m, err := st.GetLastMsgForSubject(ctx, s.prefix+subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("last of %s: %w", subject, s.explain(err))
	}
	return m.Sequence, nil
}

// Origin implements stream.Stream.
func (s *Stream) Origin(ctx context.Context) (string, error) {
	st, err := s.current(ctx)
	if err != nil {
		return "", fmt.Errorf("origin of the stream: %w", s.explain(err))
	}
	return s.name + "@" + st.CachedInfo().Created.UTC().Format(time.RFC3339Nano), nil
}

// Usage says what the stream holds.
type Usage struct {
	Messages uint64
	Bytes    uint64
	First    uint64 // oldest Seq kept
	Last     uint64
}

// Usage asks the server. An error means that the stream does not work.
func (s *Stream) Usage(ctx context.Context) (Usage, error) {
	st, err := s.current(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("ask for stream state: %w", s.explain(err))
	}
	info, err := st.Info(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("ask for stream state: %w", s.explain(err))
	}
	state := info.State
	return Usage{Messages: state.Msgs, Bytes: state.Bytes, First: state.FirstSeq, Last: state.LastSeq}, nil
}

// Close disconnects, stops the server inside in good order and releases the
// folder. Calls under way return stream.ErrClosed. Closing again does nothing.
func (s *Stream) Close() error {
	s.closing.Do(func() {
		s.close()
		if s.conn != nil {
			s.conn.Close()
		}
		if s.server != nil {
			s.server.Shutdown()
			s.server.WaitForShutdown()
		}
		if s.lock != nil {
			s.lock.Close()
		}
	})
	return nil
}
