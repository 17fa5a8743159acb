package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/muster-id/muster/internal/stream"
)

// Open starts a server on the folder dir, which it creates if need be, and
// returns once it is ready. ctx bounds the start, not the stream's life.
// After a crash the server reads what it has stored, which takes a while for
// many gigabytes. The error wraps stream.ErrLocked if another process has the
// folder, stream.ErrNewer if a newer version wrote it.
func Open(ctx context.Context, dir string, set Settings) (_ *Stream, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create stream folder: %w", err)
	}
	s := newStream(ctx, set, defaultPrefix)
	s.dir = dir
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
		MaxPayload:             stream.MaxPayload + headerRoom,
		MaxPending:             256 << 20,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("set up stream server: %w", err)
	}
	s.server.SetLoggerV2(logger{s.log}, false, false, false)
	s.server.Start()
	if err := s.started(ctx); err != nil {
		return nil, err
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(s.server), nats.Name("muster")); err != nil {
		return nil, fmt.Errorf("connect to stream server: %w", err)
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return nil, fmt.Errorf("set up stream: %w", err)
	}
	_, err = s.current(ctx)
	return s, err
}

// started waits for the server.
func (s *Stream) started(ctx context.Context) error {
	limit := startTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	if !s.server.ReadyForConnections(limit) || !s.server.JetStreamEnabled() {
		return errors.New("start stream server: not ready in time, or its folder is unusable; its log says more")
	}
	return nil
}

func (s *Stream) diskRoom() error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &disk); err != nil {
		return fmt.Errorf("look for room: %w", err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < s.settings.MinFree {
		return fmt.Errorf("%d MB are free, %d MB must stay: %w", free>>20, s.settings.MinFree>>20, stream.ErrFull)
	}
	return nil
}

// failed asks the server inside whether it stopped writing. That is for good;
// that the server has no time to answer is not.
func (s *Stream) failed() error {
	found := examine(func() []server.HealthzError { return s.server.Healthz(&server.HealthzOptions{Details: true}).Errors })
	if errors.Is(found, stream.ErrBroken) {
		s.broken.Store(&found)
	}
	return found
}

// looks is how often the server is asked when it has no time.
const looks = 10

// examine says what is wrong by what the server finds wrong with itself. It
// gives itself a millisecond to find out whether it has started, which a busy
// machine may not have; it has started, or we were not here.
func examine(look func() []server.HealthzError) error {
	for range looks {
		wrong := look()
		if len(wrong) == 0 {
			return nil
		}
		for i := range wrong {
			if wrong[i].Type != server.HealthzErrorConn {
				return fmt.Errorf("%w: %s", stream.ErrBroken, wrong[i].Error)
			}
		}
		runtime.Gosched()
	}
	return fmt.Errorf("%w: the stream server inside has no time to say how it is", stream.ErrUnavailable)
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
