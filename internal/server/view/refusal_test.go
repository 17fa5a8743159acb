package view

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/usage"
)

// TestAnEndlessMethodFillsNothing is the flood of one who was not let in and
// calls a method of 60,000 letters: what is listed stays short, and a secret in
// place of the method is not kept.
func TestAnEndlessMethodFillsNothing(t *testing.T) {
	clean := func(s string) string { return strings.ReplaceAll(s, "SECRET", "[removed]") }
	for _, method := range []string{"SECRET", strings.Repeat("A", 60_000), "GET"} {
		b := NewDoorbook(nil, clean)
		r := httptest.NewRequest("GET", "/v1/overview", nil)
		r.Method, r.URL.Path = method, "/v1/SECRET"+strings.Repeat("/a", 30_000)
		b.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication})
		n := <-b.notes
		if len(n.Operation) > mostOperation || strings.Contains(n.Operation, "SECRET") {
			t.Errorf("%.20s… is listed with an operation of %d bytes: %.80q", method, len(n.Operation), n.Operation)
		}
		if method == "GET" && !strings.HasPrefix(n.Operation, "GET /v1/[removed]/a/a") {
			t.Errorf("an ordinary request is listed as %q", n.Operation)
		}
	}
}

// TestRefusalsThatCannotBeWrittenStayCounted closes the store: what could not
// be listed is counted, and what was only counted before stays so.
func TestRefusalsThatCannotBeWrittenStayCounted(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b := NewDoorbook(db, func(s string) string { return s })
	b.lost.Store(500)
	for range 3 {
		b.Refused(httptest.NewRequest("GET", "/", nil), usage.Refusal{Kind: usage.FailedAuthentication})
	}
	b.write(t.Context())
	if got := b.lost.Load(); got != 503 {
		t.Errorf("%d refusals are counted, want 503", got)
	}
}
