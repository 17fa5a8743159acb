package server

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/backup"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/server/archive"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/sqlite"
)

func openStore(ctx context.Context, dir string) (*store.DB, error) {
	return sqlite.Open(ctx, sqlite.Settings{Dir: dir})
}

// backedUp furnishes a server and backs it up over its interface.
func backedUp(t *testing.T) (r *running, file []byte, key agefile.Key) {
	t.Helper()
	id, err := agefile.Temporary()
	if err != nil {
		t.Fatal(err)
	}
	r = start(t, t.TempDir())
	r.furnish()
	var out bytes.Buffer
	if _, err := r.api.MakeBackup(t.Context(), client.BackupRequest{Recipients: id.Recipients()}, &out); err != nil {
		t.Fatal(err)
	}
	return r, out.Bytes(), agefile.Key{Identity: id}
}

func TestARestoredInstallationIsTheOneThatWasBackedUp(t *testing.T) {
	r, file, key := backedUp(t)
	var before, after client.Page[client.Identity]
	r.get("/v1/identities", &before)
	if len(before.Items) == 0 {
		t.Fatal("there is nothing to back up")
	}
	generation := r.db.Generation()
	token, err := os.ReadFile(filepath.Join(r.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := audit.ReadKeys(filepath.Join(r.data, "audit", audit.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	r.halt()
	if bytes.Contains(file, []byte("sealing")) {
		t.Error("the backup shows its key file")
	}

	data := filepath.Join(t.TempDir(), "restored")
	done, err := archive.Restore(t.Context(), bytes.NewReader(file), key, archive.Target{Data: data, Open: openStore, AuditKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if done.Rows == 0 || done.Acts == 0 || done.Generation > uint64(generation) || done.From <= uint64(generation) {
		t.Errorf("restored %+v after generation %d", done, generation)
	}
	// The token is in the database; its file is not in a backup.
	write(t, filepath.Join(data, "admin.token"), string(token))
	n := start(t, data)
	n.get("/v1/identities", &after)
	if len(after.Items) != len(before.Items) {
		t.Errorf("%d identities came back of %d", len(after.Items), len(before.Items))
	}
	if n.db.Generation() < nhi.Generation(done.From) {
		t.Errorf("generation %d is not beyond %d", n.db.Generation(), done.From)
	}
	if s := n.line("restore"); s.Level != health.LevelDegraded || !strings.Contains(s.String(), "revoke") {
		t.Errorf("restore: %v, want loud", s)
	}
	var findings client.Page[client.Finding]
	n.get("/v1/findings?limit=100", &findings)
	found := 0
	for _, f := range findings.Items {
		if f.Rule == "restored-from-backup" {
			found++
		}
	}
	if found != 1 || n.acts()["installation.restore"] != 1 || n.acts()["backup.create"] != 0 && n.acts()["backup.create"] != 1 {
		t.Errorf("%d findings, acts %v", found, n.acts())
	}
	n.halt()
	again := start(t, data) // told once
	if got := again.acts()["installation.restore"]; got != 1 {
		t.Errorf("a second start told of the restore %d times", got)
	}
}

func TestWhatIsNormalComesBackFromABackup(t *testing.T) {
	id, err := agefile.Temporary()
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	who := nhi.ID(cred.Identity)
	r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7")
	r.until("the call to be learned", func() bool { return r.mind().Page(who) != nil })
	token, err := os.ReadFile(filepath.Join(r.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	stop, saving := make(chan struct{}), make(chan error, 1)
	go func() { // somebody learns and saves all the time
		for n := 0; ; n++ {
			select {
			case <-stop:
				saving <- nil
				return
			default:
			}
			ev := nhi.Event{Time: time.Now(), Identity: nhi.IdentityID("aws", "1", strconv.Itoa(n)), Provider: "aws", Source: "src", Status: nhi.Success}
			r.mind().Observe(&ev, true)
			if err := r.learner.Save(); err != nil {
				saving <- err
				return
			}
		}
	}()
	_, err = r.api.MakeBackup(t.Context(), client.BackupRequest{Recipients: id.Recipients()}, &file)
	close(stop)
	if err := errors.Join(err, <-saving); err != nil {
		t.Fatal(err)
	}
	r.halt()
	data := filepath.Join(t.TempDir(), "restored")
	done, err := archive.Restore(t.Context(), &file, agefile.Key{Identity: id}, archive.Target{Data: data, Open: openStore})
	if err != nil || !done.Learned {
		t.Fatalf("restored %+v, %v", done, err)
	}
	write(t, filepath.Join(data, "admin.token"), string(token))
	n := start(t, data)
	page := n.mind().Page(who)
	if page == nil || page.Count() != 1 {
		t.Fatal("what was learned did not come back")
	}
	for i := range n.mind().Stats().Pages - 1 {
		if n.mind().Page(nhi.IdentityID("aws", "1", strconv.Itoa(i))) == nil {
			t.Errorf("page %d is damaged or gone", i)
		}
	}
}

func TestABackupIsNeverReplayedIntoAnInstallation(t *testing.T) {
	_, file, key := backedUp(t)
	into := func(data string, open func(context.Context, string) (*store.DB, error)) error {
		_, err := archive.Restore(t.Context(), bytes.NewReader(file), key, archive.Target{Data: data, Open: open})
		return err
	}
	full := t.TempDir()
	write(t, filepath.Join(full, "precious"), "x")
	if err := into(full, openStore); !errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder with a file: %v", err)
	}
	live := start(t, t.TempDir())
	if err := into(live.data, openStore); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a running server: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	target := t.TempDir()
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := into(link, openStore); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a symbolic link: %v", err)
	}
	// An empty folder, and a database elsewhere that is not.
	other := t.TempDir()
	db, err := openStore(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.SetPosition(t.Context(), "x", 1) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "new")
	if err := into(empty, func(ctx context.Context, _ string) (*store.DB, error) { return openStore(ctx, other) }); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a database with rows: %v", err)
	}
	for _, dir := range []string{target, empty} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s was left with %v, %v", dir, entries, err)
		}
	}
}

func TestABackupOfSomebodyElseIsRefusedByTheAuditKey(t *testing.T) {
	_, file, key := backedUp(t)
	other := jose.GenerateES256()
	_, err := archive.Restore(t.Context(), bytes.NewReader(file), key, archive.Target{
		Data: filepath.Join(t.TempDir(), "new"), Open: openStore, AuditKeys: []crypto.PublicKey{other.Public()},
	})
	if err == nil || !strings.Contains(err.Error(), "audit log is not intact") {
		t.Errorf("Restore = %v", err)
	}
}

func TestAForgedBackupLeavesNothingBehind(t *testing.T) {
	id, err := agefile.Temporary()
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string]map[string]string{
		"a file that is none of ours": {"muster.db": "x"},
		"a stray file of a log":       {"audit/authorized_keys": "x"},
		"a data file elsewhere":       {"learned/keys.json": "x"},
		"an unfinished checkpoint":    {"normal/checkpoint.next": "x"},
		"no keys":                     {"audit/audit.pub": "x"},
		"rows out of order":           {"store/00000007": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			var file bytes.Buffer
			w, err := backup.NewWriter(&file, agefile.Lock{Recipients: id.Recipients()}, "x")
			if err != nil {
				t.Fatal(err)
			}
			for part, text := range parts {
				if err := w.Add(part, int64(len(text)), strings.NewReader(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(t.TempDir(), "new")
			if _, err := archive.Restore(t.Context(), &file, agefile.Key{Identity: id}, archive.Target{Data: data, Open: openStore}); err == nil {
				t.Fatal("it was restored")
			}
			if entries, err := os.ReadDir(data); err != nil || len(entries) != 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

func TestAServerDoesNotStartOnAnUnfinishedRestore(t *testing.T) {
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, archive.Unfinished+"123"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := refuse(t, data); !strings.Contains(err.Error(), "not finished") {
		t.Errorf("%v", err)
	}
}

func TestABackupRequestWithoutARecipientIsRefused(t *testing.T) {
	r := start(t, t.TempDir())
	for _, body := range []string{`{}`, `{"recipients":[]}`, `{"recipients":["nobody"]}`, `{"recipients":["age1"],"more":1}`, `x`} {
		err := r.api.Do(t.Context(), http.MethodPost, "/v1/backup", "application/json", strings.NewReader(body), &json.RawMessage{})
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Status < 400 || refused.Status > 499 {
			t.Errorf("%s: %v, want a refusal", body, err)
		}
	}
}

func TestARestoreClearsWhatAKilledOneLeftAndNothingElse(t *testing.T) {
	_, file, key := backedUp(t)
	for _, tt := range []struct {
		name string
		left []string
		ok   bool
	}{
		{"killed at work", []string{archive.Unfinished + "1/data/audit/x"}, true},
		{"killed while it put the parts in place", []string{archive.Unfinished + "1/data/keys.json", "audit/x", "muster.db"}, true},
		{"killed when what is normal was in place", []string{archive.Unfinished + "1/data/restored.json", "audit/x", "muster.db", "normal/checkpoint"}, true},
		{"the same, and somebody's file", []string{archive.Unfinished + "1/data/keys.json", "audit/x", "notes.txt"}, false},
		{"a data folder", []string{"keys.json", "muster.db"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := t.TempDir()
			for _, name := range tt.left {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(data, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(data, name), "left")
			}
			_, err := archive.Restore(t.Context(), bytes.NewReader(file), key, archive.Target{Data: data, Open: openStore})
			if tt.ok {
				if err != nil {
					t.Error(err)
				}
				if err := unfinished(data); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, nhi.ErrConflict) {
				t.Errorf("err = %v, want a conflict", err)
			}
			for _, name := range tt.left {
				if text, err := os.ReadFile(filepath.Join(data, name)); err != nil || string(text) != "left" {
					t.Errorf("%s is no longer what it was: %v", name, err)
				}
			}
		})
	}
}
