package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// kept is an installation that keeps changes 10 to 20.
type kept struct {
	frame.State
	forgot atomic.Bool // what a reader who is connected waits for
	woken  chan struct{}
}

func (k *kept) Generation() nhi.Generation { return 20 }
func (k *kept) First() nhi.Generation      { return 10 }
func (k *kept) Woken() <-chan struct{}     { return k.woken }

func (k *kept) Changes(_ context.Context, after nhi.Generation, _ int) ([]nhi.Change, error) {
	if k.forgot.Load() {
		return nil, store.ErrTooOld
	}
	return []nhi.Change{{Seq: 20, Subject: nhi.SubjectIdentity}}, nil
}

// tail opens a stream of an administrator on deps; end ends it.
func tail(t *testing.T, d frame.Deps, query, after string) (w *wire, end func()) {
	t.Helper()
	d.Gate, d.Clean = door{administrator()}, same
	h, _, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/stream"+query, nil)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	w = &wire{head: http.Header{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.ServeHTTP(w, r)
	}()
	synctest.Wait()
	return w, func() {
		cancel()
		<-ended
	}
}

func TestACursorThatLeadsNowhereIsToldToReset(t *testing.T) {
	for after, reset := range map[string]bool{
		"":   false, // from now on
		"20": false, "15": false,
		"9":  false, // all that was since is kept
		"8":  true,  // too old
		"21": true,  // of another installation, or of one that was restored
	} {
		synctest.Test(t, func(t *testing.T) {
			w, end := tail(t, frame.Deps{State: &kept{}}, "?topics=finding", after)
			defer end()
			if text := w.String(); !strings.HasPrefix(text, "event: hello\n") || strings.Contains(text, "event: reset\nid: 20\n") != reset {
				t.Errorf("after %q: %s", after, text)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w, end := tail(t, frame.Deps{State: &kept{}}, "", "x")
		defer end()
		if !strings.Contains(w.String(), "#status-422") {
			t.Errorf("a cursor that is no number: %s", w)
		}
	})
}

func TestWhoFallsBehindWhileConnectedIsToldToReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := &kept{woken: make(chan struct{})}
		state.forgot.Store(true)
		w, end := tail(t, frame.Deps{State: state}, "?topics=finding", "15")
		defer end()
		if text := w.String(); strings.Count(text, "event: reset\nid: 20\n") != 1 || !strings.HasPrefix(text, "event: hello\nid: 15\n") {
			t.Errorf("the stream says %s", text)
		}
	})
}

func TestTheHeartbeatCarriesTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, end := tail(t, frame.Deps{State: &kept{}}, "?topics=finding", "15")
		defer end()
		for n := 1; n <= 3; n++ {
			time.Sleep(heartbeat)
			synctest.Wait()
			if got := strings.Count(w.String(), "event: heartbeat\nid: 20\n"); got != n {
				t.Fatalf("%d heartbeats after %v: %s", got, time.Duration(n)*heartbeat, w)
			}
		}
	})
}

// lossy is a feed of which some was lost on the way.
type lossy struct {
	feed
	lost *atomic.Uint64
}

func (l lossy) Subscribe() (<-chan nhi.Decision, func() uint64, func()) {
	return l.c, l.lost.Load, func() {}
}

func TestAReaderIsShownSoManyASecondAndToldOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := lossy{feed{c: make(chan nhi.Decision, 100)}, &atomic.Uint64{}}
		r := newReadership(t)
		w, end := tail(t, frame.Deps{State: quiet{}, Decisions: from, Known: owned{}, Access: pointless{}, Inventory: r.inventory}, "?topics=decision&rate=2&filter=resource:payments", "")
		defer end()
		second := func(n int) {
			for range n {
				from.c <- nhi.Decision{ID: "d", Resource: "payments"}
				from.c <- nhi.Decision{ID: "other", Resource: "mail"} // narrowed away, and not counted
			}
			synctest.Wait()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		second(5)
		second(2)
		from.lost.Store(7)
		second(0)
		second(3)
		text := w.String()
		var told []string
		for part := range strings.SplitSeq(text, "event: dropped\ndata: ") {
			line, _, _ := strings.Cut(part, "\n")
			told = append(told, line)
		}
		want := []string{`{"decisions":0,"left_out":3,"of":5,"shown":2}`, `{"decisions":7,"left_out":3,"of":0,"shown":0}`, `{"decisions":7,"left_out":4,"of":3,"shown":2}`}
		if strings.Count(text, "event: decision\n") != 6 || strings.Contains(text, "mail") || strings.Join(told[1:], " ") != strings.Join(want, " ") {
			t.Errorf("told %q, want %q; the stream is %s", told[1:], want, text)
		}
	})
}

// one is a listener with one connection.
type one struct {
	conns chan net.Conn
}

func (o one) Accept() (net.Conn, error) {
	c, ok := <-o.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (one) Close() error   { return nil }
func (one) Addr() net.Addr { return &net.UnixAddr{} }

// TestASlowReaderIsCutOffAndCounted stops to read while the server has more to
// say. The server and its connection are real, the time is not.
func TestASlowReaderIsCutOffAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReadership(t)
		from := feed{c: make(chan nhi.Decision, 100)}
		var cut atomic.Int64
		h, _, err := New(frame.Deps{
			Gate: door{administrator()}, Clean: same, State: quiet{}, Decisions: from, Known: owned{}, Access: pointless{}, Inventory: r.inventory, CutOff: func() { cut.Add(1) },
		})
		if err != nil {
			t.Fatal(err)
		}
		listener := one{make(chan net.Conn, 1)}
		srv := &http.Server{Handler: h}
		served := make(chan error)
		go func() { served <- srv.Serve(listener) }()
		reader, conn := net.Pipe()
		listener.conns <- conn
		if _, err := io.WriteString(reader, "GET /v1/stream?topics=decision HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(reader)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") {
		}
		from.c <- nhi.Decision{ID: "read"}
		for lines.Scan() && !strings.Contains(lines.Text(), `"id":"read"`) {
		}
		time.Sleep(time.Second) // whatever is left of that event
		go func() { from.c <- nhi.Decision{ID: "not read"} }()
		time.Sleep(writeTimeout - 2*time.Second)
		synctest.Wait()
		if cut.Load() != 0 {
			t.Error("it was cut off before its time")
		}
		time.Sleep(2*writeTimeout + heartbeat)
		synctest.Wait()
		if cut.Load() != 1 {
			t.Errorf("cut off %d readers, want 1", cut.Load())
		}
		reader.Close()
		close(listener.conns)
		<-served
	})
}

func TestOneCallerHasSoManyStreamsAndNoMore(t *testing.T) {
	var all tails
	for range maxTails {
		if err := all.begin("ada"); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.begin("ada"); err == nil {
		t.Error("one more is let in")
	}
	if err := all.begin("bob"); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	all.end("ada")
	if err := all.begin("ada"); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}
