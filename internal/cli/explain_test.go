package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
)

func TestDecisionsAreExportedFileByFile(t *testing.T) {
	files := map[string][2]string{ // what is in one, and where the next begins
		"":   {`{"id":"d3","outcome":"deny","resource":"=HYPERLINK(\"http://x\")"}` + "\n", "t1"},
		"t1": {"", "t2"},
		"t2": {`{"id":"d2","outcome":"allow"}` + "\n" + `{"id":"d1","outcome":"allow"}` + "\n", ""},
	}
	s := serving(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/v1/decisions/export" || q.Get("format") != "jsonl" || q.Get("since") != "2026-11-01T00:00:00Z" || q.Get("before") != "2026-11-08T00:00:00Z" || q.Get("filter") != "outcome:deny" {
			t.Errorf("asked for %v", r.URL)
		}
		file := files[q.Get("page_token")]
		w.Header().Set("Trailer", "Muster-Next")
		_, _ = io.WriteString(w, file[0])
		w.Header().Set("Muster-Next", file[1])
	})
	week := []string{"decide", "export", "--since", "2026-11-01", "--until", "2026-11-08", "--filter", "outcome:deny"}
	code, out, words := s.run(t, week...)
	var ids []string
	for line := range strings.Lines(out) {
		var d client.Decision
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%q is no line of JSON: %v", line, err)
		}
		ids = append(ids, d.ID)
	}
	if code != 0 || !slices.Equal(ids, []string{"d3", "d2", "d1"}) || !strings.Contains(words, "3 decisions") {
		t.Errorf("%d %v %s", code, ids, words)
	}
	code, out, _ = s.run(t, append(week, "-o", "csv")...)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || len(lines) != 4 || !strings.Contains(lines[1], "'=HYPERLINK") {
		t.Errorf("%d, as CSV, with a formula in it:\n%s", code, out)
	}
	if code, _, words := s.run(t, "decide", "export", "--since", "1h", "--until", "2h"); code != 2 || !strings.Contains(words, "not before") {
		t.Errorf("a time that ends before it begins: %d %s", code, words)
	}
}
