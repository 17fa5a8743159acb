package server

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
)

// What a preview could leave behind: a row, a generation, a fact that decisions
// read, an event of the stream, an act, a remembered request.
func TestAPreviewOfAnImportLeavesNothingAnywhere(t *testing.T) {
	r := start(t, t.TempDir())
	files := func(users ...string) map[string]io.Reader {
		return map[string]io.Reader{
			"authorization-details": strings.NewReader(details(users...)), "access-keys": strings.NewReader(accessKeys(users[0], "AKIAQ3EGRZ4KPREVIEW1")),
		}
	}
	if _, err := r.api.ImportAWS(t.Context(), files("mailer")); err != nil {
		t.Fatal(err)
	}
	state := func() map[string]any {
		t.Helper()
		var identities, credentials, overview, acts any
		r.get("/v1/identities?limit=500", &identities)
		r.get("/v1/credentials?limit=500", &credentials)
		r.get("/v1/identities/facets", &overview)
		r.get("/v1/audit", &acts)
		last, err := r.stream.LastSeq(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		_, fact := r.facts.Identity(awsID("settlement"))
		return map[string]any{
			"identities": identities, "credentials": credentials, "facets": overview, "acts": acts, "stream": last, "fact": fact,
			"generation": r.db.Generation(), "facts": r.facts.Generation(),
		}
	}
	before := state()
	key := client.IdempotencyKey("one-key")
	var replayed bool
	for range 2 {
		p, err := r.api.PreviewAWS(t.Context(), files("settlement", "mailer"), key, client.Replayed(&replayed))
		if err != nil {
			t.Fatal(err)
		}
		if p.Identities != (client.Difference{New: 1, Unchanged: 1}) || p.Credentials.Changed != 1 || len(p.Changes) == 0 || p.Changes[0].Name != "settlement" {
			t.Errorf("preview: %+v", p)
		}
		if replayed {
			t.Error("the answer is that of another time")
		}
	}
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("the preview left (-before +after):\n%s", diff)
	}
	// The key of the preview is still free for the import, and the key of the
	// import does not answer for a preview.
	res, err := r.api.ImportAWS(t.Context(), files("settlement", "mailer"), key, client.Replayed(&replayed))
	if err != nil || replayed || res.Changed == 0 {
		t.Fatalf("the import after it: %+v, replayed %v, %v", res, replayed, err)
	}
	p, err := r.api.PreviewAWS(t.Context(), files("settlement", "mailer"), key, client.Replayed(&replayed))
	if err != nil || replayed || p.Identities != (client.Difference{Unchanged: 2}) {
		t.Errorf("the preview after it: %+v, replayed %v, %v", p, replayed, err)
	}
}

func TestAPreviewOfABrokenImportSaysWhatTheImportWould(t *testing.T) {
	r := start(t, t.TempDir())
	for name, text := range map[string]string{"no JSON": "{", "a picture": "\x89PNG\r\n"} {
		files := func() map[string]io.Reader {
			return map[string]io.Reader{"authorization-details": strings.NewReader(text)}
		}
		_, want := r.api.ImportAWS(t.Context(), files())
		_, got := r.api.PreviewAWS(t.Context(), files())
		if status(got) != http.StatusUnprocessableEntity || got.Error() != want.Error() {
			t.Errorf("%s: preview %v, import %v", name, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.api.PreviewAWS(ctx, map[string]io.Reader{"authorization-details": strings.NewReader(details("a"))}); err == nil {
		t.Error("a preview whose caller went away is answered")
	}
}
