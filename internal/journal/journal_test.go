package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t testing.TB, dir string, set Settings) *Journal {
	t.Helper()
	j, err := Open(dir, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func appendAll(t testing.TB, j *Journal, payloads ...string) []Position {
	t.Helper()
	var all []Position
	for _, p := range payloads {
		pos, err := j.Append([]byte(p))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pos)
	}
	return all
}

// payloads reads everything from seq on.
func payloads(t testing.TB, records func(uint64) func(func(Record, error) bool), from uint64) []string {
	t.Helper()
	var got []string
	for rec, err := range records(from) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(rec.Payload))
	}
	return got
}

func reading(j *Journal) func(uint64) func(func(Record, error) bool) {
	return func(from uint64) func(func(Record, error) bool) { return j.Read(from) }
}

func TestAppendedRecordsAreReadBackInOrder(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	before := time.Now().Truncate(time.Microsecond)
	appendAll(t, j, "one", "two", "three")
	if diff := cmp.Diff([]string{"one", "two", "three"}, payloads(t, reading(j), 0)); diff != "" {
		t.Errorf("Read(0) (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"three"}, payloads(t, reading(j), 3)); diff != "" {
		t.Errorf("Read(3) (-want +got):\n%s", diff)
	}
	if got := payloads(t, reading(j), 4); got != nil {
		t.Errorf("Read beyond the end = %q, want nothing", got)
	}
	for rec, err := range j.Read(0) {
		if err != nil || rec.At.Before(before) || rec.At.After(time.Now()) {
			t.Errorf("record %d at %v, error %v", rec.Seq, rec.At, err)
		}
	}
}

func TestReopeningContinuesSequenceAndChain(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	last := appendAll(t, j, "one", "two")[1]
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, Settings{})
	if got := j.Last(); got != last {
		t.Errorf("Last() = %+v, want %+v", got, last)
	}
	if got := j.Recovered(); got != (Torn{}) {
		t.Errorf("Recovered() = %+v after a clean close", got)
	}
	appendAll(t, j, "three")
	r, err := j.Verify(t.Context())
	if err != nil || r.First != 1 || r.Last != 3 || r.Records != 3 || r.Hash != j.Last().Hash {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
}

func TestSegmentsRollAndAreChained(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{SegmentSize: 512})
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("record number %d", i+1))
	}
	positions := appendAll(t, j, want...)
	r, err := j.Verify(t.Context())
	if err != nil || r.Segments < 5 || r.Records != 40 {
		t.Fatalf("Verify() = %+v, %v, want 40 records in several segments", r, err)
	}
	for from := range uint64(41) {
		first := max(from, 1)
		if diff := cmp.Diff(want[first-1:], payloads(t, reading(j), from)); diff != "" {
			t.Fatalf("Read(%d) (-want +got):\n%s", from, diff)
		}
	}
	for i, pos := range positions {
		if rec, err := j.At(pos); err != nil || string(rec.Payload) != want[i] {
			t.Errorf("At(%+v) = %q, %v, want %q", pos, rec.Payload, err, want[i])
		}
	}
	j.Close()
	j = open(t, dir, Settings{SegmentSize: 512})
	if diff := cmp.Diff(want, payloads(t, reading(j), 0)); diff != "" {
		t.Errorf("after reopening (-want +got):\n%s", diff)
	}
}

func TestPruningKeepsTheRestVerifiable(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{SegmentSize: 512})
	for i := range 40 {
		appendAll(t, j, fmt.Sprintf("record number %d", i+1))
	}
	if err := j.Prune(20); err != nil {
		t.Fatal(err)
	}
	first := j.First()
	if first <= 1 || first > 20 {
		t.Fatalf("First() = %d, want something in 2 to 20", first)
	}
	if r, err := j.Verify(t.Context()); err != nil || r.First != first || r.Last != 40 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	for _, err := range j.Read(1) {
		if !errors.Is(err, ErrPruned) {
			t.Errorf("Read(1) error = %v, want ErrPruned", err)
		}
	}
	if got := len(payloads(t, reading(j), 0)); got != 41-int(first) {
		t.Errorf("Read(0) gave %d records", got)
	}
	j.Close()
	if j = open(t, dir, Settings{}); j.First() != first {
		t.Errorf("First() = %d after reopening, want %d", j.First(), first)
	}
}

func TestConcurrentAppendersShareOneHistory(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{SegmentSize: 8 << 10, QueueSize: 1})
	const callers, each = 16, 50
	seen := make([][]Position, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				pos, err := j.Append(fmt.Appendf(nil, "caller %d record %d", c, i))
				if err != nil {
					t.Error(err)
					return
				}
				seen[c] = append(seen[c], pos)
			}
		})
	}
	wg.Wait()
	at := map[uint64]Position{}
	for rec, err := range j.Read(0) {
		if err != nil {
			t.Fatal(err)
		}
		at[rec.Seq] = rec.Position
	}
	if len(at) != callers*each {
		t.Errorf("%d records, want %d", len(at), callers*each)
	}
	for _, positions := range seen {
		if !slices.IsSortedFunc(positions, func(a, b Position) int { return int(a.Seq) - int(b.Seq) }) {
			t.Errorf("a caller's records are out of order: %v", positions)
		}
		for _, pos := range positions {
			if at[pos.Seq] != pos {
				t.Errorf("Append returned %+v, Read says %+v", pos, at[pos.Seq])
			}
		}
	}
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAsynchronousRecordsAreDurableAfterClose(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint(i))
		if err := j.AppendAsync([]byte(want[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, payloads(t, reading(open(t, dir, Settings{})), 0)); diff != "" {
		t.Error(diff)
	}
}

func TestAFullQueueRefusesAsynchronousRecordsAndDelaysOthers(t *testing.T) {
	j := open(t, t.TempDir(), Settings{QueueSize: 1}) // raised to one largest record
	slow := &slowFile{file: j.cur.f, started: make(chan struct{}, 10), goOn: make(chan struct{})}
	j.cur.f = slow
	big := make([]byte, MaxRecord)
	if err := j.AppendAsync(big); err != nil { // being written
		t.Fatal(err)
	}
	<-slow.started
	if err := j.AppendAsync(big); err != nil { // waiting
		t.Fatal(err)
	}
	if err := j.AppendAsync([]byte("x")); !errors.Is(err, ErrQueue) {
		t.Errorf("AppendAsync on a full queue = %v, want ErrQueue", err)
	}
	done := make(chan error)
	go func() {
		_, err := j.Append([]byte("waits for room"))
		done <- err
	}()
	close(slow.goOn)
	if err := <-done; err != nil {
		t.Errorf("Append = %v, want it to wait for room", err)
	}
}

type slowFile struct {
	file
	started, goOn chan struct{}
}

func (f *slowFile) Sync() error {
	f.started <- struct{}{}
	<-f.goOn
	return f.file.Sync()
}

func TestRecordsOutsideTheLimitsAreRefused(t *testing.T) {
	j := open(t, t.TempDir(), Settings{})
	for _, size := range []int{0, MaxRecord + 1} {
		if _, err := j.Append(make([]byte, size)); !errors.Is(err, ErrSize) {
			t.Errorf("Append of %d bytes = %v, want ErrSize", size, err)
		}
	}
	if _, err := j.Append(make([]byte, MaxRecord)); err != nil {
		t.Errorf("Append of the largest record = %v", err)
	}
}

func TestASecondJournalOnTheFolderIsRefused(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	if _, err := Open(dir, Settings{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open = %v, want ErrLocked naming the folder", err)
	}
	j.Close()
	if j, err := Open(dir, Settings{}); err != nil {
		t.Errorf("Open after Close = %v", err)
	} else {
		j.Close()
	}
}

func TestAClosedJournalRefusesRecords(t *testing.T) {
	j := open(t, t.TempDir(), Settings{})
	j.Close()
	if _, err := j.Append([]byte("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close = %v, want ErrClosed", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	appendAll(t, j, "one")
	j.Close()
	edit(t, segmentPath(dir, 1), func(b []byte) []byte { b[8] = version + 1; return b })
	if _, err := Open(dir, Settings{}); !errors.Is(err, ErrNewer) {
		t.Errorf("Open = %v, want ErrNewer", err)
	}
	if _, err := Verify(t.Context(), dir); !errors.Is(err, ErrNewer) {
		t.Errorf("Verify = %v, want ErrNewer", err)
	}
}

func TestASegmentWhoseCreationWasInterruptedIsForgotten(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	appendAll(t, j, "one")
	j.Close()
	path := segmentPath(dir, 2) + ".tmp"
	if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	appendAll(t, open(t, dir, Settings{}), "two")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
}

// failingFile fails one call as a bad disk would.
type failingFile struct {
	file
	write, sync error
	half        bool // write half before failing
}

func (f *failingFile) WriteAt(b []byte, off int64) (int, error) {
	if f.write == nil {
		return f.file.WriteAt(b, off)
	}
	err := f.write
	f.write = nil
	if f.half {
		n, _ := f.file.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return 0, err
}

func (f *failingFile) Sync() error {
	if err := f.sync; err != nil {
		f.sync = nil // as on Linux, where the next sync says all is well
		return err
	}
	return f.file.Sync()
}

func TestAFailedWriteOrSyncStopsTheJournalForGood(t *testing.T) {
	for name, broken := range map[string]*failingFile{
		"a write that fails":              {write: syscall.EIO},
		"a write that fails half way":     {write: syscall.EIO, half: true},
		"a sync that fails":               {sync: syscall.EIO},
		"a sync that finds the disk full": {sync: syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, Settings{})
			appendAll(t, j, "one")
			broken.file = j.cur.f
			j.cur.f = broken
			for range 3 {
				if _, err := j.Append([]byte("lost?")); !errors.Is(err, ErrBroken) {
					t.Fatalf("Append = %v, want ErrBroken each time", err)
				}
			}
			if err := j.AppendAsync([]byte("lost?")); !errors.Is(err, ErrBroken) {
				t.Errorf("AppendAsync = %v, want ErrBroken", err)
			}
			if err := j.Health().Err; !errors.Is(err, ErrBroken) {
				t.Errorf("Health().Err = %v, want ErrBroken", err)
			}
			if j.Last().Seq != 1 {
				t.Errorf("Last() = %+v, want record 1", j.Last())
			}
			if err := j.Close(); !errors.Is(err, ErrBroken) {
				t.Errorf("Close = %v, want ErrBroken", err)
			}
			j = open(t, dir, Settings{})
			if got := payloads(t, reading(j), 0); got[0] != "one" {
				t.Errorf("after reopening: %q", got)
			}
			appendAll(t, j, "goes on")
		})
	}
}

func TestWithoutAReserveAFullDiskRefusesUntilThereIsRoom(t *testing.T) {
	j := open(t, t.TempDir(), Settings{})
	appendAll(t, j, "one")
	j.cur.f = &failingFile{file: j.cur.f, write: syscall.ENOSPC, half: true}
	if _, err := j.Append([]byte("no room")); !errors.Is(err, ErrFull) {
		t.Fatalf("Append on a full disk = %v, want ErrFull", err)
	}
	if err := j.Health().Err; !errors.Is(err, ErrFull) {
		t.Errorf("Health().Err = %v, want ErrFull", err)
	}
	appendAll(t, j, "two") // the fake disk has room again
	if err := j.Health().Err; err != nil {
		t.Errorf("Health().Err = %v once there is room", err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, payloads(t, reading(j), 0)); diff != "" {
		t.Error(diff)
	}
}

func TestAFullDiskMovesTheJournalToItsReserve(t *testing.T) {
	dir := t.TempDir()
	set := Settings{Reserve: 1, SegmentSize: 1 << 20} // raised to the smallest that works
	j := open(t, dir, set)
	size := j.Health().Reserve
	if info, err := os.Stat(filepath.Join(dir, "reserve")); err != nil || info.Size() != size || size == 0 {
		t.Fatalf("reserve: %v, health says %d", err, size)
	}
	appendAll(t, j, "one")
	j.cur.f = &failingFile{file: j.cur.f, write: syscall.ENOSPC, half: true}
	appendAll(t, j, "two", "three")
	if h := j.Health(); !h.OnReserve || h.Reserve != 0 || h.Err != nil {
		t.Errorf("Health() = %+v, want it to say that the reserve is in use", h)
	}
	if _, err := Verify(context.Background(), dir); err != nil { // with zeros behind the records
		t.Errorf("Verify while on the reserve: %v", err)
	}
	if err := j.Rearm(); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 400<<10) // fills the reserve, so a segment follows it
	appendAll(t, j, big, big, big)
	if h := j.Health(); h.OnReserve || h.Reserve != size {
		t.Errorf("Health() = %+v, want it off the reserve and armed again", h)
	}
	want := []string{"one", "two", "three", big, big, big}
	if diff := cmp.Diff(want, payloads(t, reading(j), 0)); diff != "" {
		t.Error(diff)
	}
	j.Close()
	j = open(t, dir, set)
	if r, err := j.Verify(t.Context()); err != nil || r.Records != 6 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
}

func TestACrashOnTheReserveLosesNothing(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	j := open(t, dir, Settings{Reserve: 1})
	appendAll(t, j, "one")
	j.cur.f = &failingFile{file: j.cur.f, write: syscall.ENOSPC}
	appendAll(t, j, "two", "three")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // what a crash leaves
		t.Fatal(err)
	}
	j = open(t, copied, Settings{Reserve: 1})
	if diff := cmp.Diff([]string{"one", "two", "three"}, payloads(t, reading(j), 0)); diff != "" {
		t.Error(diff)
	}
	appendAll(t, j, "four")
	if r, err := j.Verify(t.Context()); err != nil || r.Last != 4 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
}

func edit(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsThatNobodyWaitsForShareSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var groups int
		j, err := Open(t.TempDir(), Settings{Wrote: func(time.Duration) { groups++ }})
		if err != nil {
			t.Fatal(err)
		}
		const n = 100
		for i := range n {
			if err := j.AppendAsync([]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if most := n/5 + 1; groups > most || groups < 2 {
			t.Errorf("%d records in %v took %d writes, want at most %d", n, n*time.Millisecond, groups, most)
		}
		// Who waits for a record does not wait for company, nor does Close.
		if err := j.AppendAsync([]byte("a")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if p, err := j.Append([]byte("b")); err != nil || p.Seq != n+2 {
			t.Fatalf("%+v, %v", p, err)
		}
		if err := j.AppendAsync([]byte("c")); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		if last := j.Last().Seq; last != n+3 {
			t.Errorf("the last record is %d", last)
		}
	})
}
