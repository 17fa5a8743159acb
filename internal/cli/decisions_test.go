package cli

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// A folder of a server that has decided 30 times and forgot the oldest.
type decidedFolder struct {
	data  string
	gone  journal.Prefix
	named string // the first segment that is left
}

func aDecidedFolder(t *testing.T, tell bool) decidedFolder {
	t.Helper()
	f := decidedFolder{data: t.TempDir()}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	acts, err := audit.Open(filepath.Join(f.data, "audit"), key, audit.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(f.data, "decisions"), journal.Settings{SegmentSize: 1024})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		d := nhi.Decision{ID: "d", At: time.Date(2026, 3, 1, 12, i, 0, 0, time.UTC), Outcome: nhi.Deny, Resource: "payments/api"}
		if _, err := j.Append(logbook.Append(nil, &d)); err != nil {
			t.Fatal(err)
		}
	}
	if f.gone, err = j.Outdated(time.Now().Add(time.Hour), 1<<40, 20); err != nil || f.gone.Segments == 0 {
		t.Fatalf("nothing is outdated: %+v, %v", f.gone, err)
	}
	if tell {
		detail := fmt.Appendf(nil, `{"first":%d,"before":"%x"}`, f.gone.First, f.gone.Before)
		if _, err := acts.Append(t.Context(), audit.Entry{Actor: audit.Actor{Kind: audit.System}, Act: "decisions.forget", Detail: detail}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Prune(f.gone.First), j.Close(), acts.Close()); err != nil {
		t.Fatal(err)
	}
	f.named = filepath.Join(f.data, "decisions", fmt.Sprintf("%020d.seg", f.gone.First))
	return f
}

func TestVerifyingADataFolderProvesItsDecisions(t *testing.T) {
	whole := aDecidedFolder(t, true)
	code, out, words := shell{}.run(t, "audit", "verify", "--data", whole.data)
	if code != 0 || !strings.Contains(out, "DECISIONS INTACT") || !strings.Contains(out, "2026-03-01") {
		t.Errorf("a whole folder: status %d\n%s%s", code, out, words)
	}
	code, out, words = shell{}.run(t, "audit", "verify", "--data", whole.data, "-o", "json")
	var p proof
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 || !p.OK || p.Decisions == nil || !p.Decisions.OK || p.Decisions.Decisions != 31-whole.gone.First || p.Decisions.Until.Minute() != 29 {
		t.Errorf("as JSON: status %d, %v\n%s%s", code, err, out, words)
	}
	// An audit log alone says nothing of decisions.
	if code, out, _ = (shell{}).run(t, "audit", "verify", filepath.Join(whole.data, "audit"), "-o", "json"); code != 0 || strings.Contains(out, "decisions") {
		t.Errorf("an audit log alone: status %d\n%s", code, out)
	}
}

func TestDamagedOrMissingDecisionsAreFound(t *testing.T) {
	for _, tt := range []struct {
		name   string
		told   bool
		harm   func(f decidedFolder) error
		status int
		want   string
	}{
		{"a changed decision", true, func(f decidedFolder) error {
			b, err := os.ReadFile(f.named)
			if err == nil {
				b[len(b)/2] ^= 1
				err = os.WriteFile(f.named, b, 0o600)
			}
			return err
		}, 1, "decisions is damaged: record"},
		{"old decisions that nobody says the server forgot", false, nil, 1, "no act of the audit log"},
		{"more forgotten than the server forgot", true, func(f decidedFolder) error { return os.Remove(f.named) }, 1, "no act of the audit log"},
		{"a journal begun anew", true, func(f decidedFolder) error {
			dir := filepath.Join(f.data, "decisions")
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			j, err := journal.Open(dir, journal.Settings{})
			if err != nil {
				return err
			}
			_, err = j.Append(logbook.Append(nil, &nhi.Decision{Outcome: nhi.Allow}))
			return errors.Join(err, j.Close())
		}, 1, "they were there when the server forgot"},
		{"no journal at all", true, func(f decidedFolder) error { return os.RemoveAll(filepath.Join(f.data, "decisions")) }, 1, "no journal is there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := aDecidedFolder(t, tt.told)
			if tt.harm != nil {
				if err := tt.harm(f); err != nil {
					t.Fatal(err)
				}
			}
			code, out, words := shell{}.run(t, "audit", "verify", "--data", f.data)
			if code != tt.status || !strings.Contains(words, tt.want) || !strings.Contains(out, "FAULT") && !strings.Contains(out, "no") {
				t.Errorf("status %d, want %d\n%s%s", code, tt.status, out, words)
			}
		})
	}
}
