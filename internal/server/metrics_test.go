package server

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/health"
)

var (
	metricName = regexp.MustCompile(`\bmuster_[a-z_]+`)
	metricType = regexp.MustCompile(`(?m)^# TYPE (muster_[a-z_]+) `)
	metricRow  = regexp.MustCompile("(?m)^\\| `(muster_[a-z_]+)` \\|")
)

// served lists the metrics of a running server.
func served(t *testing.T) []string {
	t.Helper()
	r := start(t, t.TempDir())
	var text []byte
	// While it starts, a server answers 503.
	r.until("the metrics", func() bool {
		res, err := http.Get(r.OpsURL() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if text, err = io.ReadAll(res.Body); err != nil || (res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable) {
			t.Fatalf("metrics: %d, %v", res.StatusCode, err)
		}
		return res.StatusCode == http.StatusOK
	})
	names := map[string]bool{}
	for _, m := range metricType.FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
	}
	if len(names) == 0 {
		t.Fatalf("no metric of ours in %d bytes: %.2000s", len(text), text)
	}
	return slices.Sorted(maps.Keys(names))
}

func TestMetricsOfAServerThatStartsAreNotEmptyButAbsent(t *testing.T) {
	w := httptest.NewRecorder()
	(&Server{health: &health.Register{}}).operations(nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status is %d: Prometheus would take an empty page for a server that is well", w.Code)
	}
}

func TestDashboardAndAlertsNameOnlyMetricsThatAreServed(t *testing.T) {
	have := served(t)
	for _, file := range []string{"../../deploy/grafana/muster.json", "../../deploy/prometheus/muster.rules.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named := metricName.FindAllString(string(text), -1)
		if len(named) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range named {
			if !slices.Contains(have, strings.TrimSuffix(name, "_bucket")) {
				t.Errorf("%s names %s, which no server serves", file, name)
			}
		}
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range metricRow.FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	if diff := cmp.Diff(served(t), documented); diff != "" {
		t.Errorf("docs/reference/metrics.md (-served +documented):\n%s", diff)
	}
}
