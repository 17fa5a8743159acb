package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

// echoing answers with an error that names what was asked for.
type echoing struct{ frame.Documents }

func (echoing) Document(_ context.Context, name string) (client.Document, error) {
	return client.Document{}, fmt.Errorf("document %s: %w", name, nhi.ErrNotFound)
}

// administrator is who may do everything.
func administrator() frame.Caller {
	return frame.Caller{Kind: "operator", Name: "test", Permits: access.Permits{{Rights: access.AllRights}}}
}

func TestAKeyInTheWrongPlaceDoesNotComeBackInAnError(t *testing.T) {
	scanner, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := New(frame.Deps{Gate: door{administrator()}, Clean: scanner.RedactString, Documents: echoing{}})
	if err != nil {
		t.Fatal(err)
	}
	secret := key.Mint(key.API).Reveal()
	for _, path := range []string{"/v1/documents/" + secret, "/v1/stream?topics=" + secret, "/v1/findings?order=" + secret, "/v1/nothing/" + secret} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code < 400 || strings.Contains(w.Body.String(), secret) || !strings.Contains(w.Body.String(), `"type":"/docs/reference/api#status-`) {
			t.Errorf("%.30s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestARouteThatIsNotThereIsAProblemToo(t *testing.T) {
	h, _, err := New(frame.Deps{Gate: door{administrator()}, Clean: same})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method, path, kind, body string
		want                     int
	}{
		{"GET", "/v1/nothing", "", "", 404},
		{"DELETE", "/v1/identities", "", "", 405},
		{"POST", "/v1/identities", "application/xml", "<x/>", 415},
		{"POST", "/v1/identities", "application/json", "{" + strings.Repeat(" ", frame.MaxBody+1) + "}", 413},
		{"GET", "/v1/identities?limit=0", "", "", 422},
		{"GET", "/v1/identities?page_token=x", "", "", 422},
	} {
		r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), fmt.Sprintf("#status-%d", tt.want)) {
			t.Errorf("%s %s: %d %s, want %d\n%s", tt.method, tt.path, w.Code, w.Header().Get("Content-Type"), tt.want, w.Body)
		}
		if tt.want == 405 && w.Header().Get("Allow") == "" {
			t.Error("405 does not say what is allowed")
		}
	}
}
