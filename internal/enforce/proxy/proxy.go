// Package proxy is Muster's own enforcement point for HTTP: a reverse proxy
// that asks for a decision about every request, in its own process, and passes
// on what is allowed. It carries HTTP/1.1 and HTTP/2 on both sides, streams in
// both directions, server-sent events, trailers, informational replies and
// websockets.
//
// A request goes through four steps, and each fails closed:
//
//  1. Hygiene. What two programs could read in two ways is refused with 400,
//     whatever the mode of the point: another form of target than a path, a
//     path that would not leave as it came, too many headers.
//  2. The decision, by [enforce.Judge], as behind every other point. The path
//     that is judged is the path that is forwarded, byte for byte.
//  3. What the application is told: Muster-Identity, Muster-Decision and the
//     X-Forwarded headers, each written here and nowhere else. What a client
//     sent under these names, or under others by which applications take
//     somebody for authenticated, is dropped; so are the credential, unless it
//     is asked for, and every header with another sign in its name than letters,
//     digits and hyphens.
//  4. Forwarding. An attempt is made elsewhere only when not one byte left.
//
// What was let through stays under watch until it ends: when the identity, its
// credential, what vouches for it (the workload beside a pinned key, the rule, keys or
// trust domain of another issuer) or the point is withdrawn, running requests, streams
// and upgraded connections are cut. An upgraded connection is decided once, so it also ends
// when the credential does, or after a time that the settings give. So do, when the
// credential does, a stream of events that was asked for by GET, and a request whose
// client still sends without having said how much.
//
// [New] makes a [Handler] of [Settings] and of interfaces that any process can
// fill; [Handler.Server] puts it on the wire with its limits.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// A Standing tells whether what was let through may go on. It reads memory
// only.
type Standing interface {
	// Withdrawn reports whether what a caller proved is worth nothing any more: its
	// identity, credential, token or key, or the workload that stood beside it, was
	// revoked, suspended or quarantined since, or nobody here would believe the
	// evidence of then now. The evidence is neither changed nor kept; it is zero
	// where the subject has a stored credential.
	Withdrawn(ctx context.Context, subject *nhi.Attested, evidence *nhi.Evidence) bool
	// Changed returns a channel that is closed when something may have changed.
	Changed() <-chan struct{}
}

// Config is what a Handler needs beside its settings.
type Config struct {
	Judge enforce.Judge
	// Point returns the enrolled point that speaks here, as it is now. It reads
	// memory only. Not ok, or disabled: everything is refused.
	Point func() (nhi.Point, bool)
	// Standing watches over what runs; nil: only expiry ends an upgraded
	// connection.
	Standing Standing
	// Protocol looks into requests; nil: each is decided about as a whole, which
	// is for the protocol http of the settings alone.
	Protocol Protocol
	// Asserter signs what was decided; nil: a point that is to assert refuses.
	Asserter *enforce.Asserter
	Log      *slog.Logger // nil: nothing is logged
}

// A Handler is the proxy. It is safe for concurrent use.
type Handler struct {
	c        Config
	s        Settings
	upstream *upstream
	reverse  *httputil.ReverseProxy
	flights  flights
	running  atomic.Int64
}

// New returns a Handler. It reads the files that the settings name. The error
// wraps nhi.ErrInvalid where a setting is wrong.
func New(s Settings, c Config) (*Handler, error) {
	s = s.WithDefaults()
	if err := s.Check(); err != nil {
		return nil, err
	}
	if whole := s.Protocol == "" || s.Protocol == HTTP; whole != (c.Protocol == nil) {
		return nil, nhi.Invalidf("proxy %s: nothing looks into the protocol %q", s.Point, s.Protocol)
	}
	u, err := newUpstream(&s)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", s.Point, err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{c: c, s: s, upstream: u}
	// A reply of unknown length, as every stream has, is passed on as it comes
	// without a FlushInterval, too; one of known length may fill a packet.
	h.reverse = &httputil.ReverseProxy{
		Rewrite: h.rewrite, Transport: u, ModifyResponse: h.answered, ErrorHandler: h.broken, BufferPool: &buffers,
		ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
	}
	return h, nil
}

// A passage is a request that was let through, on its way to the application.
type passage struct {
	identity string
	decision string // its id, or the assertion
	evidence nhi.Evidence
	body     *paced // nil: there is none, or it was read
	flight   *flight
	timer    *time.Timer // that cuts it; may be nil
}

type passageKey struct{}

// ServeHTTP decides about a request and carries it. It does not return before
// the reply, or the upgraded connection, has ended.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.running.Add(-1)
	if h.running.Add(1) > int64(h.s.Limits.Requests) {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "too-many-requests", "the proxy carries as many requests as it may; try again")
		return
	}
	defer h.pace(w, r).end()
	if trouble := h.hygiene(w, r); trouble != nil {
		fail(w, trouble.status, trouble.reason, trouble.text)
		return
	}
	if h.c.Protocol != nil {
		h.within(w, r)
		return
	}
	body, trouble := h.digest(r)
	if trouble != nil {
		fail(w, trouble.status, trouble.reason, trouble.text)
		return
	}
	verdict, passed := h.judge(r, body)
	if passed == nil {
		w.Header().Set("Muster-Decision", verdict.Decision)
		verdict.Refuse(w)
		return
	}
	h.carry(w, r, verdict, passed)
}

// judge returns what was decided, and what the application is told when the
// request passes. A panic on the way is a denial.
func (h *Handler) judge(r *http.Request, body enforce.Body) (verdict *enforce.Verdict, passed *passage) {
	defer func() {
		if recover() != nil {
			// The value may hold anything, so it is not logged.
			h.c.Log.Error("panic while deciding: denied", "point", h.s.Point)
			broken := enforce.Broken
			verdict, passed = &broken, nil
		}
	}()
	point, ok := h.point()
	if !ok {
		return &enforce.Verdict{Outcome: nhi.Deny, Reasons: []string{"point-unauthenticated"}}, nil
	}
	asking := h.asking(r, &point)
	sent := asking
	v := h.c.Judge.Judge(r.Context(), &asking)
	if v.Outcome != nhi.Allow {
		return &v, nil
	}
	return h.pass(&sent, r.Method, &v, body)
}

// point returns who speaks here, unless it may not.
func (h *Handler) point() (nhi.Point, bool) {
	p, ok := h.c.Point()
	return p, ok && !p.Disabled && p.Dialect == nhi.DialectProxy
}

// original is the request as it came. Nothing of it is what a client says in a
// header about itself: the scheme and the address are the connection's.
func original(r *http.Request) enforce.Original {
	o := enforce.Original{Method: r.Method, Scheme: "http", Host: r.Host, Target: r.RequestURI, Address: enforce.Remote(r).Addr().Unmap().WithZone("")}
	if r.TLS != nil {
		o.Scheme = "https"
	}
	return o
}

// carry forwards what was let through, and watches over it meanwhile.
func (h *Handler) carry(w http.ResponseWriter, r *http.Request, verdict *enforce.Verdict, passed *passage) {
	passed.body, _ = r.Body.(*paced)
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), passageKey{}, passed))
	defer cancel()
	control := http.NewResponseController(w)
	f := &flight{subject: verdict.Subject, evidence: &passed.evidence, cancel: cancel}
	if r.ProtoMajor == 1 {
		// What blocks on a client that does not read, or does not send, is freed by a
		// deadline. The connection of HTTP/2 is everybody's; there the stream is reset.
		f.release = func() {
			_ = control.SetWriteDeadline(time.Unix(1, 0)) // refused: the context alone ends it
			passed.body.cut()
		}
		if r.ContentLength != 0 {
			_ = control.EnableFullDuplex() // refused: the reply waits for the body, as it did before
		}
	}
	h.flights.begin(f)
	defer h.flights.end(f)
	h.bound(r, f, passed)
	defer passed.end()
	// A change between the decision and this line would have gone unseen.
	if h.c.Standing != nil && f.subject != nil && h.c.Standing.Withdrawn(ctx, f.subject, f.evidence) {
		v := enforce.Verdict{Decision: verdict.Decision, Outcome: nhi.Deny, Reasons: []string{"credential-withdrawn"}}
		v.Refuse(w)
		return
	}
	h.reverse.ServeHTTP(&reply{w, w.Header().Get("Connection") == "close", passed.body}, r.WithContext(ctx))
}

// bound has what could go on without end, end with the credential: an upgraded
// connection, which has a time of its own as well, and what a client still sends
// without having said how much it is. The flight must have begun.
func (h *Handler) bound(r *http.Request, f *flight, passed *passage) {
	passed.flight = f
	expires := f.expires()
	switch upgraded := upgrades(r.Header); {
	case upgraded && expires.IsZero():
		passed.cutIn(h, h.s.Timeouts.Upgraded)
	case upgraded:
		passed.cutIn(h, min(h.s.Timeouts.Upgraded, time.Until(expires)))
	case !expires.IsZero() && passed.body.unbounded():
		passed.timer = time.AfterFunc(time.Until(expires), func() {
			if passed.body.unbounded() {
				h.flights.cut(f)
			}
		})
	}
}

// boundEvents does the same for a stream of events that is asked for by GET: when it
// breaks off, its client asks for it again.
func (h *Handler) boundEvents(res *http.Response) {
	media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if res.Request.Method != http.MethodGet || !strings.EqualFold(strings.TrimSpace(media), "text/event-stream") {
		return
	}
	passed, ok := res.Request.Context().Value(passageKey{}).(*passage)
	if !ok || passed.flight == nil {
		return
	}
	if expires := passed.flight.expires(); !expires.IsZero() {
		passed.cutIn(h, time.Until(expires))
	}
}

// cutIn ends the request after a time.
func (p *passage) cutIn(h *Handler, left time.Duration) {
	p.end()
	p.timer = time.AfterFunc(left, func() { h.flights.cut(p.flight) })
}

func (p *passage) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// Watch cuts what runs on a credential that is withdrawn, until ctx ends. It
// blocks. Changes that come together are looked at together.
func (h *Handler) Watch(ctx context.Context) {
	if h.c.Standing == nil {
		<-ctx.Done()
		return
	}
	for {
		// The channel is taken before looking, so that no change is missed.
		changed := h.c.Standing.Changed()
		h.inspect(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		pause := time.NewTimer(inspection)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// inspection is how often running requests are looked at, at most.
const inspection = 50 * time.Millisecond

func (h *Handler) inspect(ctx context.Context) {
	_, stands := h.point()
	if n := h.flights.cutIf(func(f *flight) bool {
		return !stands || f.subject != nil && h.c.Standing.Withdrawn(ctx, f.subject, f.evidence)
	}); n > 0 {
		h.c.Log.Warn("running requests were cut: what they were let through for is withdrawn", "point", h.s.Point, "requests", n)
	}
}

// Cut ends everything that runs.
func (h *Handler) Cut() { h.flights.cutIf(func(*flight) bool { return true }) }

// Running is how many requests and upgraded connections are being carried.
func (h *Handler) Running() int { return int(h.running.Load()) }

// Close gives up the idle connections to the application.
func (h *Handler) Close() { h.upstream.transport.CloseIdleConnections() }

// broken answers when the application did not.
func (h *Handler) broken(w http.ResponseWriter, r *http.Request, err error) {
	slow := errors.Is(err, errSlow)
	if passed, ok := r.Context().Value(passageKey{}).(*passage); ok {
		slow = slow || passed.body.slow()
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		fail(w, http.StatusRequestEntityTooLarge, "body-too-long", "the request has a longer body than the proxy carries")
	case slow:
		fail(w, slowBody.status, slowBody.reason, slowBody.text)
	case r.Context().Err() != nil:
		// Cut, or the client is gone.
		panic(http.ErrAbortHandler)
	case isTimeout(err):
		h.c.Log.Warn("the application did not answer in time", "point", h.s.Point)
		fail(w, http.StatusGatewayTimeout, "upstream-timeout", "the application did not answer in time")
	default:
		h.c.Log.Warn("the application cannot be reached", "point", h.s.Point, "error", err)
		fail(w, http.StatusBadGateway, "upstream-unreachable", "the application cannot be reached")
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// fail answers what has nothing to do with a decision, as JSON.
func fail(w http.ResponseWriter, status int, reason, text string) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// Both are our own words. The client may be gone.
	_, _ = fmt.Fprintf(w, "{\"error\":%q,\"detail\":%q}\n", reason, text)
}

// buffers are what bodies are copied with.
var buffers = pool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}

type pool struct{ p sync.Pool }

func (p *pool) Get() []byte  { return *p.p.Get().(*[]byte) }
func (p *pool) Put(b []byte) { p.p.Put(&b) }

// upgrades reports whether a request asks for a websocket.
func upgrades(header http.Header) bool {
	u := header["Upgrade"]
	return len(u) == 1 && strings.EqualFold(u[0], "websocket")
}
