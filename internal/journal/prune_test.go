package journal

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// daily is a journal with ten days of ten records each.
func daily(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir, Settings{SegmentAge: 20 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for day := range 10 {
		for i := range 10 {
			appendAll(t, j, fmt.Sprintf("day %d record %d", day, i))
			time.Sleep(time.Hour) // of the bubble
		}
		time.Sleep(14 * time.Hour)
	}
	return j
}

func TestWhatIsOutdatedIsPrunedAndTheRestIsStillProvable(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j := daily(t, dir)
		defer j.Close()
		const all = 100
		segment := int64(headerSize + 10*recordSize(len("day 0 record 0")))
		for _, tt := range []struct {
			name  string
			since time.Duration // ago
			most  int64
			upTo  uint64
			want  uint64 // the first record that stays; 0: nothing goes
		}{
			{"no bound", 0, 0, all, 0},
			{"all is younger", 11 * 24 * time.Hour, 0, all, 0},
			{"three days stay", 3*24*time.Hour + time.Hour, 0, all, 61},
			{"the segment in use stays", time.Nanosecond, 0, all, 91},
			{"a reader is not as far", time.Nanosecond, 0, 34, 31},
			{"a reader read nothing", time.Nanosecond, 0, 0, 0},
			{"room for four days", 0, 4 * segment, all, 61},
			{"room for nothing", 0, 1, all, 91},
			{"room for nothing, and a reader", 0, 1, 10, 11},
		} {
			var since time.Time
			if tt.since > 0 {
				since = time.Now().Add(-tt.since)
			}
			got, err := j.Outdated(since, tt.most, tt.upTo)
			if err != nil || got.First != tt.want {
				t.Errorf("%s: cut at %d, %v, want %d", tt.name, got.First, err, tt.want)
			}
			if tt.want > 0 && (got.Segments != int(tt.want/10) || got.Bytes != int64(got.Segments)*segment) {
				t.Errorf("%s: %+v", tt.name, got)
			}
		}

		var before Hash
		for rec, err := range j.Read(60) {
			if err != nil {
				t.Fatal(err)
			}
			before = rec.Hash
			break
		}
		cut, err := j.Outdated(time.Now().Add(-3*24*time.Hour-time.Hour), 0, all)
		if err != nil || cut.Before != before {
			t.Fatalf("cut after %x, %v, want the hash of record 60", cut.Before, err)
		}
		if err := j.Prune(cut.First); err != nil {
			t.Fatal(err)
		}
		if r, err := j.Verify(t.Context()); err != nil || r.First != 61 || r.Records != 40 {
			t.Errorf("Verify after the cut: %+v, %v", r, err)
		}
		if again, err := j.Outdated(time.Now().Add(-3*24*time.Hour-time.Hour), 0, all); err != nil || again != (Prefix{}) {
			t.Errorf("again: %+v, %v, want nothing", again, err)
		}
	})
}

func TestASegmentIsClosedWhenItIsOldAndNotBefore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j, err := Open(dir, Settings{SegmentAge: 20 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, j, "one")
		time.Sleep(15 * time.Hour)
		j.Close()
		if j, err = Open(dir, Settings{SegmentAge: 20 * time.Hour}); err != nil { // the age is the segment's, not the process's
			t.Fatal(err)
		}
		defer j.Close()
		appendAll(t, j, "two")
		time.Sleep(6 * time.Hour)
		appendAll(t, j, "three", "four")
		names, err := segments(dir)
		if diff := cmp.Diff([]uint64{1, 3}, names); err != nil || diff != "" {
			t.Errorf("segments %v, %v: %s", names, err, diff)
		}
	})
}

// An attacker who sets the clock back, or a machine that wakes in 1970, must not
// make yesterday's records look old.
func TestAClockThatWasWrongForAWhileMakesNothingOutdated(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	j := open(t, dir, Settings{SegmentSize: 1})
	appendAll(t, j, "one", "two", "three", "four")
	if _, err := Verify(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	// The third segment says that it was begun in 1970.
	edit(t, segmentPath(dir, 3), func(b []byte) []byte {
		h, err := decodeSegmentHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		h.at = time.Unix(0, 0)
		return append(h.encode(), b[headerSize:]...)
	})
	if got, err := j.Outdated(now.Add(-time.Hour), 0, 4); err != nil || got != (Prefix{}) {
		t.Errorf("outdated: %+v, %v, want nothing", got, err)
	}
}

func TestAFolderThatMayNotBeWrittenRefusesAndRecoversByItself(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EROFS, syscall.EPERM} {
		j := open(t, t.TempDir(), Settings{Reserve: 1})
		appendAll(t, j, "one")
		j.cur.f = &failingFile{file: j.cur.f, write: errno}
		if _, err := j.Append([]byte("refused")); !errors.Is(err, ErrReadOnly) || errors.Is(err, ErrBroken) {
			t.Fatalf("Append = %v, want ErrReadOnly", err)
		}
		if err := j.Health().Err; !errors.Is(err, ErrReadOnly) {
			t.Errorf("Health().Err = %v, want ErrReadOnly", err)
		}
		// Nobody appends: whoever looks after the journal finds that it can.
		if err := j.Rearm(); err != nil || j.Health().Err != nil {
			t.Errorf("Rearm = %v, Health().Err = %v", err, j.Health().Err)
		}
		appendAll(t, j, "two")
		if diff := cmp.Diff([]string{"one", "two"}, payloads(t, reading(j), 0)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAWriteThatStoppedHalfWayIsNotTakenForARefusal(t *testing.T) {
	j := open(t, t.TempDir(), Settings{})
	appendAll(t, j, "one")
	j.cur.f = &failingFile{file: j.cur.f, write: syscall.EROFS, half: true}
	if _, err := j.Append([]byte("half")); !errors.Is(err, ErrBroken) {
		t.Errorf("Append = %v, want ErrBroken", err)
	}
	if err := j.Rearm(); err != nil || !errors.Is(j.Health().Err, ErrBroken) {
		t.Errorf("Rearm = %v, Health().Err = %v, want it broken for good", err, j.Health().Err)
	}
}

func TestRecordsThatNobodyWaitsForAreCountedWhenTheyAreLost(t *testing.T) {
	lost := 0
	j := open(t, t.TempDir(), Settings{Lost: func(n int) { lost += n }})
	appendAll(t, j, "one")
	j.cur.f = &failingFile{file: j.cur.f, write: syscall.ENOSPC, half: true}
	if err := j.AppendAsync([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	j.flushing.Wait()
	if lost != 1 {
		t.Errorf("%d records are counted as lost, want 1", lost)
	}
	appendAll(t, j, "two")
	j.cur.f = &failingFile{file: j.cur.f, write: syscall.ENOSPC, half: true}
	if _, err := j.Append([]byte("refused")); err == nil || lost != 1 {
		t.Errorf("Append = %v with %d counted as lost, want it told to its caller alone", err, lost)
	}
}
