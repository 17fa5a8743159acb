// Package receive listens to peers: other organisations, or other installations
// of Muster, that transmit shared signals (SSF 1.0). Who is a peer is written in
// the configuration, and nobody else is heard.
//
//	push  POST /ssf/events/{peer}  ->\
//	poll  the peer's poll endpoint ->  verify -> is it the peer's own subject?
//	                                   -> Effects -> remember the jti -> acknowledge
//
// A peer is believed only as far as it can be held to it:
//
//   - A SET must be signed by the peer's published keys, be meant for us, and be
//     neither old nor from the future (signals.Open). A push also carries the
//     token that was agreed with the peer. The same jti works once.
//   - A peer testifies about its own subjects only: the issuers, accounts and
//     mail domains that its configuration declares. About anybody else it is
//     refused, and counted.
//   - It has a rate. What it says beyond it waits.
//
// An effect is made durable before the SET is acknowledged, and making it twice
// changes nothing, so a crash at any moment loses no signal. A SET that is
// refused, forged or not understood changes nothing but a counter.
package receive

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
)

// Path is where peers push to; their name follows.
const Path = signals.Root + "events/"

// Heard is a verified event of a peer about a subject of its own.
type Heard struct {
	Peer     string
	ID       string // jti
	At       time.Time
	Event    signals.Event
	Identity nhi.Identity
}

// Effects are what signals do here.
type Effects interface {
	// Resolve finds whom a simple subject names. The error wraps
	// nhi.ErrNotFound when nobody here is named so.
	Resolve(ctx context.Context, s signals.Subject) (nhi.Identity, error)
	// Apply makes the effect of an event durable, bite and recorded before it
	// returns. Applying the same event again changes nothing.
	Apply(ctx context.Context, h Heard) error
}

// Memory remembers what was heard.
type Memory interface {
	// Heard reports whether a jti of a peer was remembered.
	Heard(ctx context.Context, peer, jti string) (bool, error)
	// Remember keeps a jti until a time, durably.
	Remember(ctx context.Context, peer, jti string, until time.Time) error
	// Forget forgets what may be forgotten by a time.
	Forget(ctx context.Context, now time.Time) error
}

// Config is what a Receiver needs.
type Config struct {
	Peers   []Peer
	Tokens  map[string]string // by peer: what its token_file holds
	Effects Effects
	Memory  Memory
	Base    *http.Transport // certificates; nil: those of the system
	Log     *slog.Logger
}

// A Receiver listens to peers. It is safe for concurrent use.
type Receiver struct {
	c     Config
	peers map[string]*peer
}

// A peer is a Peer at work.
type peer struct {
	Peer
	token  [sha256.Size]byte // of what it must show, or of nothing
	secret string            // what we show it
	keys   *keys
	limit  *rate.Limiter
	client *http.Client // of polls

	mu    sync.Mutex // guards state
	state State
}

// State is how a peer does, since the start.
type State struct {
	Peer
	Applied   uint64 // events that had their effect
	Repeated  uint64 // jti that had been heard before
	Ignored   uint64 // events that are not understood, or about nobody here
	Refused   uint64 // forged, foreign, malformed or not for us
	LastHeard time.Time
	Failing   time.Time // poll: since when it fails; push: nothing
	Error     string    // of the last thing that failed
	Status    string    // of the stream, as the peer told it last
}

// New returns a Receiver. It starts nothing; see Run.
func New(c Config) *Receiver {
	r := &Receiver{c: c, peers: map[string]*peer{}}
	for _, p := range c.Peers {
		secret := c.Tokens[p.Name]
		reach := p.reach()
		r.peers[p.Name] = &peer{
			Peer: p, token: sha256.Sum256([]byte(secret)), secret: secret, limit: rate.NewLimiter(50, 500), client: reach.Client(c.Base, pollWait),
			keys: &keys{issuer: p.Issuer, uri: p.JWKSURI, client: reach.Client(c.Base, 0), reach: reach}, state: State{Peer: p},
		}
	}
	return r
}

// States tells how each peer does, in the order of the configuration.
func (r *Receiver) States() []State {
	out := make([]State, 0, len(r.c.Peers))
	for _, p := range r.c.Peers {
		out = append(out, r.peers[p.Name].now())
	}
	return out
}

func (p *peer) now() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *peer) note(change func(*State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
}

// Run polls the peers that are polled, until ctx ends.
func (r *Receiver) Run(ctx context.Context) error {
	var polls sync.WaitGroup
	defer polls.Wait()
	for _, p := range r.peers {
		if p.Delivery == DeliveryPoll {
			polls.Go(func() { r.follow(ctx, p) })
		}
	}
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	for {
		if err := r.c.Memory.Forget(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.c.Log.Warn("old signals could not be forgotten; tried again in an hour", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hour.C:
		}
	}
}

// ServeHTTP takes a push (RFC 8935, section 2).
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	status, err := r.push(req)
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	wrong := (*signals.Refusal)(nil)
	if !errors.As(err, &wrong) {
		status, wrong = http.StatusServiceUnavailable, &signals.Refusal{Code: signals.CodeRequest, Description: "try again later"}
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="shared signals"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "10")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(status)
	body, _ := json.Marshal(wrong) // two texts always encode
	_, _ = w.Write(body)
}

func (r *Receiver) push(req *http.Request) (int, error) {
	if req.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, signals.Refuse(signals.CodeRequest, "use POST")
	}
	p, ok := r.peers[strings.TrimPrefix(req.URL.Path, Path)]
	// Whoever shows no token is not told which peers there are.
	if !shows(req, p) || !ok || p.Delivery != DeliveryPush {
		return http.StatusUnauthorized, signals.Refuse(signals.CodeAuthentication, "the Authorization header is not the one that was agreed")
	}
	if !p.limit.Allow() {
		return http.StatusTooManyRequests, signals.Refuse(signals.CodeAccess, "too many signals; send this one again later")
	}
	body, err := signals.Body(req, signals.MediaType, jose.MaxToken)
	if err == nil {
		err = r.take(req.Context(), p, string(body), "")
	}
	return http.StatusBadRequest, err
}

// shows reports whether a push carries the peer's token, in a time that tells
// nothing about it.
func shows(req *http.Request, p *peer) bool {
	headers := req.Header.Values("Authorization")
	said := ""
	if len(headers) == 1 {
		said = headers[0]
	}
	const scheme = "bearer "
	if len(said) > len(scheme) && strings.EqualFold(said[:len(scheme)], scheme) {
		said = said[len(scheme):]
	}
	got, want := sha256.Sum256([]byte(said)), [sha256.Size]byte{}
	if p != nil {
		want = p.token
	}
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && p != nil && p.secret != "" && len(headers) == 1
}

// take verifies a SET and makes its effect. id is what the SET was handed out
// as, or empty. The error is a *signals.Refusal, or of something here that
// should be tried again.
func (r *Receiver) take(ctx context.Context, p *peer, set, id string) error {
	err := r.hear(ctx, p, set, id)
	wrong := (*signals.Refusal)(nil)
	switch {
	case errors.As(err, &wrong):
		p.note(func(s *State) { s.Refused++; s.Error = "refused a signal: " + wrong.Description })
		r.c.Log.Warn("a signal was refused", "peer", p.Name, "code", wrong.Code, "because", wrong.Description)
	case err != nil:
		p.note(func(s *State) { s.Error = fmt.Sprintf("%.200s", err) })
		r.c.Log.Warn("a signal waits", "peer", p.Name, "error", err)
	}
	return err
}

func (r *Receiver) hear(ctx context.Context, p *peer, set, id string) error {
	now := time.Now()
	found, err := p.keys.of(ctx, set, now)
	if err != nil {
		return err
	}
	token, err := signals.Open(set, found, signals.Want{Issuer: p.Issuer, Audience: p.Audience, Now: now})
	if err != nil {
		return err
	}
	if id != "" && id != token.ID {
		return signals.Refuse(signals.CodeRequest, "the signal was handed out under another jti than its own")
	}
	known, err := r.c.Memory.Heard(ctx, p.Name, token.ID)
	if err != nil {
		return err
	}
	if known {
		p.note(func(s *State) { s.Repeated++; s.LastHeard = now })
		return nil // acknowledged again: the peer may have missed it (RFC 8935, section 2.2)
	}
	applied, err := r.effect(ctx, p, &token)
	if err != nil {
		return err
	}
	// Only now, so that what a crash cut off is done again.
	if err := r.c.Memory.Remember(ctx, p.Name, token.ID, now.Add(signals.MaxAge+2*signals.Leeway)); err != nil {
		return err
	}
	p.note(func(s *State) {
		s.LastHeard = now
		if applied {
			s.Applied++
		} else {
			s.Ignored++
		}
	})
	return nil
}

// effect does what a verified SET asks for, as far as the peer may.
func (r *Receiver) effect(ctx context.Context, p *peer, token *signals.Token) (applied bool, err error) {
	switch token.Event.Type {
	case "": // none that is understood
		return false, nil
	case signals.Verification:
		return true, nil
	case signals.StreamUpdated:
		p.note(func(s *State) { s.Status = token.Event.Status })
		return true, nil
	}
	if err := p.Subjects.own(&token.Subject); err != nil {
		return false, err
	}
	who, ok := token.Subject.Principal()
	if !ok {
		return false, nil
	}
	identity, err := r.c.Effects.Resolve(ctx, who)
	if errors.Is(err, nhi.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := p.Subjects.home(&who, &identity); err != nil {
		return false, err
	}
	return true, r.c.Effects.Apply(ctx, Heard{Peer: p.Name, ID: token.ID, At: token.IssuedAt, Event: token.Event, Identity: identity})
}
