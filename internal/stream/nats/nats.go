// Package nats is the durable stream: NATS JetStream, by default as a server
// inside this process. The server opens no port; the client talks to it
// through memory. Every message is synced to disk before it is acknowledged
// (sync always): the server's own default of two minutes would lose what was
// acknowledged when the power fails.
//
// All messages lie in one JetStream stream named MUSTER, so that they have
// one order. Its subjects carry the prefix "muster.".
//
// JetStream does not guard its folder against a second process, so Open
// takes a lock. When the disk is full it stops for good and lets publishers
// wait in vain; so Publish refuses before, with stream.ErrFull, as long as
// less than Settings.MinFree is free, and asks the server why after every
// failure.
package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/muster-id/muster/internal/stream"
)

const (
	streamName    = "MUSTER"
	prefix        = "muster."
	versionKey    = "muster-version" // metadata of the stream
	versionHeader = "Muster-Version" // of a message
	startTimeout  = 30 * time.Second // reading a large folder after a crash
	callTimeout   = 10 * time.Second // for calls whose caller gave no deadline
	bufferBytes   = 16 << 20         // waiting in memory for one consumer
	idleCheck     = 30 * time.Second // how often an idle consumer looks where it is
)

// Settings of the stream. The zero value, with a folder, is the production
// default.
type Settings struct {
	stream.Settings
	// MinFree is how many bytes of the disk stay free for others. Zero means
	// 512 MB.
	MinFree int64
	// Log takes what the server has to say; nil means slog.Default.
	Log *slog.Logger
}

// Stream is an open stream.
type Stream struct {
	dir     string
	minFree int64

	log    *slog.Logger
	lock   *os.File
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream

	broken  atomic.Pointer[error] // why the server stopped writing
	closed  context.Context       // ends with Close
	close   context.CancelFunc
	closing sync.Once
}

var _ stream.Stream = (*Stream)(nil)

// Open starts a server on the folder dir, which it creates if need be, and
// returns once it is ready. ctx bounds the start, not the stream's life.
// After a crash the server reads what it has stored, which takes a while for
// many gigabytes. The error wraps stream.ErrLocked if another process has the
// folder, stream.ErrNewer if a newer version wrote it.
func Open(ctx context.Context, dir string, set Settings) (_ *Stream, err error) {
	set.Settings = set.Settings.WithDefaults()
	set.MinFree = cmp.Or(max(set.MinFree, 0), 512<<20)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create stream folder: %w", err)
	}
	s := &Stream{dir: dir, minFree: set.MinFree, log: cmp.Or(set.Log, slog.Default())}
	s.closed, s.close = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	s.server, err = server.NewServer(&server.Options{
		ServerName: "muster",
		DontListen: true, // only connections from within the process
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true,
		// The stream has a bound of its own. Without a figure here the server
		// takes a share of the disk that is free at start, and refuses a
		// stream whose bound is larger.
		JetStreamMaxStore:      1 << 60,
		JetStreamMaxMemory:     64 << 20,
		MaxPayload:             stream.MaxPayload + 4<<10, // headers
		MaxPending:             256 << 20,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("set up stream server: %w", err)
	}
	s.server.SetLoggerV2(logger{s.log}, false, false, false)
	s.server.Start()
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.server), nats.Name("muster")); err != nil {
		return nil, fmt.Errorf("connect to stream server: %w", err)
	}
	return s, s.setUp(ctx, set.Settings)
}

// ready waits for the server.
func (s *Stream) ready(ctx context.Context) error {
	limit := startTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	if !s.server.ReadyForConnections(limit) || !s.server.JetStreamEnabled() {
		return errors.New("start stream server: not ready in time, or its folder is unusable; its log says more")
	}
	return nil
}

// Bound keeps what is stored within other bounds from now on. Zero is the
// default. What lies outside goes soon after.
func (s *Stream) Bound(ctx context.Context, age time.Duration, bytes int64) error {
	next := s.stream.CachedInfo().Config
	set := stream.Settings{MaxAge: age, MaxBytes: bytes}.WithDefaults()
	next.MaxAge, next.MaxBytes = set.MaxAge, set.MaxBytes
	if _, err := s.js.UpdateStream(ctx, next); err != nil {
		return fmt.Errorf("bound the stream: %w", s.explain(err))
	}
	return nil
}

// setUp opens the JetStream stream, creates it, or adapts its bounds.
func (s *Stream) setUp(ctx context.Context, set stream.Settings) (err error) {
	if s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return fmt.Errorf("set up stream: %w", err)
	}
	old, err := s.js.Stream(ctx, streamName)
	switch {
	case err == nil:
		text := old.CachedInfo().Config.Metadata[versionKey]
		if v, err := strconv.Atoi(text); err != nil || v > stream.Version {
			return fmt.Errorf("open stream of version %q, this program reads up to %d: %w", text, stream.Version, stream.ErrNewer)
		}
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("open stream: %w", err)
	}
	s.stream, err = s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:       streamName,
		Subjects:   []string{prefix + ">"},
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld,
		MaxAge:     set.MaxAge,
		MaxBytes:   set.MaxBytes,
		MaxMsgSize: -1, // the server's MaxPayload bounds it
		Duplicates: set.Dedup,
		DenyDelete: true,
		DenyPurge:  true,
		Metadata:   map[string]string{versionKey: strconv.Itoa(stream.Version)},
	})
	if err != nil {
		return fmt.Errorf("set up stream: %w", err)
	}
	return nil
}

// Publish implements stream.Stream.
func (s *Stream) Publish(ctx context.Context, subject, id string, payload []byte) (uint64, bool, error) {
	if err := stream.Check(subject, id, payload); err != nil {
		return 0, false, err
	}
	if err := s.room(); err != nil {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, err)
	}
	m := nats.NewMsg(prefix + subject)
	m.Data = payload
	m.Header.Set(versionHeader, strconv.Itoa(stream.Version))
	if id != "" {
		// The server knows ids for the whole stream, we for a subject.
		m.Header.Set(jetstream.MsgIDHeader, subject+"/"+id)
	}
	ack, err := s.js.PublishMsg(ctx, m)
	if err != nil {
		return 0, false, fmt.Errorf("publish under %s: %w", subject, s.explain(err))
	}
	return ack.Sequence, ack.Duplicate, nil
}

// room says whether more may be stored.
func (s *Stream) room() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	if s.closed.Err() != nil {
		return stream.ErrClosed
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &disk); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < s.minFree {
		return fmt.Errorf("%d MB are free, %d MB must stay: %w", free>>20, s.minFree>>20, stream.ErrFull)
	}
	return nil
}

// explain adds what callers tell apart. The server does not answer a message
// that it could not write, so its health is asked.
func (s *Stream) explain(err error) error {
	if s.closed.Err() != nil || errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("%w: %w", stream.ErrClosed, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	if broken := s.failed(); broken != nil {
		return broken
	}
	return err
}

// failed asks the server whether it stopped writing.
func (s *Stream) failed() error {
	h := s.server.Healthz(&server.HealthzOptions{})
	if h.Error == "" {
		return nil
	}
	err := fmt.Errorf("%w: %s", stream.ErrBroken, h.Error)
	s.broken.Store(&err)
	return err
}

// Health returns why nothing can be published now, wrapping stream.ErrFull,
// stream.ErrBroken or stream.ErrClosed, or nil.
func (s *Stream) Health() error {
	if err := s.room(); err != nil {
		return err
	}
	return s.failed()
}

// LastSeq implements stream.Stream.
func (s *Stream) LastSeq(ctx context.Context, subject string) (uint64, error) {
	if subject == "" {
		info, err := s.stream.Info(ctx)
		if err != nil {
			return 0, fmt.Errorf("last of all subjects: %w", s.explain(err))
		}
		return info.State.LastSeq, nil
	}
	if err := stream.Check(subject, "", nil); err != nil {
		return 0, err
	}
	m, err := s.stream.GetLastMsgForSubject(ctx, prefix+subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("last of %s: %w", subject, s.explain(err))
	}
	return m.Sequence, nil
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
	info, err := s.stream.Info(ctx)
	if err != nil {
		return Usage{}, fmt.Errorf("ask for stream state: %w", s.explain(err))
	}
	st := info.State
	return Usage{Messages: st.Msgs, Bytes: st.Bytes, First: st.FirstSeq, Last: st.LastSeq}, nil
}

// Close disconnects, stops the server in good order and releases the folder.
// Calls under way return stream.ErrClosed. Closing again does nothing.
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

// lockFolder takes the folder for this process, see package journal.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock stream folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = stream.ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// logger passes the server's words on. Its notices are of no interest to
// whoever runs Muster.
type logger struct{ to *slog.Logger }

func (l logger) say(level slog.Level, format string, args []any) {
	l.to.Log(context.Background(), level, "stream server", "said", fmt.Sprintf(format, args...))
}

func (l logger) Noticef(format string, args ...any) { l.say(slog.LevelDebug, format, args) }
func (l logger) Warnf(format string, args ...any)   { l.say(slog.LevelWarn, format, args) }
func (l logger) Errorf(format string, args ...any)  { l.say(slog.LevelError, format, args) }
func (l logger) Fatalf(format string, args ...any)  { l.say(slog.LevelError, format, args) }
func (l logger) Debugf(format string, args ...any)  { l.say(slog.LevelDebug, format, args) }
func (l logger) Tracef(format string, args ...any)  { l.say(slog.LevelDebug, format, args) }
