package frame

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store/desk"
)

// Requests that are repeated. Whatever writes may carry an Idempotency-Key:
// whoever does not know whether it arrived sends it again with the same key,
// and the effect happens once. The request's first write is marked in the
// transaction that makes it, so that a crash between the two is told from one
// before.
//
// What is kept of a request is a keyed hash of it, and its reply for a day. A
// reply that shows a secret is not kept: the second time the caller is told
// that it was made, and under which id.

// shownOnce are the routes whose replies hold a secret.
var shownOnce = map[string]bool{
	"POST /v1/identities/{id}/credentials": true, "POST /v1/points": true, "POST /v1/points/{id}/break-glass": true, "POST /v1/sources": true, "POST /v1/links": true, "POST /v1/tokens": true,
}

// asking are the routes that only ask, though not by GET: their question may be
// a secret, which belongs in no address, or is too long for one. A key means
// nothing to them.
var asking = map[string]bool{
	"POST /v1/search": true, "POST /v1/backup": true, "POST /v1/fingerprints/evaluate": true, "POST /v1/inventory/imports/aws/preview": true,
	"POST /v1/policies/simulate": true, "POST /v1/policies/learn": true, "POST /v1/points/{id}/probe": true,
}

// Writes lists every route that changes something, in order. All of them take
// an Idempotency-Key.
func Writes() []string {
	return slices.DeleteFunc(Routes(), func(route string) bool { return !writes(route) })
}

func writes(pattern string) bool { return !strings.HasPrefix(pattern, "GET ") && !asking[pattern] }

// keyed gives a route its memory of requests with a key.
func (s *Frame) keyed(pattern string, handle http.HandlerFunc) http.HandlerFunc {
	if !writes(pattern) {
		return handle
	}
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if key == "" {
			handle(w, r)
			return
		}
		if len(key) > 255 || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
			s.Refuse(w, Problem(nhi.Invalidf("Idempotency-Key: want 1 to 255 visible ASCII characters"), 0))
			return
		}
		sent, err := s.take(w, r, pattern)
		if err != nil {
			s.Refuse(w, Problem(err, 0))
			return
		}
		defer sent.Close()
		r.Body = sent
		id := s.digest("key", CallerOf(r.Context()).Self(), r.Method, r.URL.Path, key)
		digest := s.digest("request", r.URL.RawQuery, r.Header.Get("If-Match"), sent.digest)
		fresh, known, err := s.Desk.Begin(r.Context(), s.digest("caller", CallerOf(r.Context()).Self()), id, digest, s.Stale, cmp.Or(s.MaxReplies, desk.MaxReplies))
		switch {
		case err != nil:
			s.Refuse(w, Problem(err, 0))
		case fresh:
			s.first(w, r, id, pattern, handle)
		case known.Digest != digest:
			s.Refuse(w, Problem(nhi.Invalidf("this Idempotency-Key was used for another request; take a new one"), 0))
		default:
			s.again(w, known)
		}
	}
}

// digest is a keyed hash: what was sent may hold a secret that a plain hash
// would let somebody guess.
func (s *Frame) digest(parts ...string) string {
	m := hmac.New(sha256.New, s.Key)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(m.Sum(nil))
}

// first carries a request out and remembers the reply.
func (s *Frame) first(w http.ResponseWriter, r *http.Request, id, pattern string, handle http.HandlerFunc) {
	ctx := context.WithoutCancel(r.Context())
	rec := &recorder{head: http.Header{}, status: http.StatusOK}
	done := false
	defer func() {
		if !done { // it panicked; what was written stays on record
			_, _ = s.Desk.Drop(ctx, id)
		}
	}()
	handle(rec, r.WithContext(s.Desk.Beside(r.Context(), id)))
	done = true
	if err := s.remember(ctx, id, pattern, rec); err != nil {
		// The effect and its mark are on disk: nobody can repeat it.
		slog.Warn("the reply to a request with a key could not be kept", "error", err)
	}
	rec.copyTo(w)
}

func (s *Frame) remember(ctx context.Context, id, pattern string, rec *recorder) error {
	if rec.status >= 400 {
		if dropped, err := s.Desk.Drop(ctx, id); err != nil || dropped {
			return err // nothing was written: it may be tried again
		}
	}
	reply := desk.Reply{Status: rec.status, Kind: rec.head.Get("Content-Type"), ETag: rec.head.Get("ETag"), Body: rec.body.String()}
	if rec.status < 400 && (shownOnce[pattern] || s.Clean(reply.Body) != reply.Body) {
		var made struct{ ID string }
		_ = json.Unmarshal(rec.body.Bytes(), &made) // without an id there is none to tell
		reply.Body, reply.Shown = "", "nothing that can be named"
		if made.ID != "" {
			reply.Shown = made.ID
		}
	}
	return s.Desk.Finish(ctx, id, reply)
}

// again answers a request that was made before.
func (s *Frame) again(w http.ResponseWriter, known desk.Reply) {
	switch {
	case known.Shown != "":
		s.Refuse(w, Problem(fmt.Errorf("this request was carried out and made %s; its secret was shown once and is not kept. If it was lost, revoke it and make another, with a new Idempotency-Key: %w", known.Shown, nhi.ErrConflict), 0))
	case known.Status != 0:
		for name, v := range map[string]string{"Content-Type": known.Kind, "ETag": known.ETag} {
			if v != "" {
				w.Header().Set(name, v)
			}
		}
		w.Header().Set("Idempotency-Replayed", "true")
		w.WriteHeader(known.Status)
		_, _ = io.WriteString(w, known.Body) // the caller may be gone
	case known.Committed && !known.Ours:
		s.Refuse(w, Problem(fmt.Errorf("this request was carried out, but the server stopped before it could answer; look at the list for what it made: %w", nhi.ErrConflict), 0))
	default:
		w.Header().Set("Retry-After", "1")
		s.Refuse(w, Problem(fmt.Errorf("this request is being carried out; ask again in a moment: %w", nhi.ErrConflict), 0))
	}
}

// A recorder keeps a reply until it is remembered.
type recorder struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.head }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func (r *recorder) copyTo(w http.ResponseWriter) {
	for name, values := range r.head {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // the caller may be gone
}

// SetReadDeadline and SetWriteDeadline satisfy whoever wants more time; a
// recorded reply needs none.
func (r *recorder) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements the controller's interface.
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

// Tag is an entity tag (RFC 9110, section 8.8.3) of what a caller may change.
func Tag(parts ...any) string {
	b, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return strconv.Quote(hex.EncodeToString(sum[:12]))
}

// IfMatch is the condition of a change. It is exported because the framework
// fills in only what is.
type IfMatch struct {
	Match string `header:"If-Match" maxLength:"512" doc:"the etag that was read; the change is refused with 412 when somebody else was faster"`
}

// Check compares the condition with what is there now.
func (m IfMatch) Check(now string) error {
	if m.Match == "" || m.Match == "*" {
		return nil
	}
	for _, t := range strings.Split(m.Match, ",") {
		if t = strings.TrimSpace(t); t == now || strconv.Quote(t) == now {
			return nil
		}
	}
	return errStale
}

// Tagged is a reply with its entity tag.
type Tagged[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

// Changing runs a change of one thing alone, so that what its condition was
// checked against is what is changed.
func (s *Frame) Changing(id string, change func() error) error {
	sum := sha256.Sum256([]byte(id))
	lock := &s.locks[sum[0]%uint8(len(s.locks))]
	lock.Lock()
	defer lock.Unlock()
	return change()
}
