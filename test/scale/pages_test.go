package scale

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/mem"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// learner opens what was learned in a data folder. Its database and its stream
// are empty ones.
func learner(t *testing.T, data string) *learning.Learner {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := journal.Open(filepath.Join(dir, "journal"), journal.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	l := &learning.Learner{Mind: learning.NewMind(baseline.Settings{}, nil), Dir: data, DB: db, Stream: mem.New(stream.Settings{}), Decisions: decisions}
	t.Cleanup(func() {
		for _, close := range []func() error{l.Close, l.Stream.Close, decisions.Close, db.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// someEvent is what an identity does at a time.
func someEvent(n int, at time.Time) *nhi.Event {
	of := someIdentity(n)
	return &nhi.Event{
		ID: fmt.Sprint(at.Unix(), "-", n), Source: "src", Format: "cloudtrail", Time: at, Arrived: at, Provider: "aws", Account: of.Account, Region: "eu-west-1",
		Service: "s3.amazonaws.com", Operation: []string{"GetObject", "ListBucket", "PutObject"}[n%3], Class: nhi.Read, Status: nhi.Success,
		Address: netip.AddrFrom4([4]byte{52, 95, byte(n % 200), 1}), Agent: "Boto3/1.34.0",
		Principal: nhi.Principal{Type: "IAMUser", Native: of.Native, Account: of.Account}, Identity: of.ID,
	}
}

// few are the bytes of heap that a Learner needs for nobody, and a little for what
// lies about.
const few = 8 << 20

// saved saves, and keeps the longest time that learning waited for it.
func saved(t *testing.T, l *learning.Learner, longest *learning.Save) {
	t.Helper()
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	if s := l.LastSave(); s.Locked > longest.Locked {
		*longest = s
	}
}

// teach lets every identity act once, hours after the beginning, and saves
// whenever the server would.
func teach(t *testing.T, l *learning.Learner, hours int) (longest learning.Save) {
	t.Helper()
	found := map[string]nhi.Finding{}
	for n := range identities {
		at := time.Unix(1_700_000_000, 0).Add(time.Duration(hours)*time.Hour + time.Duration(n)*time.Millisecond)
		l.Mind.Take(someEvent(n, at), found)
		if n%1000 == 999 && l.Mind.Normal.Dirty() >= baseline.MaxDirty {
			saved(t, l, &longest)
		}
	}
	saved(t, l, &longest)
	return longest
}

// learned fills a data folder with a page for everybody.
func learned(t *testing.T, data string) {
	t.Helper()
	l := learner(t, data)
	teach(t, l, 0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPagesAtScale measures what is learned about everybody: memory, saving,
// and opening it again. The gates are sizes and counts; the clock is only
// written down.
func TestPagesAtScale(t *testing.T) {
	data := t.TempDir()
	before, resides := heap(), resident(t)
	l := learner(t, data)
	began, used := time.Now(), cpu()
	first := teach(t, l, 0)
	var text strings.Builder
	fmt.Fprintf(&text, "A page for each of %d identities.\n\n| what | measured |\n|---|---|\n", identities)
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&text, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row("every identity acts once, saved on the way", "%v, %v of processor", time.Since(began).Round(10*time.Millisecond), (cpu() - used).Round(10*time.Millisecond))
	held := grown(before)
	size := on(t, data, pages.PagesTable)
	row("pages, mapped", "%d MB", size>>20)
	row("heap while everybody is active: index, slots, events seen, open windows", "%d MB, %d bytes an identity", held>>20, held/identities)
	row("resident, mapped pages included", "%d MB", (resident(t)-resides)>>20)
	if most := uint64(175*identities + few); held > most { // with the facts below 700 MB
		t.Errorf("%d bytes of heap for %d active identities, want at most %d", held, identities, most)
	}
	if size < surprise.PageSize*identities {
		t.Errorf("%d bytes of pages", size)
	}
	row("longest wait of learning for a save, of those on the way, by the wall", "%v, %d pages", first.Locked.Round(100*time.Microsecond), first.Pages)
	saveSome(t, l, row)
	want := l.Mind.Normal.Page(someIdentity(identities - 1).ID).Count()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(l)
	reopen(t, data, want, row)
	record(t, "pages.md", "What is normal, at scale", text.String())
}

// saveSome saves after a few and after many of the pages have changed.
func saveSome(t *testing.T, l *learning.Learner, row func(string, string, ...any)) {
	t.Helper()
	l.Mind.Take(someEvent(0, time.Unix(1_700_000_000, 0).Add(47*time.Hour)), map[string]nhi.Finding{}) // the windows of everybody close
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	for i, some := range []int{100, baseline.MaxDirty} {
		some = min(some, identities)
		for n := range some {
			at := time.Unix(1_700_000_000, 0).Add(time.Duration(48+i) * time.Hour)
			l.Mind.Take(someEvent(n*(identities/some), at), map[string]nhi.Finding{})
		}
		used := cpu()
		if err := l.Save(); err != nil {
			t.Fatal(err)
		}
		last := l.LastSave()
		row(fmt.Sprintf("save after %d pages changed", some), "learning waits %v by the wall; %v and %v of processor altogether; checkpoint of %.1f MB",
			last.Locked.Round(100*time.Microsecond), last.Took.Round(time.Millisecond), (cpu() - used).Round(time.Millisecond), float64(on(t, l.Dir, checkpoint.File))/(1<<20))
		if last.Pages != some {
			t.Errorf("after %d changes %d pages were saved", some, last.Pages)
		}
	}
}

// reopen measures a start, and the first look at pages after it.
func reopen(t *testing.T, data string, want uint64, row func(string, string, ...any)) {
	t.Helper()
	before := heap()
	began, used := time.Now(), cpu()
	l := learner(t, data)
	row("opened again", "%v, %v of processor", time.Since(began).Round(time.Millisecond), (cpu() - used).Round(time.Millisecond))
	if err := l.Save(); err != nil { // what the last checkpoint held is in memory until the next
		t.Fatal(err)
	}
	held := grown(before)
	row("heap while everybody is quiet: index, slots, events seen", "%d MB, %d bytes an identity", held>>20, held/identities)
	if most := uint64(100*identities + few); held > most {
		t.Errorf("%d bytes of heap for %d quiet identities, want at most %d", held, identities, most)
	}
	const looks = 2000
	used = cpu()
	for i := range looks {
		if l.Mind.Normal.Page(someIdentity(i*7919%identities).ID) == nil {
			t.Fatal("a page is gone")
		}
	}
	row("first look at a page: read and checked", "%v of processor", ((cpu() - used) / looks).Round(100*time.Nanosecond))
	if got := l.Mind.Normal.Page(someIdentity(identities - 1).ID).Count(); got != want {
		t.Errorf("the last page has %d events, want %d", got, want)
	}
	if s := l.Mind.Normal.Stats(); s.Pages != identities || s.Damaged != 0 {
		t.Errorf("opened again: %+v", s)
	}
}

// on is the size of a file of what was learned.
func on(t *testing.T, data, name string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(data, learning.Folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
