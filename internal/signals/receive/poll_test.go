package receive

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
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

// The attack: a peer says that there is more and hands out nothing, or what can
// never be taken, so that we ask it as fast as we can, for ever.
func TestAPeerThatAlwaysHasMoreDoesNotKeepUsBusy(t *testing.T) {
	for name, text := range map[string]string{
		"nothing, and more of it": `{"sets":{},"moreAvailable":true}`,
		"nothing":                 `{"sets":{}}`,
		"no answer":               `{"moreAvailable":true}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := New(Config{Log: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			a := &answers{text: text, stop: cancel}
			p := &peer{Peer: Peer{Name: "there", Endpoint: "https://there.example/poll"}, client: &http.Client{Transport: a}, limit: rate.NewLimiter(50, 500)}
			r.follow(ctx, p)
			if a.polls > 13 {
				t.Errorf("%s: %d polls in a minute", name, a.polls)
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
