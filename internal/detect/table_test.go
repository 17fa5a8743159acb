package detect

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// reopened opens a folder and a Detector of what it holds.
func reopened(t testing.TB, dir string, s Settings) (*Detector, *checkpoint.Folder) {
	t.Helper()
	folder, state, err := checkpoint.OpenFolder(checkpoint.Dir(dir), Spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := folder.Close(); err != nil {
			t.Error(err)
		}
	})
	d := New(s, alive, nil)
	if err := d.Open(folder, state); err != nil {
		t.Fatal(err)
	}
	return d, folder
}

// save saves as the learner does.
func save(t testing.TB, d *Detector, folder *checkpoint.Folder) (rows int, err error) {
	t.Helper()
	m, err := d.Image()
	if err != nil {
		t.Fatal(err)
	}
	delta := m.Delta()
	if err := folder.Commit([]checkpoint.Part{m.Part()}, []checkpoint.Delta{delta}); err != nil {
		d.Return(m)
		return 0, err
	}
	for at := 0; at < m.Len(); {
		at = d.Settle(m, at)
	}
	return len(delta.Places), nil
}

func saved(t testing.TB, d *Detector, folder *checkpoint.Folder) (rows int) {
	t.Helper()
	rows, err := save(t, d, folder)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestALifeIsAsLongAsTheTableSays(t *testing.T) {
	if n := binary.Size(life{}); n != lifeSize {
		t.Errorf("a life has %d bytes, want %d", n, lifeSize)
	}
}

func TestRestartsOnATableChangeNoStory(t *testing.T) {
	run := func(restart func(*Detector) *Detector) []nhi.Finding {
		d := New(Settings{Actors: 20}, alive, nil)
		var all []nhi.Finding
		for i := range 600 {
			if i%40 == 39 {
				d = restart(d)
			}
			ev, score := odd(spring.Add(time.Duration(i)*5*time.Minute), map[surprise.Feature]float64{surprise.ASN: float64(i % 17), surprise.Agent: float64(i % 5)})
			ev.Identity = nhi.ID(fmt.Sprint("nhi_", i%7+i/60*3)) // some never come back
			all = append(all, d.Observe(ev, score).Findings...)
		}
		return append(all, d.Flush()...)
	}
	whole := run(func(d *Detector) *Detector {
		image, err := d.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		d = New(Settings{Actors: 20}, alive, nil)
		if err := d.UnmarshalBinary(image); err != nil {
			t.Fatal(err)
		}
		return d
	})
	dir := t.TempDir()
	first, folder := reopened(t, dir, Settings{Actors: 20})
	_ = first
	table := run(func(d *Detector) *Detector {
		saved(t, d, folder)
		d, folder = reopened(t, dir, Settings{Actors: 20})
		return d
	})
	if len(whole) == 0 {
		t.Fatal("nothing was found")
	}
	if diff := cmp.Diff(whole, table, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("restarts from whole images (-) and from the table (+):\n%s", diff)
	}
}

func TestASaveTakesOnlyTheLivesThatChanged(t *testing.T) {
	dir := t.TempDir()
	d, folder := reopened(t, dir, Settings{})
	observe := func(n int, at time.Time) {
		ev, score := odd(at, nil)
		ev.Identity = nhi.ID(fmt.Sprint("nhi_", n))
		d.Observe(ev, score)
	}
	const many, few = 3000, 10
	for n := range many {
		observe(n, spring)
	}
	if n := saved(t, d, folder); n != many {
		t.Errorf("the first save has %d lives, want %d", n, many)
	}
	for n := range few {
		observe(n, spring.Add(time.Second))
	}
	m, err := d.Image()
	if err != nil || len(m.rows) != few {
		t.Fatalf("the second save has %d lives, want %d (%v)", len(m.rows), few, err)
	}
	d.Return(m)
	if n := saved(t, d, folder); n != few {
		t.Errorf("after a save that failed the next has %d lives, want %d", n, few)
	}
}

func TestADamagedLifeBeginsAnewAndIsRepaired(t *testing.T) {
	dir := t.TempDir()
	d, folder := reopened(t, dir, Settings{})
	for n := range 3 {
		ev, score := odd(spring, nil)
		ev.Identity = nhi.ID(fmt.Sprint("nhi_", n))
		d.Observe(ev, score)
	}
	saved(t, d, folder)
	path := filepath.Join(dir, Table)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[rowSize+9] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	d, folder = reopened(t, dir, Settings{})
	if n := d.actors.Len(); n != 2 {
		t.Errorf("%d lives, want 2", n)
	}
	if n := saved(t, d, folder); n != 1 {
		t.Errorf("the next save has %d rows, want the one that was damaged", n)
	}
	if data, err = os.ReadFile(path); err != nil || !checkpoint.Sealed(data[rowSize:2*rowSize]) {
		t.Errorf("the row is still damaged (%v)", err)
	}
}

func TestForgottenActorsLeaveTheirPlaces(t *testing.T) {
	d, folder := reopened(t, t.TempDir(), Settings{Actors: 100})
	for i := range 5000 {
		ev, score := odd(spring.Add(time.Duration(i)*time.Minute), nil)
		ev.Identity = nhi.ID(fmt.Sprint("nhi_", i))
		d.Observe(ev, score)
		if i%77 == 0 {
			saved(t, d, folder)
		}
	}
	if d.actors.Count() > 160 {
		t.Errorf("%d places for at most 100 actors", d.actors.Count())
	}
}

// Before a save so many come that some are forgotten again; their places must be
// in the table all the same, or the next start misses rows.
func TestWhoIsForgottenBeforeASaveLeavesNoHoleInTheTable(t *testing.T) {
	for first := 19; first < 60; first += 3 {
		dir := t.TempDir()
		d, folder := reopened(t, dir, Settings{Actors: 20})
		for i := range first {
			ev, score := odd(spring.Add(time.Duration(i)*time.Minute), nil)
			ev.Identity = nhi.ID(fmt.Sprint("nhi_", i))
			d.Observe(ev, score)
			if i == first/2 { // a save that fails
				m, err := d.Image()
				if err != nil {
					t.Fatal(err)
				}
				d.Return(m)
			}
		}
		saved(t, d, folder)
		again, folder := reopened(t, dir, Settings{Actors: 20})
		if got, want := again.actors.Len(), d.actors.Len(); got != want || again.actors.Count() != d.actors.Count() {
			t.Errorf("of %d lives in %d places %d came back, in %d places", want, d.actors.Count(), got, again.actors.Count())
		}
		data, err := os.ReadFile(filepath.Join(dir, Table))
		if err != nil {
			t.Fatal(err)
		}
		for place := range d.actors.Count() {
			if !checkpoint.Sealed(data[place*rowSize : (place+1)*rowSize]) {
				t.Errorf("after %d the table has a hole at %d of %d", first, place, d.actors.Count())
			}
		}
		if n := saved(t, again, folder); n != 0 {
			t.Errorf("the next save has %d rows, and nothing changed", n)
		}
	}
}
