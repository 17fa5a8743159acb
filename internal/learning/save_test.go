package learning

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/nhi"
)

// bare is a Learner that only loads and saves.
func (b *bench) bare(s baseline.Settings) *Learner {
	b.t.Helper()
	l := &Learner{Mind: NewMind(s, nil), Dir: b.dir, DB: b.db, Stream: b.stream, Decisions: b.journal}
	b.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return l
}

func TestADamagedFolderIsNamed(t *testing.T) {
	b := newBench(t)
	b.publish(used("1", time.Now()))
	l, stop := b.start()
	b.until("the event", func() bool { return l.position() == 1 })
	stop()
	path := filepath.Join(b.dir, Folder, checkpoint.File)
	whole := readFile(t, path)
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{"other": []byte("damaged"), "cut": whole[:len(whole)-9], "flipped": flipped, "empty": {}} {
		writeFile(t, path, content)
		err := b.bare(baseline.Settings{}).Load(t.Context())
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "from a backup") {
			t.Errorf("a checkpoint that is %s: %v, want its name and what to do", name, err)
		}
	}
	writeFile(t, path, whole)
	if err := b.bare(baseline.Settings{}).Load(t.Context()); err != nil {
		t.Errorf("the whole one: %v", err)
	}
}

func TestWhatThePreviousReleaseLearnedIsTakenOverOnce(t *testing.T) {
	b := newBench(t)
	b.publish(used("1", time.Now()))
	l, stop := b.start()
	b.until("the event", func() bool { return l.position() == 1 })
	stop()
	// The same as the previous release kept it.
	detector := readFile(t, filepath.Join("testdata", "old", oldDetector))
	seen, err := l.Mind.seen.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, Folder)); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(b.dir, OldFolder+".old") // it was killed between two renames
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	at := make([]byte, 16)
	at[7], at[15] = 1, 0
	for name, data := range map[string][]byte{oldPages: readFile(t, filepath.Join("testdata", "old", oldPages)), oldDetector: detector, oldSeen: seen, oldPlace: at} {
		writeFile(t, filepath.Join(old, name), data)
	}
	for name := range map[string]bool{oldPages: true, oldDetector: true, oldSeen: true, oldPlace: true} {
		whole := readFile(t, filepath.Join(old, name))
		writeFile(t, filepath.Join(old, name), []byte("damaged"))
		if err := b.bare(baseline.Settings{}).Load(t.Context()); err == nil {
			t.Errorf("the old %s is damaged and nobody notices", name)
		}
		writeFile(t, filepath.Join(old, name), whole)
	}
	for range 2 {
		next := b.bare(baseline.Settings{})
		if err := next.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next.position() != 1 || next.Mind.Normal.Stats().Pages != 2 || next.Mind.seen.Len() != 1 {
			t.Errorf("taken over: position %d, %+v, %d events seen", next.position(), next.Mind.Normal.Stats(), next.Mind.seen.Len())
		}
		if _, err := os.Stat(old); err == nil {
			t.Error("the old folder is still there")
		}
	}
}

func TestNothingLearnedIsNothingSaved(t *testing.T) {
	b := newBench(t)
	b.publish(used("1", time.Now()))
	l, stop := b.start()
	b.until("the event", func() bool { return l.position() == 1 })
	stop()
	path := filepath.Join(b.dir, Folder, checkpoint.File)
	before := readFile(t, path)
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	if after := readFile(t, path); string(before) != string(after) {
		t.Error("it was saved again although nothing was learned")
	}
}

func TestNobodySavesWhileTheFolderIsCopied(t *testing.T) {
	b := newBench(t)
	b.publish(used("1", time.Now()))
	l, stop := b.start()
	b.until("the first event", func() bool { return l.position() == 1 })
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, Folder, checkpoint.File)
	saved := make(chan error, 1)
	err := l.Hold(func() error {
		before := readFile(t, path)
		b.publish(used("2", time.Now()))
		b.until("learning to go on", func() bool { return l.position() == 2 })
		go func() { saved <- l.Save() }()
		if after := readFile(t, path); string(after) != string(before) {
			t.Error("it was saved meanwhile")
		}
		return nil
	})
	if err := <-saved; err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	stop()
}

func TestLearningSavesByItselfWhenMuchHasChanged(t *testing.T) {
	b := newBench(t)
	l := b.bare(baseline.Settings{})
	l.Inventory, l.Notices, l.Wake, l.most = b.inv, b.notices, func() {}, 50
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	take := func(n int, position uint64) {
		t.Helper()
		ev := used(fmt.Sprint(n), time.Now())
		ev.Identity = nhi.IdentityID("aws", "1", fmt.Sprint(n))
		if err := l.apply(t.Context(), batch{events: []nhi.Event{ev}}, "activity", position); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 50 {
		take(n, uint64(n+1))
	}
	if got := l.LastSave().Pages; got != 0 {
		t.Errorf("%d pages were saved before there were enough", got)
	}
	take(50, 51)
	if got := l.LastSave().Pages; got != 50 {
		t.Errorf("the last save had %d pages, want the 50 before the event", got)
	}
	if got := l.Mind.Normal.Dirty(); got != 1 {
		t.Errorf("%d pages wait, want that of the event", got)
	}
}

func TestLearningGoesOnWhenItCannotBeSaved(t *testing.T) {
	b := newBench(t)
	l := b.bare(baseline.Settings{})
	l.Inventory, l.Notices, l.Wake, l.most = b.inv, b.notices, func() {}, 1
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.folder.Close(); err != nil { // every save fails from now on
		t.Fatal(err)
	}
	for n := range 5 {
		if err := l.apply(t.Context(), batch{events: []nhi.Event{used(fmt.Sprint(n), time.Now())}}, "activity", uint64(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Mind.Normal.Page(user).Count(); got != 5 {
		t.Errorf("%d events were learned, want 5", got)
	}
	if l.Save() == nil || l.Mind.Normal.Dirty() != 1 || l.Saved() != 0 {
		t.Errorf("what could not be saved counts as saved: %d pages wait", l.Mind.Normal.Dirty())
	}
}
