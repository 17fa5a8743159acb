package baseline

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// open opens a Learner on a folder, as after a start.
func open(t testing.TB, dir string, s Settings) (*Learner, *checkpoint.Folder) {
	t.Helper()
	folder, state, err := checkpoint.OpenFolder(checkpoint.Dir(dir), pages.Specs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := folder.Close(); err != nil {
			t.Error(err)
		}
	})
	l := New(s)
	if err := l.Open(folder, state); err != nil {
		t.Fatal(err)
	}
	return l, folder
}

func save(t testing.TB, l *Learner, folder *checkpoint.Folder) {
	t.Helper()
	s := l.Snapshot(nil)
	part, err := s.Part()
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Commit([]checkpoint.Part{part}, s.Pages.Deltas(folder)); err != nil {
		t.Fatal(err)
	}
	l.Settle(s)
}

func play(l *Learner, from, to int) {
	for n := from; n < to; n++ {
		ev := usual(n)
		if n%50 == 49 {
			ev = thief(n)
		}
		if n%7 == 3 {
			ev.Identity = nhi.ID(fmt.Sprintf("nhi_%d", n%5))
		}
		l.Observe(ev, true)
	}
}

// everything is all that a Learner knows and keeps, in words.
func everything(t testing.TB, l *Learner) map[string]string {
	t.Helper()
	s := l.Snapshot(nil)
	defer l.Return(s)
	priors, err := s.priors.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{
		"peers": fmt.Sprint(l.peers), "groups": fmt.Sprint(s.groups), "configured": fmt.Sprint(l.configured), "priors": fmt.Sprint(len(priors)),
	}
	for _, hash := range l.names.hashes() {
		out[fmt.Sprint("name ", hash)] = l.Name(hash)
	}
	l.book.All(func(slot pages.Slot) {
		who := l.book.Number(slot).Text("nhi_")
		raw := l.book.Page(slot).AppendRaw(nil)
		out[who] = fmt.Sprint(raw[8:], l.groups.name(l.book.Group(slot)), *l.book.Note(slot), l.withheld.of[slot])
	})
	return out
}

func TestReplayAfterACrashMakesTheSamePages(t *testing.T) {
	whole := New(Settings{Places: world})
	play(whole, 0, 600)

	dir := t.TempDir()
	crashed, folder := open(t, dir, Settings{Places: world})
	play(crashed, 0, 100)
	save(t, crashed, folder)
	play(crashed, 100, 400)
	save(t, crashed, folder)
	play(crashed, 400, 450) // lost
	back, _ := open(t, dir, Settings{Places: world})
	play(back, 400, 600)
	if diff := cmp.Diff(everything(t, whole), everything(t, back)); diff != "" {
		t.Errorf("a run without a crash (-) and one with it (+):\n%s", diff)
	}
}

func TestASaveTakesOnlyWhatChanged(t *testing.T) {
	l, folder := open(t, t.TempDir(), Settings{})
	someone := func(n int) *nhi.Event {
		ev := usual(n % 100)
		ev.Identity = nhi.IdentityID("aws", "1", fmt.Sprint(n))
		return ev
	}
	const many, few = 5000, 20
	for n := range many {
		l.Observe(someone(n), true)
	}
	save(t, l, folder)
	for n := range few {
		l.Observe(someone(n*many/few), true)
	}
	s := l.Snapshot(nil)
	if got := s.Pages.Len(); got != few {
		t.Errorf("a save of %d changes among %d takes %d pages", few, many, got)
	}
	bytes := 0
	for _, d := range s.Pages.Deltas(folder) {
		bytes += len(d.Rows)
	}
	if most := few * (surprise.PageSize + 64); bytes > most {
		t.Errorf("it writes %d bytes, at most %d are meant", bytes, most)
	}
	l.Return(s)
	if got := l.Dirty(); got != few {
		t.Errorf("after a save that failed %d pages wait, want %d", got, few)
	}
	save(t, l, folder)
	if got := l.Dirty(); got != 0 {
		t.Errorf("after a save %d pages wait", got)
	}
}

func TestPagesTakeUpNewSettingsInPortions(t *testing.T) {
	dir := t.TempDir()
	l, folder := open(t, dir, Settings{Places: world})
	for n := range history {
		l.Observe(usual(n), true)
	}
	save(t, l, folder)
	if !l.Page(key).Established() {
		t.Fatal("two weeks do not establish a page")
	}
	strict := Settings{Places: world, Established: surprise.Settings{MinEvents: 100_000}}
	for range 2 { // the second time the crash came after the first save
		back, folder := open(t, dir, strict)
		if err := back.Reconfigure(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if back.Page(key).Established() {
			t.Error("the new settings are not in force")
		}
		save(t, back, folder)
	}
	back, _ := open(t, dir, strict)
	if err := back.Reconfigure(func() error { t.Error("saved again"); return nil }); err != nil {
		t.Fatal(err)
	}
	if back.configured != strict.Established.Word() || back.Page(key).Established() {
		t.Error("the settings that were saved are not those of the pages")
	}
}

func TestADamagedPageBeginsAnewAndLoudly(t *testing.T) {
	dir := t.TempDir()
	l, folder := open(t, dir, Settings{Places: world})
	for n := range history {
		l.Observe(usual(n), true)
	}
	l.Observe(thief(history), true) // withheld, with the page
	other := usual(0)
	other.Identity = "nhi_other"
	l.Observe(other, true)
	save(t, l, folder)
	path := filepath.Join(dir, pages.PagesTable)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[500] ^= 4 // in the first page, which is that of key
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	back, folder := open(t, dir, Settings{Places: world})
	for range 2 {
		if back.Page(key) != nil {
			t.Error("a damaged page is believed")
		}
	}
	back.mu.Lock() // somebody learns
	told := back.Damaged()
	back.mu.Unlock()
	if got := back.Stats().Damaged; got != 1 || told != 1 {
		t.Errorf("%d damaged pages were told, want 1", got)
	}
	if back.Page("nhi_other").Count() != 1 {
		t.Error("the page beside it is gone")
	}
	score, judged := back.Observe(thief(history+1), true)
	if !judged || score.Established {
		t.Errorf("after the loss: judged %v, established %v; want a new identity", judged, score.Established)
	}
	if got := back.Page(key).Count(); got != 1 {
		t.Errorf("after the loss the page has %d events, want 1", got)
	}
	if n := back.Confirm(key); n != 0 {
		t.Errorf("%d events were withheld of the life before", n)
	}
	save(t, back, folder)
	again, _ := open(t, dir, Settings{Places: world})
	if again.Page(key).Count() != 1 || again.Stats().Damaged != 0 {
		t.Error("the new page was not saved")
	}
}

func TestGroupsAreBounded(t *testing.T) {
	var g groups
	for n := range maxGroups {
		g.number(fmt.Sprint("aws/IAMUser/", n))
	}
	late, other := g.number("aws/IAMUser/late"), g.number("aws/IAMUser/later")
	if late != other || g.name(late) != "aws/IAMUser/" {
		t.Errorf("groups beyond the bound: %q and %q, want one for their kind", g.name(late), g.name(other))
	}
	for n := range 2 * maxKinds {
		g.number(fmt.Sprintf("aws/Kind%d/1", n))
	}
	if n := g.number("aws/Last/1"); g.name(n) != "" {
		t.Errorf("a kind beyond the bound is in %q", g.name(n))
	}
}

func TestWhatIsWithheldIsBounded(t *testing.T) {
	var w withheld
	w.of = make(map[pages.Slot][]suspended, maxWithheld)
	for n := range maxWithheld {
		w.of[pages.Slot(n)] = []suspended{{LastDay: int64(n)}}
	}
	w.set(maxWithheld, []suspended{{LastDay: maxWithheld}})
	if n := len(w.of); n > maxWithheld*7/8+1 {
		t.Errorf("%d identities are withheld, want an eighth forgotten", n)
	}
	if _, kept := w.of[0]; kept || len(w.of[maxWithheld]) != 1 || len(w.of[maxWithheld-1]) != 1 {
		t.Error("the oldest must go, not the latest")
	}
}

func FuzzReadPart(f *testing.F) {
	l := taught(f, Settings{})
	l.Observe(thief(history), true)
	part, err := l.Snapshot(nil).Part()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(part.Data)
	f.Add(part.Data[:len(part.Data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		l := New(Settings{})
		if err := l.readPart(data); err != nil {
			return
		}
		again, err := l.Snapshot(nil).Part()
		if err != nil {
			t.Fatal(err)
		}
		if err := New(Settings{}).readPart(again.Data); err != nil {
			t.Errorf("what was read and written cannot be read: %v", err)
		}
	})
}

func TestAPartThatIsCutOffIsRefused(t *testing.T) {
	l := taught(t, Settings{})
	l.Observe(thief(history), true)
	part, err := l.Snapshot(nil).Part()
	if err != nil {
		t.Fatal(err)
	}
	for n := range part.Data {
		if err := New(Settings{}).readPart(slices.Clone(part.Data[:n])); err == nil {
			t.Fatalf("%d of its %d bytes were accepted", n, len(part.Data))
		}
	}
}

// The disk fails, or somebody cuts the file off, under a server that learns and
// decides.
func TestAFileThatIsCutUnderALearnerIsNoCrash(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pages are mapped on Linux only, and this is " + runtime.GOOS)
	}
	dir := t.TempDir()
	l, folder := open(t, dir, Settings{Places: world})
	play(l, 0, history)
	save(t, l, folder)
	known := l.Stats().Pages
	if err := os.Truncate(filepath.Join(dir, pages.PagesTable), 0); err != nil {
		t.Fatal(err)
	}
	if l.Page(key) != nil {
		t.Error("a page was read from nowhere")
	}
	score, _ := l.Observe(thief(history), true)
	if score.Established {
		t.Error("an event was judged by a page that is lost")
	}
	play(l, history+1, history+100)
	l.Explain(key, score)
	l.Confirm(key)
	l.mu.Lock()
	l.comparePeers()
	l.mu.Unlock()
	if s := l.Stats(); s.Damaged != known || s.Pages != known {
		t.Errorf("%+v, want that all %d pages are lost", s, known)
	}
	save(t, l, folder)
}
