package measure

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrape returns what Prometheus would read of c.
func scrape(c prometheus.Collector) string {
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestRefusalsAreCountedBySurface(t *testing.T) {
	c := NewRefusals()
	for path, status := range map[string]int{
		"/v1/identities": 401, "/enforce/forward-auth": 401, "/access/v1/evaluation": 401, "/signin": 401, "/nobody/knows": 401,
		"/receive/text": 403, "/oauth2/token": 200,
	} {
		h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("a stream cannot flow: %v", err)
			}
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	text := scrape(c)
	for surface, n := range map[string]string{"api": "1", "enforce": "1", "authzen": "1", "signin": "1", "other": "1", "receive": "0", "issuer": "0"} {
		if want := `muster_unauthenticated_total{surface="` + surface + `"} ` + n + "\n"; !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestAppendsAreMeasuredByJournal(t *testing.T) {
	a := NewAppends()
	a.Of("audit")(3 * time.Millisecond)
	text := scrape(a)
	for _, want := range []string{`{journal="audit",le="0.002"} 0`, `{journal="audit",le="0.005"} 1`, `muster_journal_append_seconds_sum{journal="audit"} 0.003`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
