package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

func open(t *testing.T) (*store.DB, *Store) {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, New(db)
}

// digest is one that begins with a letter.
func digest(letter string) string { return strings.Repeat(letter, 64) }

// entry is one that replaces parent.
func entry(letter, parent string, state nhi.SnapshotState) Entry {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	return Entry{
		Files:    map[string]string{"policies/" + letter + ".cedar": "// '; DROP TABLE snapshot; --\n"},
		Snapshot: nhi.Snapshot{Digest: digest(letter), Parent: parent, State: state, Author: "operator:ada", At: now, Activated: now, Files: 1},
		Acts:     []nhi.Act{{Key: letter + string(state), At: now, Act: "policy.activate", Target: digest(letter)}},
		Notices:  []nhi.Notice{{ID: letter + string(state), Severity: nhi.High, At: now, Data: []byte(`{}`)}},
	}
}

func add(t *testing.T, s *Store, e Entry) nhi.Snapshot {
	t.Helper()
	n, err := s.Add(t.Context(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func history(t *testing.T, s *Store) (out []string) {
	t.Helper()
	all, err := s.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		out = append(out, fmt.Sprint(n.Sequence, n.Digest[:1], " ", n.State))
	}
	return out
}

func TestOneIsInForceAndTheRestIsHistory(t *testing.T) {
	_, s := open(t)
	if _, err := s.Active(t.Context()); !errors.Is(err, nhi.ErrNotFound) {
		t.Fatalf("nothing in force: %v", err)
	}
	add(t, s, entry("a", "", nhi.SnapshotActive))
	add(t, s, entry("b", digest("a"), nhi.SnapshotWaiting))
	add(t, s, entry("c", digest("a"), nhi.SnapshotActive))
	again := entry("a", digest("c"), nhi.SnapshotActive)
	again.Files = nil // they are kept
	again.Acts, again.Notices = nil, nil
	add(t, s, again)
	if diff := cmp.Diff([]string{"4a active", "3c past", "2b outdated", "1a past"}, history(t, s)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	for _, letter := range []string{"a", "b", "c"} {
		files, err := s.Files(t.Context(), digest(letter))
		if diff := cmp.Diff(entry(letter, "", "").Files, files); diff != "" || err != nil {
			t.Errorf("files of %s: %v\n%s", letter, err, diff)
		}
	}
	if n, err := s.Get(t.Context(), digest("a")[:8]); err != nil || n.Sequence != 4 {
		t.Errorf("the newest entry of a digest: %+v, %v", n, err)
	}
}

func TestWhoeverKnewLessIsRefused(t *testing.T) {
	db, s := open(t)
	add(t, s, entry("a", "", nhi.SnapshotActive))
	waits := add(t, s, entry("b", digest("a"), nhi.SnapshotWaiting))
	before := db.Generation()
	if _, err := s.Add(t.Context(), entry("c", digest("b"), nhi.SnapshotActive), nil); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("a change of what is not in force: %v", err)
	}
	if got := db.Generation(); got != before {
		t.Errorf("a refused entry made a change: %d, before %d", got, before)
	}
	refused := errors.New("no")
	if _, err := s.Change(t.Context(), waits.Sequence, func(*Entry) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a change that is refused: %v", err)
	}
	n, err := s.Change(t.Context(), waits.Sequence, func(e *Entry) error {
		e.State, e.Activated = nhi.SnapshotActive, e.At
		return nil
	})
	if err != nil || n.State != nhi.SnapshotActive {
		t.Fatalf("%+v, %v", n, err)
	}
	if got := db.Generation(); got <= before {
		t.Errorf("what is in force is in no change: %d", got)
	}
	if diff := cmp.Diff([]string{"2b active", "1a past"}, history(t, s)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// TestManyWhoPushAtOnceMakeOneRow shows that of those who change the same state of
// things one wins, and that sequences have no gap and no double.
func TestManyWhoPushAtOnceMakeOneRow(t *testing.T) {
	_, s := open(t)
	add(t, s, entry("a", "", nhi.SnapshotActive))
	var won atomic.Int64
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			letter := string(rune('b' + i%5))
			_, err := s.Add(t.Context(), entry(letter, digest("a"), nhi.SnapshotActive), nil)
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, nhi.ErrConflict):
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := history(t, s); won.Load() != 1 || len(got) != 2 {
		t.Errorf("%d won: %v", won.Load(), got)
	}
}

func TestADigestThatIsNoneFindsNothing(t *testing.T) {
	_, s := open(t)
	add(t, s, entry("a", "", nhi.SnapshotActive))
	e := entry("a", digest("a"), nhi.SnapshotActive)
	e.Digest = digest("a")[:10] + strings.Repeat("b", 54)
	add(t, s, e)
	if _, err := s.Get(t.Context(), digest("a")[:9]); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("the beginning of two: %v", err)
	}
	for _, bad := range []string{"", "a", "aaaaaaa", "aaaaaaag", "' OR '1'='1", digest("a") + "a", digest("c"), "AAAAAAAA"} {
		if _, err := s.Get(t.Context(), bad); !errors.Is(err, nhi.ErrNotFound) {
			t.Errorf("Get(%.20q): %v", bad, err)
		}
	}
	if _, err := s.Files(t.Context(), digest("f")); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("files of nothing: %v", err)
	}
}
