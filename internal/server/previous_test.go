package server

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-id/muster/internal/config"
)

// previous is the data folder that the release before this one left: six
// identities, a key that leaked, the finding, and the act that suspended it.
// Its keys are of that folder alone. The administrator token was made to expire,
// as it does within a day.
const previous = "testdata/release-8b81cbe.tar.gz"

// unpack writes the files of an archive that lies in this repository.
func unpack(t *testing.T, archive, into string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || !filepath.IsLocal(head.Name) {
			t.Fatalf("%v in %s: %v", head, archive, err)
		}
		path := filepath.Join(into, head.Name)
		if head.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheDataFolderOfThePreviousReleaseIsReadBack(t *testing.T) {
	data := t.TempDir()
	unpack(t, previous, data)
	cfg := config.Default()
	cfg.Listen, cfg.OpsListen, cfg.ExtAuthzListen, cfg.JournalReserve = "127.0.0.1:0", "127.0.0.1:0", config.Off, 1<<20
	r := startWith(t, data, func(s *Settings) { s.Config, s.RenewToken = cfg, true })
	if g := r.db.Generation(); g < 18 {
		t.Errorf("generation %d, the previous release left 18", g)
	}
	var overview struct{ Identities, Credentials, Contained, Critical int }
	r.send("GET", "/v1/overview", nil, &overview)
	if overview.Identities < 6 || overview.Credentials < 3 || overview.Contained != 1 || overview.Critical != 1 {
		t.Errorf("overview %+v, want 6 identities, 3 credentials, one of them contained, and the critical finding", overview)
	}
	credential, ok := r.facts.CredentialByKeyID("5b6QhKquBT7k")
	if !ok || credential.State != "suspended" {
		t.Errorf("decisions know the leaked key as %+v, want it suspended", credential)
	}
	var actions struct{ Items []struct{ ID, Status string } }
	r.send("GET", "/v1/actions", nil, &actions)
	if len(actions.Items) != 1 || actions.Items[0].Status != "done" {
		t.Fatalf("actions %+v, want the one that suspended it", actions)
	}
	r.send("POST", "/v1/actions/"+actions.Items[0].ID+"/undo", map[string]string{"reason": "a test"}, nil)
	if credential, _ = r.facts.CredentialByKeyID("5b6QhKquBT7k"); credential.State != "active" {
		t.Errorf("after undoing the previous release's act the key is %s", credential.State)
	}
	for _, name := range []string{"routes.yaml", "resources.yaml"} {
		var body map[string]any
		r.send("GET", "/v1/documents/"+name, nil, &body)
		if body["body"] == "" {
			t.Errorf("%s is empty", name)
		}
	}
	entries, err := r.audit.Page(t.Context(), 0, 1000)
	if err != nil || len(entries) < 8 {
		t.Errorf("%d audit entries, %v", len(entries), err)
	}
}
