package nats

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/streamtest"
)

func open(t testing.TB, dir string, set Settings) *Stream {
	t.Helper()
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(t.Context(), dir, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func inner(t *testing.T, s *Stream) jetstream.Stream {
	t.Helper()
	st, err := s.current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestConformance(t *testing.T) {
	streamtest.Run(t, func(t *testing.T, set stream.Settings) stream.Stream {
		return open(t, t.TempDir(), Settings{Settings: set})
	})
}

func TestDurability(t *testing.T) {
	streamtest.RunDurable(t, func(t *testing.T, dir string) stream.Stream { return open(t, dir, Settings{}) })
}

func TestASecondServerOnTheFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	if _, err := Open(t.Context(), dir, Settings{}); !errors.Is(err, stream.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open = %v, want ErrLocked naming the folder", err)
	}
	s.Close()
	open(t, dir, Settings{}).Close()
}

func TestAStreamOfANewerVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Settings{})
	info, err := inner(t, s).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info.Config.Metadata[versionKey] = "2"
	if _, err := s.js.UpdateStream(t.Context(), info.Config); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), dir, Settings{Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, stream.ErrNewer) {
		t.Errorf("Open = %v, want ErrNewer", err)
	}
}

func TestAMessageOfANewerVersionStopsTheConsumer(t *testing.T) {
	s := open(t, t.TempDir(), Settings{})
	m := nats.NewMsg(s.prefix + stream.Change)
	m.Header.Set(versionHeader, "2")
	if _, err := s.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := s.Consume(t.Context(), stream.Consumer{}, nil); !errors.Is(err, stream.ErrNewer) {
		t.Errorf("Consume = %v, want ErrNewer", err)
	}
}

func TestTheServerSyncsAlwaysAndListensNowhere(t *testing.T) {
	s := open(t, t.TempDir(), Settings{})
	if addr := s.server.Addr(); addr != nil {
		t.Errorf("the server listens on %v", addr)
	}
	config := s.server.JetStreamConfig()
	if config == nil || !config.SyncAlways {
		t.Errorf("JetStream runs with %+v, want sync always", config)
	}
}

func TestBoundsAreAdaptedToNewSettings(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Settings{}).Close()
	set := stream.Settings{MaxAge: time.Hour, MaxBytes: 1 << 20, Dedup: 11 * time.Minute}
	s := open(t, dir, Settings{Settings: set})
	info, err := inner(t, s).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := info.Config
	if c.MaxAge != set.MaxAge || c.MaxBytes != set.MaxBytes || c.Duplicates != set.Dedup || c.Discard != jetstream.DiscardOld {
		t.Errorf("the stream has %+v", c)
	}
}

func TestUsageCounts(t *testing.T) {
	s := open(t, t.TempDir(), Settings{})
	for range 3 {
		if _, _, err := s.Publish(t.Context(), stream.Change, "", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := s.Usage(t.Context()); err != nil || u.Messages != 3 || u.First != 1 || u.Last != 3 || u.Bytes == 0 {
		t.Errorf("Usage = %+v, %v", u, err)
	}
}

func TestAnIdleConsumerOfOneSubjectIsNotTakenForOvertaken(t *testing.T) {
	s := open(t, t.TempDir(), Settings{Settings: stream.Settings{MaxBytes: 1 << 20}})
	publish := func(subject string, size int) {
		if _, _, err := s.Publish(t.Context(), subject, "", make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	publish(stream.Finding, 1)
	r := &reader{s: s, stream: inner(t, s), c: stream.Consumer{Subjects: []string{stream.Finding}, After: 1}}
	publish(stream.ActivityBatch, 1)
	consumer, err := inner(t, s).OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.prefix + stream.Finding}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consumer.Messages(); err != nil {
		t.Fatal(err)
	}
	if err := r.idle(t.Context(), consumer); err != nil || r.c.After != 2 {
		t.Errorf("idle moved on to %d, %v, want 2", r.c.After, err)
	}
	publish(stream.Finding, 1) // pending, not looked at
	publish(stream.ActivityBatch, 1)
	if _, err := s.Usage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.idle(t.Context(), consumer); err != nil || r.c.After != 2 {
		t.Errorf("idle moved on to %d, %v, want it to stay at 2", r.c.After, err)
	}
}

func TestTheServersWordsGoToTheLog(t *testing.T) {
	var out bytes.Buffer
	l := logger{slog.New(slog.NewTextHandler(&out, nil))}
	l.Noticef("starting %s", "up")
	l.Warnf("disk at %d %%", 90)
	if got := out.String(); strings.Contains(got, "starting") || !strings.Contains(got, `level=WARN msg="stream server" said="disk at 90 %"`) {
		t.Errorf("logged %q", got)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	open(b, dir, Settings{}).Close()
	for b.Loop() {
		open(b, dir, Settings{}).Close()
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, callers := range []int{1, 32} {
		for name, size := range map[string]int{"512B": 512, "256KB": 256 << 10} {
			b.Run(name+"/callers="+map[int]string{1: "1", 32: "32"}[callers], func(b *testing.B) {
				s := open(b, b.TempDir(), Settings{})
				payload := make([]byte, size)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				b.SetParallelism(callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, _, err := s.Publish(context.Background(), stream.ActivityBatch, "", payload); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
