package stepup

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const steps = `DPoP error="insufficient_user_authentication", acr_values="urn:muster:acr:bound"`

// proves is a Prover that puts a word into a request.
type proves struct {
	asked atomic.Int32
	last  atomic.Pointer[Challenge]
	err   error
}

func (p *proves) Prove(_ context.Context, c Challenge, r *http.Request) error {
	p.asked.Add(1)
	p.last.Store(&c)
	r.Header.Set("Authorization", "DPoP fresh")
	return p.err
}

// guarded refuses what is not fresh, and counts.
func guarded(t *testing.T, challenge string, requests *atomic.Int32) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") == "DPoP fresh" {
			_, _ = w.Write(append([]byte("passed "), body...))
			return
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"decision":"dec-1","outcome":"step-up","reasons":["guard-bind"]}`)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestAnUnmodifiedProgramPassesAStepUp(t *testing.T) {
	var requests atomic.Int32
	server, p := guarded(t, steps, &requests), &proves{}
	program := &http.Client{Transport: &Transport{Prover: p}}
	for _, body := range []string{"", "17 euro"} {
		res, err := program.Post(server.URL+"/payments", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || string(text) != "passed "+body {
			t.Errorf("%d %q", res.StatusCode, text)
		}
	}
	want := &Challenge{Classes: []string{ClassBound}, Audience: server.URL, Decision: "dec-1", Reasons: []string{"guard-bind"}}
	if diff := cmp.Diff(want, p.last.Load()); diff != "" || requests.Load() != 4 {
		t.Errorf("%d requests (-want +got):\n%s", requests.Load(), diff)
	}
}

func TestARefusalStandsWhenNothingCanBeDone(t *testing.T) {
	for _, tt := range []struct {
		name, challenge string
		body            io.Reader
		err             error
		proven, sent    int32
	}{
		{"no evidence can be made", steps, nil, errors.New("no platform"), 1, 1},
		{"the body is gone", steps, io.MultiReader(strings.NewReader("once")), nil, 0, 1},
		{"a class from the future", strings.Replace(steps, "bound", "blood-sample", 1), nil, nil, 0, 1},
		{"no step-up", `DPoP error="invalid_token"`, nil, nil, 0, 1},
		{"two step-ups in one", steps + ", " + steps, nil, nil, 0, 1},
		{"an age that is none", steps + `, max_age="-5"`, nil, nil, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			server, p := guarded(t, tt.challenge, &requests), &proves{err: tt.err}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			res, err := (&Transport{Prover: p}).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized || !strings.Contains(string(text), "dec-1") || p.asked.Load() != tt.proven || requests.Load() != tt.sent {
				t.Errorf("%d %q, proven %d times, sent %d times", res.StatusCode, text, p.asked.Load(), requests.Load())
			}
			if r.Header.Get("Authorization") != "" {
				t.Error("the caller's request was changed")
			}
		})
	}
}

// A point, or somebody who plays one, must not have us make evidence without end.
func TestAServiceThatAlwaysAsksForMoreIsAnsweredOnce(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("WWW-Authenticate", steps)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	p := &proves{}
	res, err := (&http.Client{Transport: &Transport{Prover: p}}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized || requests.Load() != 2 || p.asked.Load() != 1 {
		t.Errorf("%d after %d requests and %d proofs", res.StatusCode, requests.Load(), p.asked.Load())
	}
}

// strays follows redirects by itself, as some transports do.
type strays struct{ to http.RoundTripper }

func (s strays) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.to.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusTemporaryRedirect {
		return res, err
	}
	res.Body.Close()
	next, err := http.NewRequestWithContext(r.Context(), r.Method, res.Header.Get("Location"), nil)
	if err != nil {
		return nil, err
	}
	return s.to.RoundTrip(next)
}

// A service that sends us to a stranger must not have us make evidence for the
// stranger and send it to the service.
func TestEvidenceIsForWhereItIsSent(t *testing.T) {
	var requests atomic.Int32
	stranger := guarded(t, steps, &requests)
	service := httptest.NewServer(http.RedirectHandler(stranger.URL, http.StatusTemporaryRedirect))
	defer service.Close()
	p := &proves{}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, service.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&Transport{Prover: p, Base: strays{http.DefaultTransport}}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := p.last.Load(); got == nil || got.Audience != service.URL {
		t.Errorf("evidence was made for %+v, and sent to %s", got, service.URL)
	}
}

func TestAChallengeSaysWhatToDo(t *testing.T) {
	of := func(status int, body string, headers ...string) (Challenge, bool) {
		res := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
		res.Header["Www-Authenticate"] = headers
		return ChallengeOf(res)
	}
	c, ok := of(401, `{}`, `Basic realm="x"`, `dpop error="insufficient_user_authentication" , acr_values="urn:muster:acr:attested urn:muster:acr:bound", max_age=60`)
	if want := (Challenge{Classes: []string{ClassAttested, ClassBound}, MaxAge: time.Minute}); !ok || !cmp.Equal(want, c) {
		t.Errorf("%v\n%s", ok, cmp.Diff(want, c))
	}
	if c, ok := of(403, `{"task":{"id":"apr_1","status":"pending"}}`); ok || c.Task != "apr_1" {
		t.Errorf("people are asked: %v %+v", ok, c)
	}
	if _, ok := of(403, `{}`, steps); ok {
		t.Error("a 403 is no challenge")
	}
	if _, ok := of(401, `{}`, steps, steps); ok {
		t.Error("two challenges are read as one")
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(steps)
	f.Add(`DPoP error="insufficient_user_authentication", max_age=9223372036854775807, acr_values="\"`)
	f.Fuzz(func(t *testing.T, header string) {
		c, ok := ChallengeOf(&http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {header}}})
		if ok && (len(c.Classes) == 0 || c.MaxAge < 0 || !strings.Contains(header, "insufficient_user_authentication")) {
			t.Errorf("%q is answered as %+v", header, c)
		}
	})
}
