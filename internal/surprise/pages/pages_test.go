package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/checkpoint/checkpointtest"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

func open(disk checkpoint.Disk) (*Book, *checkpoint.Folder, error) {
	folder, state, err := checkpoint.OpenFolder(disk, Specs...)
	if err != nil {
		return nil, nil, err
	}
	b, err := Open(folder, state)
	if err != nil {
		return nil, nil, errors.Join(err, folder.Close())
	}
	return b, folder, nil
}

func mustOpen(t testing.TB, dir string) (*Book, *checkpoint.Folder) {
	t.Helper()
	b, folder, err := open(checkpoint.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := folder.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, folder
}

func save(b *Book, folder *checkpoint.Folder) error {
	s := b.Snapshot(nil)
	if err := folder.Commit(nil, s.Deltas(folder)); err != nil {
		b.Return(s)
		return err
	}
	for at := 0; at < s.Len(); {
		at = b.Settle(s, at)
	}
	return nil
}

func mustSave(t testing.TB, b *Book, folder *checkpoint.Folder) {
	t.Helper()
	if err := save(b, folder); err != nil {
		t.Fatal(err)
	}
}

func number(n int) nhi.Number { return nhi.IdentityID("aws", "1", fmt.Sprint(n)).Number() }

// learn teaches the page of the n-th identity, which begins with it.
func learn(t testing.TB, b *Book, n int, what uint64) {
	t.Helper()
	slot, ok := b.Find(number(n))
	if !ok {
		var err error
		if slot, err = b.Add(number(n), uint32(n%3)); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := b.Write(slot)
	if p == nil {
		t.Fatalf("the page of %d cannot be written to", n)
	}
	p.Learn(surprise.Observation{At: int64(what) * 1e6, Action: what + 1, Network: what%5 + 1})
	*b.Note(slot) = Note{Day: int32(what), Count: uint32(n)}
}

// content is everything in a Book.
func content(b *Book) map[nhi.Number]string {
	out := map[nhi.Number]string{}
	b.All(func(s Slot) {
		page := "damaged"
		if p := b.Page(s); p != nil {
			page = string(p.AppendRaw(nil)[8:])
		}
		out[b.Number(s)] = fmt.Sprint(page, *b.Note(s), b.Group(s))
	})
	return out
}

func TestACrashLeavesThePagesBeforeOrAfter(t *testing.T) {
	for _, power := range []bool{false, true} {
		for left := 0; ; left++ {
			dir, chance := t.TempDir(), rand.New(rand.NewPCG(uint64(left), 1))
			disk := checkpointtest.New(t, dir, left)
			before, after := map[nhi.Number]string{}, map[nhi.Number]string{}
			b, folder, err := open(disk)
			for n := 0; err == nil && n < 3; n++ {
				for range 4 {
					learn(t, b, chance.IntN(300), chance.Uint64N(1000))
				}
				after = content(b)
				if err = save(b, folder); err == nil {
					before = after
				}
			}
			if folder != nil {
				_ = folder.Close()
			}
			if !disk.Died() {
				break
			}
			disk.Crash(power, left%2 == 0, chance)
			back, folder := mustOpen(t, dir)
			got := content(back)
			if !maps.Equal(got, before) && !maps.Equal(got, after) {
				t.Fatalf("power lost %v after %d operations: neither before nor after:\n%s", power, left, cmp.Diff(after, got))
			}
			learn(t, back, 1, 5)
			want := content(back)
			mustSave(t, back, folder)
			again, _ := mustOpen(t, dir)
			if diff := cmp.Diff(want, content(again)); diff != "" {
				t.Fatalf("saved again after a crash:\n%s", diff)
			}
			if again.Damaged() != 0 {
				t.Fatalf("%d pages are damaged", again.Damaged())
			}
		}
	}
}

func TestPagesComeBackFromTheirFile(t *testing.T) {
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	const many = 3*chunkPages + 9
	for n := range many {
		learn(t, b, n, uint64(n))
		if n%200 == 0 {
			mustSave(t, b, folder)
		}
	}
	mustSave(t, b, folder)
	want := content(b) // now read from the file, as the copies were given back
	for n := range many {
		slot, ok := b.Find(number(n))
		if !ok || b.Page(slot).Count() != 1 {
			t.Fatalf("page %d is gone after it was saved", n)
		}
	}
	back, _ := mustOpen(t, dir)
	if back.Len() != many || !maps.Equal(want, content(back)) {
		t.Errorf("%d of %d pages came back as they were", back.Len(), many)
	}
	if _, ok := back.Find(number(many)); ok {
		t.Error("somebody unknown is found")
	}
	heap, err := readPages(back.folder.Table(PagesTable), 0, many)
	if err != nil {
		t.Fatal(err)
	}
	for n := range many { // what other systems do instead of mapping
		slot, _ := back.Find(number(n))
		if string(heap[slot].AppendRaw(nil)[8:]) != string(back.Page(slot).AppendRaw(nil)[8:]) {
			t.Fatalf("page %d differs in the heap", n)
		}
	}
}

func TestAPageThatChangesWhileItIsSavedIsSavedAgain(t *testing.T) {
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	learn(t, b, 1, 1)
	learn(t, b, 2, 1)
	s := b.Snapshot(nil)
	learn(t, b, 1, 2)
	if err := folder.Commit(nil, s.Deltas(folder)); err != nil {
		t.Fatal(err)
	}
	b.Settle(s, 0)
	slot, _ := b.Find(number(1))
	if got := b.Page(slot).Count(); got != 2 {
		t.Fatalf("%d events after the memory was given back, want 2", got)
	}
	if b.Dirty() != 1 {
		t.Fatalf("%d pages wait, want 1", b.Dirty())
	}
	mustSave(t, b, folder)
	back, _ := mustOpen(t, dir)
	if diff := cmp.Diff(content(b), content(back)); diff != "" {
		t.Error(diff)
	}
}

func TestAPageBeyondTheEndOfItsFileIsNoCrash(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pages are mapped on Linux only, and this is " + runtime.GOOS)
	}
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	for n := range 100 {
		learn(t, b, n, 1)
	}
	mustSave(t, b, folder)
	back, _ := mustOpen(t, dir)
	if err := os.Truncate(filepath.Join(dir, PagesTable), 0); err != nil { // somebody takes it away from a running server
		t.Fatal(err)
	}
	for n := range 100 {
		slot, _ := back.Find(number(n))
		if back.Page(slot) != nil {
			t.Fatalf("page %d was read from nowhere", n)
		}
		if p, _ := back.Write(slot); p != nil {
			t.Fatalf("page %d can be written to", n)
		}
	}
	if back.Damaged() != 100 {
		t.Errorf("%d pages were told to be lost, want 100", back.Damaged())
	}
	if _, _, err := open(checkpoint.Dir(dir)); !errors.Is(err, checkpoint.ErrDamaged) || !strings.Contains(err.Error(), PagesTable) {
		t.Errorf("opened again: %v, want the name of the file", err)
	}
}

// A page that was read before is read again when the system took its memory.
func TestAFileThatIsCutUnderPagesInUseIsNoCrash(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pages are mapped on Linux only, and this is " + runtime.GOOS)
	}
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	for n := range 100 {
		learn(t, b, n, 1)
	}
	mustSave(t, b, folder)
	learn(t, b, 42, 2) // a copy in memory, which goes with the file
	for n := range 100 {
		if slot, _ := b.Find(number(n)); b.Page(slot) == nil {
			t.Fatalf("page %d cannot be read before anything happened", n)
		}
	}
	if err := os.Truncate(filepath.Join(dir, PagesTable), 0); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for n := range 100 {
				slot, _ := b.Find(number(n))
				if b.Page(slot) != nil {
					t.Errorf("page %d was read from nowhere", n)
				}
			}
		})
	}
	readers.Wait()
	if n := b.Damaged(); n != 100 {
		t.Errorf("%d pages were told to be lost, want 100", n)
	}
	lost, _ := b.Find(number(42))
	if p, _ := b.Write(lost); p != nil {
		t.Error("a page that is lost can be written to")
	}
	if _, err := b.Add(number(500), 0); err == nil || b.Len() != 100 {
		t.Errorf("a page was made where there is no file, %d altogether", b.Len())
	}
	if n := b.Snapshot(nil).Len(); n != 0 {
		t.Errorf("%d pages are to be saved, and all are lost", n)
	}
}

func TestAFileThatIsCutBeforeASaveIsNoCrash(t *testing.T) {
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	for n := range 100 {
		learn(t, b, n, 1)
	}
	mustSave(t, b, folder)
	for n := range 10 {
		learn(t, b, n, 2)
	}
	if err := os.Truncate(filepath.Join(dir, PagesTable), 0); err != nil {
		t.Fatal(err)
	}
	s := b.Snapshot(nil)
	if got, want := s.Len(), 10-b.Damaged(); got != want { // where pages are mapped all are lost
		t.Errorf("%d pages are to be saved, want %d", got, want)
	}
	if err := folder.Commit(nil, s.Deltas(folder)); err != nil {
		t.Fatal(err)
	}
}

// spoil changes the table of slots.
func spoil(t *testing.T, dir string, change func([]byte)) {
	t.Helper()
	path := filepath.Join(dir, SlotsTable)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// three is a folder with three pages, of which the checkpoint holds none.
func three(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	for n := range 3 {
		learn(t, b, n, 1)
	}
	mustSave(t, b, folder)
	return dir
}

func TestADamagedSlotIsLoudAndUsedAgain(t *testing.T) {
	for name, change := range map[string]func([]byte){
		"flipped":       func(d []byte) { d[slotSize+3] ^= 1 },
		"somebody else": func(d []byte) { copy(d[slotSize:2*slotSize], d[:slotSize]) },
		"zeros":         func(d []byte) { clear(d[slotSize : 2*slotSize]) },
	} {
		dir := three(t)
		spoil(t, dir, change)
		b, folder := mustOpen(t, dir)
		if _, ok := b.Find(number(1)); ok || b.Len() != 2 || b.Damaged() != 1 {
			t.Errorf("%s: %d pages, %d damaged", name, b.Len(), b.Damaged())
		}
		learn(t, b, 1, 7)
		mustSave(t, b, folder)
		back, _ := mustOpen(t, dir)
		slot, ok := back.Find(number(1))
		if !ok || slot != 1 || back.Page(slot).Count() != 1 || back.Damaged() != 0 {
			t.Errorf("%s: after it was learned anew %v in slot %d, %d damaged", name, ok, slot, back.Damaged())
		}
	}
}

func TestFilesOfDifferentSavesAreRefused(t *testing.T) {
	for name, at := range map[string]int{"another history": 32, "a later save": 36} {
		dir := three(t)
		spoil(t, dir, func(d []byte) {
			binary.LittleEndian.PutUint32(d[at:], binary.LittleEndian.Uint32(d[at:])+1)
			checkpoint.Seal(d[:slotSize])
		})
		_, _, err := open(checkpoint.Dir(dir))
		if !errors.Is(err, checkpoint.ErrDamaged) || !strings.Contains(err.Error(), filepath.Join(dir, SlotsTable)) {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
}

func FuzzHostileSlots(f *testing.F) {
	f.Add(make([]byte, 3*slotSize), uint16(0))
	f.Fuzz(func(t *testing.T, rows []byte, seal uint16) {
		dir := three(t)
		spoil(t, dir, func(d []byte) {
			copy(d, rows)
			for i := range 3 {
				if seal>>i&1 != 0 {
					checkpoint.Seal(d[i*slotSize : (i+1)*slotSize])
				}
			}
		})
		b, folder, err := open(checkpoint.Dir(dir))
		if err != nil {
			if !errors.Is(err, checkpoint.ErrDamaged) {
				t.Error(err)
			}
			return
		}
		content(b)
		learn(t, b, 1, 3)
		if err := errors.Join(save(b, folder), folder.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestReadersNeverWaitForTheWriterNorTheSaver(t *testing.T) {
	dir := t.TempDir()
	first, folder := mustOpen(t, dir)
	for n := range 300 {
		learn(t, first, n, 1)
	}
	mustSave(t, first, folder)
	b, folder := mustOpen(t, dir) // nothing is checked yet
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 2 {
		readers.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(r), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := chance.IntN(400)
				slot, ok := b.Find(number(n))
				if !ok {
					continue
				}
				page := b.Page(slot)
				if page == nil || b.Group(slot) != uint32(n%3) {
					t.Errorf("the page of %d is gone, or another's", n)
					return
				}
				page.Score(surprise.Observation{At: 1e9, Action: 3}, nil)
			}
		})
	}
	chance := rand.New(rand.NewPCG(9, 9))
	for round := range 8 {
		for range 30 {
			learn(t, b, chance.IntN(400), uint64(round))
		}
		mustSave(t, b, folder)
	}
	close(stop)
	readers.Wait()
	if b.Damaged() != 0 {
		t.Errorf("%d good pages were taken for damaged", b.Damaged())
	}
}

func TestASnapshotCostsWhatChangedNotWhatThereIs(t *testing.T) {
	cost := func(total int) (allocations float64) {
		b := New()
		for n := range total {
			if _, err := b.Add(nhi.Number{Lo: uint64(n)}, 0); err != nil {
				t.Fatal(err)
			}
		}
		b.Snapshot(nil)
		return testing.AllocsPerRun(10, func() {
			for n := range 100 {
				b.Write(Slot(n * (total / 100)))
			}
			if s := b.Snapshot(nil); s.Len() != 100 || len(s.pages) != 100*surprise.PageSize || cap(s.pages) > 101*surprise.PageSize {
				t.Fatalf("%d pages in %d bytes", s.Len(), cap(s.pages))
			}
		})
	}
	if few, many := cost(500), cost(4000); many > few+1 {
		t.Errorf("a snapshot of 100 pages allocates %v times among 500 and %v among 4,000", few, many)
	}
}

func TestLookingUpAPageAllocatesNothing(t *testing.T) {
	b := New()
	learn(t, b, 1, 1)
	id := nhi.IdentityID("aws", "1", "1")
	if n := testing.AllocsPerRun(100, func() {
		slot, _ := b.Find(id.Number())
		b.Page(slot)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTheHeapHoldsLittleForEachPage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pages are mapped on Linux only, and this is " + runtime.GOOS)
	}
	dir := t.TempDir()
	b, folder := mustOpen(t, dir)
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const many = 4000
	for n := range many {
		if _, err := b.Add(nhi.Number{Hi: uint64(n), Lo: 1}, 0); err != nil {
			t.Fatal(err)
		}
		if b.Dirty() == 1000 {
			mustSave(t, b, folder)
		}
	}
	mustSave(t, b, folder)
	held := int64(heap()-before) / many
	if held > 128 {
		t.Errorf("%d bytes of heap for each page, at most 128 are meant", held)
	}
	runtime.KeepAlive(b)
}

func BenchmarkFindMapped(b *testing.B) {
	book, _ := mustOpen(b, b.TempDir())
	for n := range 10_000 {
		if _, err := book.Add(number(n), 0); err != nil {
			b.Fatal(err)
		}
	}
	id := nhi.IdentityID("aws", "1", "7777")
	b.ReportAllocs()
	for b.Loop() {
		slot, _ := book.Find(id.Number())
		book.Page(slot)
	}
}

func BenchmarkFind(b *testing.B) {
	book := New()
	for n := range 100_000 {
		if _, err := book.Add(number(n), 0); err != nil {
			b.Fatal(err)
		}
	}
	id := nhi.IdentityID("aws", "1", "77777")
	b.ReportAllocs()
	for b.Loop() {
		slot, _ := book.Find(id.Number())
		book.Page(slot)
	}
}
