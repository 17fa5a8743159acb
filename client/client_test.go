package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serving returns a client of a server that answers with handle.
func serving(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// paged is a list of so many sources.
func paged(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		from, _ := strconv.Atoi(r.URL.Query().Get("page_token"))
		page := Page[Source]{Total: n}
		for i := from; i < min(from+limit, n); i++ {
			page.Items = append(page.Items, Source{ID: fmt.Sprint(i)})
		}
		if from+limit < n {
			page.Next = fmt.Sprint(from + limit)
		}
		_ = json.NewEncoder(w).Encode(page)
	}
}

func TestAListIsReadToItsEnd(t *testing.T) {
	c := serving(t, paged(1234))
	n := 0
	for v, err := range c.Sources(t.Context(), ListQuery{}) {
		if err != nil || v.ID != fmt.Sprint(n) {
			t.Fatalf("%d: %+v, %v", n, v, err)
		}
		n++
	}
	if n != 1234 {
		t.Errorf("%d of 1234", n)
	}
	for v, err := range c.Sources(t.Context(), ListQuery{Limit: 10, PageToken: "1200"}) {
		if err != nil || v.ID != "1200" {
			t.Errorf("begins with %+v, %v", v, err)
		}
		break // and nothing is asked for behind it
	}
}

func TestAListThatFailsEndsWithTheError(t *testing.T) {
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page_token") != "" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"type":"/docs/reference/api#status-429","title":"Too Many Requests","status":429,"detail":"slower","errors":[{"message":"m","location":"l"}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"items":[{"id":"a"}],"next":"b"}`)
	})
	var got []string
	var refused *Error
	for f, err := range c.Findings(t.Context(), FindingQuery{}) {
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		got = append(got, f.ID)
	}
	if diff := cmp.Diff([]string{"a", ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if refused == nil || refused.Status != 429 || refused.RetryAfter != 7*time.Second || refused.Type != "/docs/reference/api#status-429" || refused.Error() != "slower; m (l)" {
		t.Errorf("refused with %+v", refused)
	}
}

func TestAServerWhoseListHasNoEndIsLeft(t *testing.T) {
	c := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"items":[],"rows":[],"next":"x","next_page_token":"x"}`)
	})
	for _, err := range c.Points(t.Context(), ListQuery{}) {
		if !errors.Is(err, errEndless) {
			t.Errorf("points: %v", err)
		}
	}
	for _, err := range c.Usage(t.Context(), UsageQuery{}) {
		if !errors.Is(err, errEndless) {
			t.Errorf("usage: %v", err)
		}
	}
}

func TestAQueryIsEncodedAsTheServerReadsIt(t *testing.T) {
	var got string
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.RawQuery
		_, _ = io.WriteString(w, `{}`)
	})
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	for _, tt := range []struct {
		want string
		call func() error
	}{
		{"", func() error { _, err := c.ListIdentities(t.Context(), IdentityQuery{}); return err }},
		{"filter=kind%3Aagent+a%26b&limit=5&q=x&unowned=true", func() error {
			_, err := c.ListIdentities(t.Context(), IdentityQuery{ListQuery: ListQuery{Filter: "kind:agent a&b", Limit: 5}, Words: "x", Unowned: true})
			return err
		}},
		{"filter=a&kind=agent", func() error {
			_, err := c.ListIdentityFacets(t.Context(), IdentityQuery{ListQuery: ListQuery{Filter: "a", Order: "-risk", PageToken: "p"}, Kind: "agent"})
			return err
		}},
		{"before=2026-03-01T11%3A00%3A00Z&outcome=deny", func() error {
			_, err := c.ListDecisions(t.Context(), DecisionQuery{Outcome: "deny", Before: at})
			return err
		}},
		{"before=7", func() error { _, err := c.ListAudit(t.Context(), AuditQuery{Before: 7}); return err }},
	} {
		if err := tt.call(); err != nil || got != tt.want {
			t.Errorf("%s, %v, want %s", got, err, tt.want)
		}
	}
}

func TestConditionsAndKeysAreSentAndTagsRead(t *testing.T) {
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"new"`)
		if r.Header.Get("Idempotency-Key") == "k" {
			w.Header().Set("Idempotency-Replayed", "true")
		}
		if r.Header.Get("If-Match") == `"old"` {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		_, _ = io.WriteString(w, `{"id":"f"}`)
	})
	var tag string
	var replayed bool
	if _, err := c.SetFinding(t.Context(), "f", SetFinding{}, IfMatch(`"now"`), IdempotencyKey("k"), ReadETag(&tag), Replayed(&replayed)); err != nil || tag != `"new"` || !replayed {
		t.Errorf("tag %s, replayed %v, %v", tag, replayed, err)
	}
	if _, err := c.SetFinding(t.Context(), "f", SetFinding{}, IfMatch(`"old"`)); !IsStale(err) || IsNotFound(err) {
		t.Errorf("err = %v, want a stale one", err)
	}
	if _, err := c.SetFinding(t.Context(), "f", SetFinding{}, IfMatch(""), IdempotencyKey(NewKey()), Replayed(&replayed)); err != nil || replayed {
		t.Errorf("replayed %v, %v", replayed, err)
	}
}

// TestAnIDFromOutsideDoesNotLeadElsewhere is path traversal by an id.
func TestAnIDFromOutsideDoesNotLeadElsewhere(t *testing.T) {
	var got string
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		_, _ = io.WriteString(w, `{}`)
	})
	for id, want := range map[string]string{"../tokens": "/v1/findings/..%2Ftokens", "a?b#c": "/v1/findings/a%3Fb%23c", "": "/v1/findings/"} {
		if _, err := c.GetFinding(t.Context(), id); err != nil || got != want {
			t.Errorf("%q leads to %s, %v; want %s", id, got, err, want)
		}
	}
}

// A wire answers requests without a network, so that time can be played.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func reply(status int, body io.Reader, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body)}
}

// following follows a stream whose tries are answered in turn, and returns what
// was read and when each try was made.
func following(t *testing.T, tries ...func(*http.Request) (*http.Response, error)) (names []string, at []time.Duration, cursors []string, last error) {
	t.Helper()
	c, err := New("http://127.0.0.1:1", "t")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	c = c.WithTransport(wire(func(r *http.Request) (*http.Response, error) {
		at, cursors = append(at, time.Since(began)), append(cursors, r.Header.Get("Last-Event-ID"))
		if len(at) > len(tries) {
			cancel()
			return nil, errors.New("over")
		}
		return tries[len(at)-1](r)
	}))
	for e, err := range c.Follow(ctx, StreamQuery{After: "3"}) {
		last = err
		if err == nil {
			names = append(names, e.Name+e.ID)
		}
	}
	return names, at, cursors, last
}

func says(text string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return reply(200, strings.NewReader(text)), nil }
}

func TestWhoFollowsGoesOnWhereItWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names, at, cursors, last := following(t,
			says("event: hello\nid: 3\ndata: {}\n\nevent: finding\nid: 5\ndata: {}\n\nevent: decision\ndata: {}\n\n"),
			func(*http.Request) (*http.Response, error) { return nil, errors.New("the network is gone") },
			func(*http.Request) (*http.Response, error) {
				return reply(503, strings.NewReader(""), "Retry-After", "20"), nil
			},
			says("event: hello\nid: 90\ndata: {}\n\nevent: reset\nid: 90\ndata: {}\n\n"),
		)
		if diff := cmp.Diff([]string{"hello3", "finding5", "decision", "hello90", "reset90"}, names); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"3", "5", "5", "5", "90"}, cursors); diff != "" {
			t.Errorf("cursors (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{0, 1 * time.Second, 3 * time.Second, 23 * time.Second, 24 * time.Second}, at); diff != "" || !errors.Is(last, context.Canceled) {
			t.Errorf("it ended with %v; tries (-want +got):\n%s", last, diff)
		}
	})
}

func TestWhoIsRefusedDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, at, _, last := following(t, func(*http.Request) (*http.Response, error) {
			return reply(403, strings.NewReader(`{"detail":"no"}`)), nil
		})
		var refused *Error
		if !errors.As(last, &refused) || refused.Status != 403 || len(at) != 1 {
			t.Errorf("%v after %d tries", last, len(at))
		}
	})
}

// TestAServerThatFellSilentIsLeft is a wire that was cut without a word.
func TestAServerThatFellSilentIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names, at, cursors, _ := following(t, func(r *http.Request) (*http.Response, error) {
			read, write := io.Pipe()
			go func() {
				_, _ = io.WriteString(write, "event: hello\nid: 4\ndata: {}\n\n")
				<-r.Context().Done()
				write.CloseWithError(r.Context().Err())
			}()
			return reply(200, read), nil
		})
		if len(names) != 1 || len(at) != 2 || at[1] != silence+firstTry || cursors[1] != "4" {
			t.Errorf("read %v, tried at %v behind %v", names, at, cursors)
		}
	})
}

func TestATokenIsNotSentInClearToAHostThatLooksLikeLoopback(t *testing.T) {
	for base, ok := range map[string]bool{
		"http://127.0.0.1:8700":         true,
		"http://127.8.9.10:8700":        true,
		"http://localhost:8700":         true,
		"http://[::1]:8700":             true,
		"https://muster.example.com":    true,
		"http://muster.example.com":     false,
		"http://127.evil.example":       false,
		"http://127.0.0.1.evil.example": false,
		"http://localhost.evil.example": false,
		"http://127.0.0.1@evil.example": false,
		"http://0.0.0.0:8700":           false,
		"http://[::ffff:10.0.0.1]:8700": false,
		"ftp://127.0.0.1":               false,
		"127.0.0.1:8700":                false,
	} {
		if _, err := New(base, "t"); (err == nil) != ok {
			t.Errorf("New(%q) = %v, want accepted: %t", base, err, ok)
		}
	}
}
