package journal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func after(j *Journal, pos Position) func(uint64) func(func(Record, error) bool) {
	return func(uint64) func(func(Record, error) bool) { return j.ReadAfter(pos) }
}

func TestReadingGoesOnBehindAnyPosition(t *testing.T) {
	j := open(t, t.TempDir(), Settings{SegmentSize: 512})
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("record number %d", i+1))
	}
	positions := appendAll(t, j, want...)
	for i, pos := range positions {
		if diff := cmp.Diff(want[i+1:], payloads(t, after(j, pos), 0)); diff != "" && i < len(want)-1 {
			t.Fatalf("ReadAfter(%d) (-want +got):\n%s", pos.Seq, diff)
		}
	}
	last := positions[len(positions)-1]
	if got := payloads(t, after(j, last), 0); len(got) != 0 {
		t.Errorf("behind the last record there is %q", got)
	}
	appendAll(t, j, "new")
	if got := payloads(t, after(j, last), 0); !cmp.Equal(got, []string{"new"}) {
		t.Errorf("after one more record there is %q", got)
	}
}

func TestAPositionThatDoesNotFitIsAFaultAndNotASilentJump(t *testing.T) {
	j := open(t, t.TempDir(), Settings{SegmentSize: 512})
	var positions []Position
	for i := range 40 {
		positions = append(positions, appendAll(t, j, fmt.Sprintf("record number %d", i+1))...)
	}
	for name, edit := range map[string]func(*Position){
		"another hash":        func(p *Position) { p.Hash[0] ^= 1 },
		"another number":      func(p *Position) { p.Seq++ },
		"into a record":       func(p *Position) { p.Offset += 8 },
		"beyond the segment":  func(p *Position) { p.Offset += 1 << 20 },
		"into the header":     func(p *Position) { p.Offset = 0 },
		"of another record":   func(p *Position) { p.Offset = positions[31].Offset },
		"of another's number": func(p *Position) { p.Seq, p.Hash = positions[31].Seq, positions[31].Hash },
	} {
		pos := positions[30]
		edit(&pos)
		var fault *Fault
		n := 0
		for _, err := range j.ReadAfter(pos) {
			n++
			if !errors.As(err, &fault) {
				t.Errorf("%s: %v, want a fault", name, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d records or errors, want one fault", name, n)
		}
	}
	if err := j.Prune(20); err != nil {
		t.Fatal(err)
	}
	for _, err := range j.ReadAfter(positions[0]) {
		if !errors.Is(err, ErrPruned) {
			t.Errorf("behind a pruned record: %v, want ErrPruned", err)
		}
	}
}

// TestFollowingCostsWhatIsNew keeps a follower from reading the whole segment
// again for each record, which made a busy server's learning cost more than
// its decisions.
func TestFollowingCostsWhatIsNew(t *testing.T) {
	j := open(t, t.TempDir(), Settings{})
	positions := appendAll(t, j, "first")
	for range 200 {
		appendAll(t, j, "before")
	}
	positions = append(positions, appendAll(t, j, "last")...)
	appendAll(t, j, "new")
	cost := func(pos Position) float64 {
		return testing.AllocsPerRun(5, func() { payloads(t, after(j, pos), 0) })
	}
	if early, late := cost(positions[0]), cost(positions[1]); late > early/4 {
		t.Errorf("one new record of 200 costs %.0f allocations, all of them %.0f", late, early)
	}
}
