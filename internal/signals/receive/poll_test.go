package receive

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/signals"
)

// answers is a peer that says the same to every poll, at once.
type answers struct {
	text  string
	polls int
	stop  func() // after so many that it is clear
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.polls++; a.polls > 100 {
		a.stop()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.text)), Request: r}, nil
}

// heard is a memory that has heard everything.
type heard struct{ Memory }

func (heard) Heard(context.Context, string, string) (bool, error) { return true, nil }

// The attack: a peer says that there is more and hands out nothing, or what can
// never be taken, or the same for ever, so that we ask it as fast as we can, and
// write a line about each refusal.
func TestAPeerThatAlwaysHasMoreDoesNotKeepUsBusy(t *testing.T) {
	const again = "handed out again"
	for name, text := range map[string]string{
		"nothing, and more of it":  `{"sets":{},"moreAvailable":true}`,
		"nothing":                  `{"sets":{}}`,
		"no answer":                `{"moreAvailable":true}`,
		"what is refused":          `{"sets":{"a":"x.y.z"},"moreAvailable":true}`,
		"much that is refused":     `{"sets":{"a":"x.y.z","b":"","c":"x.y.z"},"moreAvailable":true}`,
		"what was heard":           `{"sets":{"` + again + `":"%s"},"moreAvailable":true}`,
		"what was heard, and more": `{"sets":{"` + again + `":"%s","a":"x.y.z"},"moreAvailable":true}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			r := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Memory: heard{}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := &peer{Peer: Peer{Name: "there", Issuer: "https://there.example", Audience: "here", Endpoint: "https://there.example/poll"}, limit: rate.NewLimiter(50, 500)}
			signer := jose.NewES256Signer(jose.GenerateES256(), signals.Type)
			set, err := jose.NewKeySet(signer.Key())
			if err != nil {
				t.Fatal(err)
			}
			p.keys = &keys{issuer: p.Issuer, set: set, fetched: time.Now(), tried: time.Now()}
			token := signals.Token{
				ID: again, Issuer: p.Issuer, Audience: p.Audience, IssuedAt: time.Now(), Subject: signals.Subject{Format: signals.FormatOpaque, ID: "x"},
				Event: signals.Event{Type: signals.SessionRevoked, At: time.Now()},
			}
			claims, err := token.Claims()
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.SignJSON(claims)
			if err != nil {
				t.Fatal(err)
			}
			a := &answers{text: strings.ReplaceAll(text, "%s", signed), stop: cancel}
			p.client = &http.Client{Transport: a}
			r.follow(ctx, p)
			if a.polls > 13 {
				t.Errorf("%s: %d polls in a minute", name, a.polls)
			}
			if lines := strings.Count(log.String(), "\n"); lines > 3*13 {
				t.Errorf("%s: %d lines in the log", name, lines)
			}
			state := p.now()
			if state.Applied+state.Ignored > 0 || strings.Contains(text, again) != (state.Repeated > 0) || strings.Contains(text, `"a"`) != (state.Refused > 0) {
				t.Errorf("%s: %+v", name, state)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"sets":{"a":"x.y.z","b":""},"moreAvailable":true}`))
	f.Add([]byte(`{"sets":{"a":1}}`))
	f.Add([]byte(`{"sets":{"a":"1","a":"2"},"sets":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		sets, err := parseAnswer(data)
		if err != nil && sets != nil || len(sets) > 10*pollMost {
			t.Fatalf("%d SETs with %v", len(sets), err)
		}
		seen := map[string]bool{}
		for _, h := range sets {
			if seen[h.id] {
				t.Errorf("%q is handed out twice", h.id)
			}
			seen[h.id] = true
		}
	})
}
