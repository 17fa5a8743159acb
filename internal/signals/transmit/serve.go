package transmit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
)

// The endpoints, below the public URL (SSF 1.0, section 8.1).
const (
	streamPath = signals.Root + "stream"
	statusPath = signals.Root + "status"
	addPath    = signals.Root + "subjects/add"
	removePath = signals.Root + "subjects/remove"
	verifyPath = signals.Root + "verify"
	pollPath   = signals.Root + "poll/"
)

const (
	maxBody      = 64 << 10
	maxStreams   = 16     // of one receiver
	maxExcluded  = 10_000 // subjects that one stream leaves out
	verifyEvery  = 30 * time.Second
	maxRequested = 64
)

// A fault is an answer other than the wanted one.
type fault struct {
	status int
	signals.Refusal
}

func fail(status int, format string, args ...any) error {
	code := signals.CodeRequest
	switch status {
	case http.StatusUnauthorized:
		code = signals.CodeAuthentication
	case http.StatusForbidden, http.StatusNotFound:
		code = signals.CodeAccess
	}
	return &fault{status, signals.Refusal{Code: code, Description: fmt.Sprintf(format, args...)}}
}

// Handler serves the metadata and the endpoints of streams.
func (t *Transmitter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+signals.MetadataPath, t.serveMetadata)
	for pattern, serve := range map[string]func(*http.Request, Receiver) (int, any, error){
		"POST " + streamPath: t.createStream, "GET " + streamPath: t.readStream, "PATCH " + streamPath: t.updateStream, "PUT " + streamPath: t.replaceStream,
		"DELETE " + streamPath: t.deleteStream, "GET " + statusPath: t.readStatus, "POST " + statusPath: t.updateStatus,
		"POST " + addPath: t.addSubject, "POST " + removePath: t.removeSubject, "POST " + verifyPath: t.verify, "POST " + pollPath + "{id}": t.poll,
	} {
		mux.Handle(pattern, t.guard(serve))
	}
	return mux
}

// guard lets only receivers in, and answers in JSON.
func (t *Transmitter) guard(serve func(*http.Request, Receiver) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		who, err := t.c.Authenticate(r)
		if err != nil {
			err = unauthenticated(w, err)
		}
		status, reply := 0, any(nil)
		if err == nil {
			status, reply, err = serve(r, who)
		}
		if err != nil {
			status, reply = t.explain(err)
		}
		if reply == nil {
			w.WriteHeader(status)
			return
		}
		body, err := json.Marshal(reply)
		if err != nil {
			t.c.Log.Error("encode an answer about signals", "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

func unauthenticated(w http.ResponseWriter, err error) error {
	switch {
	case errors.Is(err, nhi.ErrBusy):
		w.Header().Set("Retry-After", "60")
		return fail(http.StatusTooManyRequests, "too many failures; wait a minute")
	case errors.Is(err, nhi.ErrDenied):
		w.Header().Set("WWW-Authenticate", `Bearer realm="shared signals"`)
		return fail(http.StatusUnauthorized, "send the key of a source of format receiver as a bearer token")
	}
	return err
}

func (t *Transmitter) explain(err error) (int, any) {
	var f *fault
	var wrong *signals.Refusal
	switch {
	case errors.As(err, &f):
		return f.status, f.Refusal
	case errors.As(err, &wrong):
		return http.StatusBadRequest, wrong
	case errors.Is(err, nhi.ErrNotFound):
		return http.StatusNotFound, signals.Refusal{Code: signals.CodeAccess, Description: "you have no such stream"}
	}
	t.c.Log.Error("signals", "error", err)
	return http.StatusServiceUnavailable, signals.Refusal{Code: signals.CodeRequest, Description: "try again later"}
}

// metadata is the transmitter's configuration (SSF 1.0, section 7.1).
type metadata struct {
	Version      string              `json:"spec_version"`
	Issuer       string              `json:"issuer"`
	Keys         string              `json:"jwks_uri"`
	Methods      []string            `json:"delivery_methods_supported"`
	Stream       string              `json:"configuration_endpoint"`
	Status       string              `json:"status_endpoint"`
	Add          string              `json:"add_subject_endpoint"`
	Remove       string              `json:"remove_subject_endpoint"`
	Verification string              `json:"verification_endpoint"`
	Critical     []string            `json:"critical_subject_members"`
	Schemes      []map[string]string `json:"authorization_schemes"`
	Subjects     string              `json:"default_subjects"`
}

func (t *Transmitter) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	at := t.c.Issuer
	body, err := json.Marshal(metadata{
		Version: "1_0", Issuer: at, Keys: at + t.c.KeysPath, Methods: []string{signals.Push, signals.Poll}, Stream: at + streamPath, Status: at + statusPath,
		Add: at + addPath, Remove: at + removePath, Verification: at + verifyPath, Critical: []string{"user"},
		Schemes: []map[string]string{{"spec_urn": "urn:ietf:rfc:6750"}}, Subjects: "ALL",
	})
	if err != nil {
		http.Error(w, "encode", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body)
}

// A shape is a stream as it is sent to and fro. What is nil was not sent.
type shape struct {
	ID        *string   `json:"stream_id,omitzero"`
	Issuer    *string   `json:"iss,omitzero"`
	Audience  any       `json:"aud,omitzero"`
	Supported *[]string `json:"events_supported,omitzero"`
	Requested *[]string `json:"events_requested,omitzero"`
	Delivered *[]string `json:"events_delivered,omitzero"`
	Delivery  *delivery `json:"delivery,omitzero"`
	Interval  *int      `json:"min_verification_interval,omitzero"`
	// Format is not in SSF 1.0, as it was in its drafts: how subjects are named.
	Format      *string `json:"format,omitzero"`
	Description *string `json:"description,omitzero"`
}

type delivery struct {
	Method        string `json:"method"`
	Endpoint      string `json:"endpoint_url,omitempty"`
	Authorization string `json:"authorization_header,omitempty"` // write-only
}

func (t *Transmitter) show(s *signals.Stream) shape {
	audience, interval, delivered := any(string(s.Receiver)), int(verifyEvery.Seconds()), s.Delivered()
	out := shape{
		ID: &s.ID, Issuer: &t.c.Issuer, Audience: audience, Supported: &signals.Supported, Delivered: &delivered, Interval: &interval,
		Delivery: &delivery{Method: s.Method, Endpoint: s.Endpoint},
	}
	if s.Method == signals.Poll {
		out.Delivery.Endpoint = t.c.Issuer + pollPath + s.ID
	}
	if s.Requested != nil {
		out.Requested = &s.Requested
	}
	if s.Format != "" {
		out.Format = &s.Format
	}
	if s.Description != "" {
		out.Description = &s.Description
	}
	return out
}

// read decodes a body of at most maxBody; names are exact and unique, those
// that nobody knows are ignored.
func read(r *http.Request, into any) error {
	body, err := signals.Body(r, "application/json", maxBody)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fail(http.StatusBadRequest, "the body is not the JSON object that this endpoint takes")
	}
	return nil
}

// apply makes s what its receiver wants. With all, what is missing is taken as
// deleted.
func (t *Transmitter) apply(s *signals.Stream, in *shape, all bool) error {
	if in.Requested != nil || all {
		s.Requested = nil
		if in.Requested != nil {
			if len(*in.Requested) > maxRequested {
				return fail(http.StatusBadRequest, "events_requested: over %d events", maxRequested)
			}
			// What is not supported is ignored, and so not kept.
			asked := signals.Stream{Requested: append([]string{}, *in.Requested...)}
			s.Requested = asked.Delivered()
		}
	}
	if in.Description != nil || all {
		s.Description = ""
		if in.Description != nil {
			s.Description = clip(*in.Description)
		}
	}
	if in.Format != nil || all {
		s.Format = ""
		if in.Format != nil {
			s.Format = *in.Format
		}
		switch s.Format {
		case "", signals.FormatIssSub, signals.FormatOpaque, signals.FormatURI, signals.FormatEmail:
		default:
			return fail(http.StatusBadRequest, "format: want iss_sub, opaque, uri or email")
		}
	}
	if in.Delivery != nil || all {
		return t.deliver(s, in.Delivery)
	}
	return nil
}

// deliver sets how a stream is delivered. Without a word it is polled (SSF 1.0,
// section 8.1.1.1).
func (t *Transmitter) deliver(s *signals.Stream, d *delivery) error {
	if d == nil {
		d = &delivery{Method: signals.Poll}
	}
	switch d.Method {
	case signals.Poll:
		s.Method, s.Endpoint, s.Sealed = signals.Poll, "", nil
		return nil
	case signals.Push:
	default:
		return fail(http.StatusBadRequest, "delivery: method must be %s or %s", signals.Push, signals.Poll)
	}
	if err := t.c.Reach.Check(d.Endpoint); err != nil {
		return fail(http.StatusBadRequest, "delivery: endpoint_url: %v", err)
	}
	if len(d.Authorization) > 4096 || strings.ContainsFunc(d.Authorization, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fail(http.StatusBadRequest, "delivery: authorization_header is too long or no header value")
	}
	s.Sealed = nil
	if d.Authorization != "" {
		s.Sealed = t.c.Seal([]byte(d.Authorization))
	}
	if s.Endpoint != d.Endpoint {
		s.Failing, s.Error = time.Time{}, ""
	}
	s.Method, s.Endpoint = signals.Push, d.Endpoint
	return nil
}

// clip keeps what can be printed of a description.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	for len(s) > 200 {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func (t *Transmitter) createStream(r *http.Request, who Receiver) (int, any, error) {
	var in shape
	if err := read(r, &in); err != nil {
		return 0, nil, err
	}
	s := signals.Stream{
		ID: strings.ReplaceAll(uuid.NewString(), "-", ""), Receiver: who.ID, Status: signals.Enabled, Created: time.Now().UTC().Truncate(time.Microsecond),
	}
	if err := t.apply(&s, &in, true); err != nil {
		return 0, nil, err
	}
	t.write.Lock()
	defer t.write.Unlock()
	err := t.c.Streams.CreateStream(r.Context(), s, maxStreams)
	if errors.Is(err, nhi.ErrConflict) {
		return 0, nil, fail(http.StatusConflict, "you have %d streams already; delete one", maxStreams)
	}
	t.begin()
	return http.StatusCreated, t.show(&s), err
}

// mine returns the stream of an id if it is the receiver's. That of somebody
// else is as if it were not there.
func (t *Transmitter) mine(ctx context.Context, who Receiver, id string) (signals.Stream, error) {
	if uuid.Validate(id) != nil { // nor does a database take everything
		return signals.Stream{}, fmt.Errorf("stream: %w", nhi.ErrNotFound)
	}
	s, err := t.c.Streams.Stream(ctx, id)
	if err == nil && s.Receiver != who.ID {
		err = fmt.Errorf("stream: %w", nhi.ErrNotFound)
	}
	if err != nil {
		return signals.Stream{}, err
	}
	return s, nil
}

func (t *Transmitter) readStream(r *http.Request, who Receiver) (int, any, error) {
	if r.URL.Query().Has("stream_id") {
		s, err := t.mine(r.Context(), who, r.URL.Query().Get("stream_id"))
		return http.StatusOK, t.show(&s), err
	}
	all, err := t.c.Streams.Streams(r.Context())
	out := []shape{}
	for i := range all {
		if all[i].Receiver == who.ID {
			out = append(out, t.show(&all[i]))
		}
	}
	return http.StatusOK, out, err
}

func (t *Transmitter) updateStream(r *http.Request, who Receiver) (int, any, error) {
	return t.change(r, who, false)
}

func (t *Transmitter) replaceStream(r *http.Request, who Receiver) (int, any, error) {
	return t.change(r, who, true)
}

// change updates a stream or replaces what its receiver supplied (SSF 1.0,
// sections 8.1.1.3 and 8.1.1.4).
func (t *Transmitter) change(r *http.Request, who Receiver, all bool) (int, any, error) {
	var in shape
	if err := read(r, &in); err != nil {
		return 0, nil, err
	}
	if in.ID == nil {
		return 0, nil, fail(http.StatusBadRequest, "stream_id is missing")
	}
	t.write.Lock()
	defer t.write.Unlock()
	now, err := t.mine(r.Context(), who, *in.ID)
	if err != nil {
		return 0, nil, err
	}
	if err := t.expect(&now, &in); err != nil {
		return 0, nil, err
	}
	s, err := t.c.Streams.UpdateStream(r.Context(), now.ID, func(s *signals.Stream) error { return t.apply(s, &in, all) })
	if err != nil {
		return 0, nil, err
	}
	t.retry(s.ID)
	t.Wake()
	return http.StatusOK, t.show(&s), nil
}

// expect checks that what the transmitter supplies was sent as it is.
func (t *Transmitter) expect(s *signals.Stream, in *shape) error {
	wrong := ""
	switch {
	case in.Issuer != nil && *in.Issuer != t.c.Issuer:
		wrong = "iss"
	case in.Audience != nil && in.Audience != any(string(s.Receiver)) && !only(in.Audience, string(s.Receiver)):
		wrong = "aud"
	case in.Supported != nil && !same(*in.Supported, signals.Supported):
		wrong = "events_supported"
	case in.Delivered != nil && !same(*in.Delivered, s.Delivered()):
		wrong = "events_delivered"
	case in.Interval != nil && *in.Interval != int(verifyEvery.Seconds()):
		wrong = "min_verification_interval"
	default:
		return nil
	}
	return fail(http.StatusBadRequest, "%s is the transmitter's, and is not what was sent", wrong)
}

func only(v any, want string) bool {
	list, ok := v.([]any)
	return ok && len(list) == 1 && list[0] == want
}

func same(a, b []string) bool {
	seen := map[string]bool{}
	for _, v := range a {
		seen[v] = true
	}
	for _, v := range b {
		if !seen[v] {
			return false
		}
	}
	return len(seen) == len(b)
}

func (t *Transmitter) deleteStream(r *http.Request, who Receiver) (int, any, error) {
	t.write.Lock()
	defer t.write.Unlock()
	s, err := t.mine(r.Context(), who, r.URL.Query().Get("stream_id"))
	if err == nil {
		err = t.c.Streams.DeleteStream(r.Context(), s.ID)
	}
	return http.StatusNoContent, nil, err
}

// A state is the status of a stream (SSF 1.0, section 8.1.2).
type state struct {
	ID     string `json:"stream_id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func (t *Transmitter) readStatus(r *http.Request, who Receiver) (int, any, error) {
	s, err := t.mine(r.Context(), who, r.URL.Query().Get("stream_id"))
	return http.StatusOK, state{s.ID, s.Status, s.Reason}, err
}

func (t *Transmitter) updateStatus(r *http.Request, who Receiver) (int, any, error) {
	var in state
	if err := read(r, &in); err != nil {
		return 0, nil, err
	}
	if in.Status != signals.Enabled && in.Status != signals.Paused && in.Status != signals.Disabled {
		return 0, nil, fail(http.StatusBadRequest, "status: want enabled, paused or disabled")
	}
	t.write.Lock()
	defer t.write.Unlock()
	old, err := t.mine(r.Context(), who, in.ID)
	if err != nil {
		return 0, nil, err
	}
	s, err := t.c.Streams.UpdateStream(r.Context(), old.ID, func(s *signals.Stream) error {
		s.Status, s.Reason, s.Ours, s.Failing, s.Error = in.Status, clip(in.Reason), false, time.Time{}, ""
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	if in.Status == signals.Enabled && (old.Ours || old.Lost > 0) {
		if err := t.confess(r.Context(), &s, old.Lost, old.Ours); err != nil {
			return 0, nil, err
		}
	}
	t.retry(s.ID)
	t.Wake()
	t.news.ring()
	return http.StatusOK, state{s.ID, s.Status, s.Reason}, nil
}

// owe confesses what an enabled stream lost without having been paused, to a
// receiver that takes something right now: to one that does not, it would only
// wait, and be lost as well.
func (t *Transmitter) owe(ctx context.Context, id string) error {
	t.write.Lock()
	defer t.write.Unlock()
	s, err := t.c.Streams.Stream(ctx, id) // as it is under the lock
	if errors.Is(err, nhi.ErrNotFound) || err == nil && (s.Lost == 0 || s.Status != signals.Enabled) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.confess(ctx, &s, s.Lost, false)
}

// confess tells a receiver that its stream was paused by us and is enabled
// again, and what it missed (SSF 1.0, section 8.1.5). What was lost is forgotten
// after the event is kept: who is killed in between says it again when the
// receiver takes something or enables the stream again.
func (t *Transmitter) confess(ctx context.Context, s *signals.Stream, lost int64, paused bool) error {
	reason := "nothing was lost"
	if lost > 0 {
		reason = fmt.Sprintf("%d events were lost", lost)
	}
	if paused {
		reason = "the transmitter had paused the stream; " + reason
	}
	if err := t.queue(ctx, s, signals.Event{Type: signals.StreamUpdated, Status: signals.Enabled, Reason: reason}); err != nil {
		return err
	}
	_, err := t.c.Streams.UpdateStream(ctx, s.ID, func(s *signals.Stream) error {
		s.Lost = max(0, s.Lost-lost)
		return nil
	})
	return err
}

// queue adds an event about the stream itself. write is held.
func (t *Transmitter) queue(ctx context.Context, s *signals.Stream, event signals.Event) error {
	w, err := t.draw(s, signals.Subject{Format: signals.FormatOpaque, ID: s.ID}, event)
	if err != nil {
		return err
	}
	defer t.news.ring()
	return t.c.Outbox.Queue(ctx, s.ID, w)
}

// A choice adds or removes a subject (SSF 1.0, section 8.1.3).
type choice struct {
	ID      string         `json:"stream_id"`
	Subject jsontext.Value `json:"subject"`
}

func (t *Transmitter) addSubject(r *http.Request, who Receiver) (int, any, error) {
	return http.StatusOK, nil, t.choose(r, who, false)
}

func (t *Transmitter) removeSubject(r *http.Request, who Receiver) (int, any, error) {
	return http.StatusNoContent, nil, t.choose(r, who, true)
}

// choose never says whether the subject is known here (SSF 1.0, section 9.1).
func (t *Transmitter) choose(r *http.Request, who Receiver, out bool) error {
	var in choice
	if err := read(r, &in); err != nil {
		return err
	}
	subject, err := signals.ParseSubject(in.Subject)
	if err != nil {
		return fail(http.StatusBadRequest, "%v", err)
	}
	t.write.Lock()
	defer t.write.Unlock()
	s, err := t.mine(r.Context(), who, in.ID)
	if err != nil {
		return err
	}
	err = t.c.Streams.Exclude(r.Context(), s.ID, subject.Key(), out, maxExcluded)
	if errors.Is(err, nhi.ErrConflict) {
		return fail(http.StatusForbidden, "over %d subjects are removed; delete the stream, or take less events", maxExcluded)
	}
	return err
}

// verify queues a verification event (SSF 1.0, section 8.1.4.2).
func (t *Transmitter) verify(r *http.Request, who Receiver) (int, any, error) {
	var in struct {
		ID    string `json:"stream_id"`
		State string `json:"state"`
	}
	if err := read(r, &in); err != nil {
		return 0, nil, err
	}
	if len(in.State) > 512 || in.State != "" && clipped(in.State) {
		return 0, nil, fail(http.StatusBadRequest, "state is too long or not printable")
	}
	t.write.Lock()
	defer t.write.Unlock()
	s, err := t.mine(r.Context(), who, in.ID)
	if err != nil {
		return 0, nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	if now.Sub(s.Verified) < verifyEvery && !now.Before(s.Verified) {
		return 0, nil, fail(http.StatusTooManyRequests, "wait min_verification_interval between verifications")
	}
	if s, err = t.c.Streams.UpdateStream(r.Context(), s.ID, func(s *signals.Stream) error { s.Verified = now; return nil }); err != nil {
		return 0, nil, err
	}
	if err := t.queue(r.Context(), &s, signals.Event{Type: signals.Verification, State: in.State}); err != nil {
		return 0, nil, err
	}
	t.Wake()
	return http.StatusNoContent, nil, nil
}

func clipped(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Endpoint is where a stream is polled.
func (t *Transmitter) Endpoint(s *signals.Stream) string {
	if s.Method == signals.Poll {
		return t.c.Issuer + pollPath + url.PathEscape(s.ID)
	}
	return s.Endpoint
}
