package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/nhi"
)

// Times of the questions.
const (
	patience   = feed.Hold + 2*feed.Lease/3 // for an answer: a lease is over soon after
	forImages  = 15 * time.Minute           // for an answer with an image
	comfort    = feed.Lease / 2             // left of a lease for the server to hold a question
	idle       = 200 * time.Millisecond     // between questions that brought nothing, not even a lease
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// imageKey is the key of the sum at the end of an image, the same at every server:
// what protects an image is the signature of its message.
const imageKey = "muster feed"

// errName ends an agent whose key is that of another point.
var errName = errors.New("wrong point")

// errRefused says that the server is there and will never take what it was sent.
var errRefused = errors.New("the server refuses what it was sent")

// newClient returns the client that the server is asked with. It follows no
// redirect: the key goes to this server alone.
func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConns: 4, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A status is what the point says about its connection.
type status struct {
	mu         sync.Mutex // guards what follows
	err        error      // of the last question
	since      time.Time  // when questions began to fail; zero: they do not
	sequence   uint64
	generation nhi.Generation
	unusable   string // why the state on disk was not used
}

func (s *status) note(err error, state *feed.State, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence, s.generation = state.Sequence, state.Generation
	switch {
	case err == nil:
		s.err, s.since = nil, time.Time{}
	case s.since.IsZero():
		s.err, s.since = err, now
	default:
		s.err = err
	}
}

// recall goes on from the state on disk. A state that must not be used is left:
// the point denies everything until its server has told it anew.
func (a *Agent) recall() {
	var state feed.State
	var heard time.Time
	note := func(f *feed.Frame) error {
		next, err := state.Replay(f)
		if err != nil {
			return err
		}
		if err := a.apply(&f.Message); err != nil {
			return err
		}
		state, heard = next, f.Message.Issued.Add(-f.Message.Behind)
		return nil
	}
	err := a.disk.read(func(f *feed.Frame, image string) error {
		next, err := (&feed.State{Mark: feed.Mark{Sequence: f.Message.Mark.Sequence - 1, Hash: f.Message.Prev}}).Replay(f)
		if err == nil {
			err = a.begin(f, image)
		}
		state, heard = next, f.Message.Issued.Add(-f.Message.Behind)
		return err
	}, note)
	if err != nil {
		a.status.unusable = err.Error()
		slog.Error("the state on disk is not used: everything is denied until the server has told it anew", "error", err)
		a.disk.discard()
		a.brain.mind.Store(nil)
		return
	}
	a.state = state
	a.status.note(nil, &state, time.Now())
	if state.Sequence > 0 {
		a.glass.seen(heard)
		a.facts.Heartbeat(heard) // and not the present, which only the server knows
	}
}

// follow asks the server, again and again.
func (a *Agent) follow(ctx context.Context) error {
	retry := firstRetry
	for ctx.Err() == nil {
		brought, err := a.ask(ctx)
		now := time.Now()
		before := a.status.failing()
		a.status.note(err, &a.state, now)
		wait := time.Duration(0)
		switch {
		case errors.Is(err, errName):
			return err
		case err != nil && ctx.Err() == nil:
			if before == nil || before.Error() != err.Error() {
				slog.Warn("the server cannot be followed; what is sensitive is denied once the lease is over", "error", err)
			}
			wait, retry = retry/2+rand.N(retry), min(2*retry, lastRetry)
		case err == nil:
			if before != nil {
				slog.Info("the server is followed again", "generation", uint64(a.state.Generation))
			}
			retry = firstRetry
			if !brought {
				wait = idle
			}
		}
		pause(ctx, wait)
	}
	return nil
}

func (s *status) failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// ask asks one question and does what the answer says. It reports whether the
// answer brought anything: news, or a lease.
func (a *Agent) ask(ctx context.Context) (brought bool, err error) {
	asked := time.Now()
	q := feed.Request{
		Version: feed.Version, Nonce: feed.NewNonce(), Instance: a.instance, Mark: a.state.Mark,
		Holding: a.lease.left(asked) > comfort, Whole: a.whole || a.disk.full() || a.state.Sequence == 0, Unshipped: a.shipping.left(a.journal),
	}
	limit := patience
	if q.Whole {
		limit = forImages
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := a.post(ctx, feed.Path, &q)
	if err != nil {
		a.whole = a.whole || errors.Is(err, context.DeadlineExceeded) // it may have been an image
		return false, err
	}
	defer res.Body.Close()
	f, err := feed.Read(res.Body, a.disk.key())
	if err != nil {
		return false, fmt.Errorf("the answer of %s: %w", a.server.Host, err)
	}
	next, err := a.state.Accept(f, q.Nonce, time.Now())
	if err == nil && a.disk.pinned.Point != "" && (f.Message.Point != a.disk.pinned.Point || f.Message.Mark.Installation != a.disk.pinned.Installation) {
		err = fmt.Errorf("%w: the data folder is that of point %s", feed.ErrReplay, a.disk.pinned.Point)
	}
	if err != nil {
		a.whole = true // perhaps the server can begin anew
		return false, fmt.Errorf("the answer of %s is refused: %w", a.server.Host, err)
	}
	if err := a.accept(f, res.Body); err != nil {
		a.whole = true
		return false, err
	}
	a.state, a.whole = next, false
	m := &f.Message
	a.glass.seen(m.Issued)
	if m.Current {
		a.facts.Heartbeat(asked.Add(-m.Behind))
	}
	if m.Lease {
		a.lease.grant(asked)
	}
	return m.Lease || m.Link() || !m.Current, nil
}

// post sends a question. An answer that is none is an error that says why.
func (a *Agent) post(ctx context.Context, path string, question any) (*http.Response, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.server.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.set.Key)
	req.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err // names the URL, never the key
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	err = fmt.Errorf("%s answers %d: %q", a.server.Host, res.StatusCode, strings.TrimSpace(string(why)))
	if res.StatusCode == http.StatusBadRequest {
		err = fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil, err
}

// accept makes an answer part of the state: on disk first, then in memory. What
// cannot be understood is not kept.
func (a *Agent) accept(f *feed.Frame, rest io.Reader) error {
	m := &f.Message
	switch {
	case m.Image != nil:
		image, err := a.disk.receive(f, rest)
		if err != nil {
			return fmt.Errorf("receive the snapshot: %w", err)
		}
		if err := a.begin(f, image); err != nil {
			return err
		}
		if p, ok := a.facts.Snapshot().Point(m.Point); !ok || p.Name != a.set.Name {
			return fmt.Errorf("%w: the key is that of the point %q, not of %q: give the right name, or the right key", errName, p.Name, a.set.Name)
		}
		if a.disk.key() == nil {
			if err := a.disk.believe(f); err != nil {
				return err
			}
			slog.Info("the point believes this server from now on", "server", a.server.Host, "installation", m.Mark.Installation, "key", feed.KeyName(f.Key))
		}
		return a.disk.head(f)
	case m.Link():
		if m.Basis != nil {
			if _, err := a.brain.read(m.Basis); err != nil {
				return err
			}
		}
		if err := a.disk.add(f); err != nil {
			return fmt.Errorf("keep what the server said: %w", err)
		}
	}
	return a.apply(m)
}

// begin puts a snapshot in force.
func (a *Agent) begin(f *feed.Frame, image string) error {
	m := &f.Message
	next, err := a.brain.read(m.Basis)
	if err != nil {
		return err
	}
	if err := a.service.Configure(next.settings); err != nil {
		return err
	}
	// Policies first: they forbid, and there may be no facts yet.
	a.brain.mind.Store(next)
	return a.facts.Restore(image, []byte(imageKey), func(mark facts.Mark) error {
		if mark.Generation != m.Mark.Generation || mark.Installation != m.Mark.Installation {
			return fmt.Errorf("the image is of generation %d, and its message says %d", mark.Generation, m.Mark.Generation)
		}
		return nil
	})
}

// apply puts what a message tells in force.
func (a *Agent) apply(m *feed.Message) error {
	if m.Basis != nil {
		next, err := a.brain.read(m.Basis)
		if err != nil {
			return err
		}
		if err := a.service.Configure(next.settings); err != nil {
			return err
		}
		a.brain.mind.Store(next)
	}
	return a.facts.Follow(m.From, m.Mark.Generation, m.Changes)
}
