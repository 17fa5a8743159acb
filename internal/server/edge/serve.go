package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// Limits of one message.
const (
	atOnce   = 2000    // changes
	atWeight = 8 << 20 // bytes of their payloads
)

// ImageKey is the key of the sum at the end of an image. It protects nothing: the
// signature of the message does.
const ImageKey = "muster feed"

// Handler serves feed.Path and feed.DecisionsPath. A point proves itself with its
// own key in Authorization, from its own addresses.
func (h *Hub) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+feed.Path, h.authenticated(h.feed))
	mux.HandleFunc("POST "+feed.DecisionsPath, h.authenticated(h.decisions))
	mux.HandleFunc("POST "+feed.GlassPath, h.authenticated(h.glass))
	return mux
}

func (h *Hub) authenticated(next func(http.ResponseWriter, *http.Request, *nhi.Point)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		header, ok := enforce.Single(r.Header, "Authorization", 512)
		if !ok {
			header = ""
		}
		point, err := h.c.Points.Authenticate(header, enforce.Remote(r))
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="muster point"`)
			refuse(w, http.StatusUnauthorized, "this is not the key of an enrolled point that may speak from this address: see its sources with `muster point list -o wide`")
			return
		}
		next(w, r, &point)
	}
}

// refuse answers with one line of text.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, why+"\n")
}

// feed answers one question of a point.
func (h *Hub) feed(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	arrived := time.Now()
	var req feed.Request
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, feed.MaxRequest))
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err == nil {
		err = req.Check()
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the question cannot be read: "+err.Error())
		return
	}
	if h.c.Facts.Stale() != "" {
		refuse(w, http.StatusServiceUnavailable, "this server does not follow the changes any more: restart it")
		return
	}
	if now := h.c.Facts.Generation(); req.Mark.Installation == h.c.Installation && req.Mark.Generation > now {
		slog.Error("a point has seen changes that this server has not: was the database put back without muster restore? It gets nothing that is older",
			"point", point.ID, "its generation", uint64(req.Mark.Generation), "ours", uint64(now))
		refuse(w, http.StatusConflict, fmt.Sprintf("the point is at generation %d and this server at %d: an older state is never sent; if the database was put back on purpose, empty the data folder of the point", req.Mark.Generation, now))
		return
	}
	known := h.recognises(r.Context(), point, &req)
	lease, err := h.acknowledge(r.Context(), point, &req, arrived, known)
	if err != nil {
		refuse(w, http.StatusTooManyRequests, fmt.Sprintf("%d processes use the key of this point already: enroll another point", instances))
		return
	}
	if !known {
		h.snapshot(w, r, point, &req)
		return
	}
	m, err := h.await(r.Context(), point, &req, arrived.Add(feed.Hold), lease)
	if r.Context().Err() != nil {
		return // nobody is left to tell
	}
	if err != nil {
		h.fail(w, point, err)
		return
	}
	if m == nil { // too far behind, or it guards something else now
		h.snapshot(w, r, point, &req)
		return
	}
	h.send(w, point, &req, m, lease)
}

func (h *Hub) fail(w http.ResponseWriter, point *nhi.Point, err error) {
	slog.Warn("a point could not be told what changed", "point", point.ID, "error", err)
	refuse(w, http.StatusServiceUnavailable, "what changed cannot be read at the moment")
}

// recognises reports whether what the point has is a state of ours that changes
// can be added to.
func (h *Hub) recognises(ctx context.Context, point *nhi.Point, req *feed.Request) bool {
	m := &req.Mark
	if req.Whole || m.Sequence == 0 || m.Installation != h.c.Installation || m.Scope != feed.ScopeOf(point.Resources) {
		return false
	}
	last, err := h.last(ctx, m.Generation)
	return err == nil && last == m.Last
}

// last identifies the change with a number; the zero Hash when it is not kept.
func (h *Hub) last(ctx context.Context, generation nhi.Generation) (feed.Hash, error) {
	if generation == 0 {
		return feed.Hash{}, nil
	}
	changes, err := h.after(ctx, generation-1, 1)
	switch {
	case errors.Is(err, store.ErrTooOld):
		return feed.Hash{}, nil
	case err != nil:
		return feed.Hash{}, err
	case len(changes) == 0 || changes[0].Seq != generation:
		return feed.Hash{}, nil
	}
	return feed.DigestOf(&changes[0]), nil
}

// after returns up to limit changes after a generation, out of memory if they are
// there. The caller must not change them.
func (h *Hub) after(ctx context.Context, generation nhi.Generation, limit int) ([]nhi.Change, error) {
	h.mu.Lock()
	recent := h.changes
	h.mu.Unlock()
	if len(recent) > 0 && recent[0].Seq <= generation+1 {
		from := min(int(generation+1-recent[0].Seq), len(recent))
		return recent[from:min(len(recent), from+limit)], nil
	}
	changes, err := h.c.DB.Changes(ctx, generation, limit)
	if err == nil && len(changes) > 0 && changes[0].Seq != generation+1 {
		return nil, store.ErrTooOld
	}
	return changes, err
}

// await waits until there is something to tell and returns it; at until, or at
// once when the point does not hold a lease, that there is nothing. It returns nil
// when the point needs a snapshot.
func (h *Hub) await(ctx context.Context, point *nhi.Point, req *feed.Request, until time.Time, lease bool) (*feed.Message, error) {
	for {
		h.mu.Lock()
		err := h.rebase()
		news, basis, based := h.news, h.basis, h.digests[req.Mark.Basis] == h.based
		h.mu.Unlock()
		if err != nil {
			return nil, err
		}
		m := &feed.Message{From: req.Mark.Generation, Mark: req.Mark}
		if !based {
			m.Basis, m.Mark.Basis = &basis, basis.Digest()
		}
		current, ok := h.c.Facts.Snapshot().Point(point.ID)
		if !ok || feed.ScopeOf(current.Resources) != req.Mark.Scope {
			return nil, nil
		}
		urgent, err := h.changed(ctx, &current, m)
		if err != nil {
			if errors.Is(err, store.ErrTooOld) {
				return nil, nil
			}
			return nil, err
		}
		if m.Link() || urgent || !lease || !req.Holding || !time.Now().Before(until) {
			return m, nil
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-news:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// changed adds to m what happened after the generation that it begins behind.
// Urgent says that somebody may wait until the point acknowledges it, whether it
// is told more than the number or not.
func (h *Hub) changed(ctx context.Context, point *nhi.Point, m *feed.Message) (urgent bool, err error) {
	// What the facts have applied, and no more: what the server does not know yet
	// nobody is told.
	upTo := h.c.Facts.Generation()
	if upTo <= m.From {
		m.Current = true
		return false, nil
	}
	changes, err := h.after(ctx, m.From, atOnce)
	if err != nil {
		return false, err
	}
	weight := 0
	for i := range changes {
		urgent = urgent || cuts(changes[i].Subject)
		if weight += len(changes[i].Payload); changes[i].Seq > upTo || weight > atWeight && i > 0 {
			changes = changes[:i]
			break
		}
	}
	if len(changes) == 0 {
		return false, store.ErrTooOld // the sequence went on without them, as after a restore
	}
	end := &changes[len(changes)-1]
	m.Mark.Generation, m.Mark.Last, m.Current = end.Seq, feed.DigestOf(end), end.Seq == upTo
	m.Changes, err = feed.Slim(point, changes)
	return urgent, err
}

// sign completes a message and signs it.
func (h *Hub) sign(point *nhi.Point, req *feed.Request, m *feed.Message) (*feed.Frame, error) {
	now := time.Now()
	m.Version, m.Nonce, m.Point = feed.Version, req.Nonce, point.ID
	m.Prev, m.Mark.Hash = req.Mark.Hash, feed.Hash{}
	if m.Link() {
		m.Mark.Sequence = req.Mark.Sequence + 1
	}
	m.Behind = max(0, h.c.Facts.Age(now))
	m.Issued, m.Expires = now.UTC(), now.Add(h.c.MaxAge()).UTC()
	return feed.Sign(h.c.Key, m)
}

func (h *Hub) send(w http.ResponseWriter, point *nhi.Point, req *feed.Request, m *feed.Message, lease bool) {
	m.Lease = lease
	f, err := h.sign(point, req, m)
	if err != nil {
		h.fail(w, point, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(f.Bytes) // the point asks again
}

// snapshot sends everything that the point may have.
func (h *Hub) snapshot(w http.ResponseWriter, r *http.Request, point *nhi.Point, req *feed.Request) {
	select {
	case h.images <- struct{}{}:
		defer func() { <-h.images }()
	case <-r.Context().Done():
		return
	}
	h.mu.Lock()
	err := h.rebase()
	basis := h.basis
	h.mu.Unlock()
	if err != nil {
		h.fail(w, point, err)
		return
	}
	image, m, err := h.image(r.Context(), point)
	if err != nil {
		h.fail(w, point, err)
		return
	}
	defer image.Close()
	m.Basis, m.Mark.Basis = &basis, basis.Digest()
	m.Mark.Sequence = req.Mark.Sequence
	f, err := h.sign(point, req, m)
	if err != nil {
		h.fail(w, point, err)
		return
	}
	// An image is as large as the installation.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(10 * time.Minute))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := w.Write(f.Bytes); err == nil {
		_, _ = io.Copy(w, image) // what arrives in part has another sum
	}
}

// image writes the facts that a point may have to a file that has no name any
// more, and announces it.
func (h *Hub) image(ctx context.Context, point *nhi.Point) (*os.File, *feed.Message, error) {
	s := h.c.Facts.Snapshot()
	current, ok := s.Point(point.ID)
	if !ok {
		return nil, nil, fmt.Errorf("point %s: %w", point.ID, nhi.ErrNotFound)
	}
	last, err := h.last(ctx, s.Generation())
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(h.c.Dir, "edge-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	path := dir + "/image"
	if err := s.For(&current).Save(path, []byte(ImageKey), facts.Mark{Installation: h.c.Installation, Generation: s.Generation()}); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	size, sum, err := feed.SumOf(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	m := &feed.Message{Image: &feed.Image{Size: size, Sum: sum}, Current: true}
	m.Mark = feed.Mark{Installation: h.c.Installation, Generation: s.Generation(), Last: last, Scope: feed.ScopeOf(current.Resources)}
	return f, m, nil
}

// Settled has the answers to requests that may change something wait until the
// points know of it.
func (h *Hub) Settled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			next.ServeHTTP(w, r)
			return
		}
		held := &settling{ResponseWriter: w, wait: func() { h.Settle(r.Context()) }}
		next.ServeHTTP(held, r)
		held.settle() // an answer without a word
	})
}

// A settling waits before the first byte of an answer.
type settling struct {
	http.ResponseWriter
	wait    func()
	settled bool
}

func (s *settling) settle() {
	if !s.settled {
		s.settled = true
		s.wait()
	}
}

func (s *settling) WriteHeader(status int) {
	if status >= 200 {
		s.settle()
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *settling) Write(b []byte) (int, error) {
	s.settle()
	return s.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (s *settling) Unwrap() http.ResponseWriter { return s.ResponseWriter }
