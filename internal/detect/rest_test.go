package detect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/checkpoint/checkpointtest"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// awake counts the actors in memory.
func awake(d *Detector) (n int) {
	for place := range int32(d.actors.Count()) {
		if d.actors.In(place) != nil {
			n++
		}
	}
	return n
}

func TestAnActorIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(actor{}); n > 64 {
		t.Errorf("an actor has %d bytes, want at most 64: there may be a million", n)
	}
}

func TestALifeComesBackAsItWas(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		raw := make([]byte, lifeSize)
		for i := range raw {
			raw[i] = byte(r.Uint32()) &^ 0x40 // no NaN, which is not equal to itself
		}
		var want, got life
		if _, err := binary.Decode(raw, binary.LittleEndian, &want); err != nil {
			t.Fatal(err)
		}
		if got.decode(raw); !reflect.DeepEqual(got, want) {
			t.Fatalf("a life is read as %+v, want %+v", got, want)
		}
		if again := got.append(nil); !bytes.Equal(again, raw) {
			t.Fatalf("a life is written as %x, want %x", again, raw)
		}
	}
}

// randomEvents is what a few identities do, a thief or two among them, out of
// order now and then.
func randomEvents(seed uint64, n, identities int) func(yield func(*nhi.Event, *surprise.Score) bool) {
	return func(yield func(*nhi.Event, *surprise.Score) bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		at, span := spring, [...]time.Duration{time.Second, time.Minute, time.Hour}[seed%3]
		for i := range n {
			if at = at.Add(time.Duration(r.Int64N(int64(span)))); r.IntN(200) == 0 {
				at = at.Add(time.Duration(r.Int64N(int64(40 * 24 * time.Hour))))
			}
			ev, score := odd(at, nil)
			ev.ID = fmt.Sprint(i)
			ev.Identity = nhi.ID(fmt.Sprint("nhi_", int(float64(identities)*r.Float64()*r.Float64())))
			ev.Credential = nhi.CredentialID(fmt.Sprint(ev.Identity, r.IntN(2)))
			ev.Operation, ev.Resource = fmt.Sprint("Get", r.IntN(1+39*r.IntN(2))), fmt.Sprint(r.IntN(1+99*r.IntN(2)))
			ev.Principal.Temporary, ev.Principal.Interactive = r.IntN(2) == 0, r.IntN(20) == 0
			if r.IntN(4) == 0 {
				ev.Status, ev.Error = nhi.Failure, "NoSuchKey"
			}
			if r.IntN(6) == 0 {
				ev.Time = at.Add(-time.Duration(r.Int64N(int64(2 * time.Hour))))
			}
			score.Established = r.IntN(3) > 0
			for f := range score.Features {
				if r.IntN(12) == 0 {
					score.Features[f] = surprise.FeatureScore{Tenths: int16(r.IntN(120)), New: true}
					score.Tenths += int(score.Features[f].Tenths)
				}
			}
			score.NewASN, score.NewAgent, score.NewAction = score.Features[surprise.ASN].New, score.Features[surprise.Agent].New, score.Features[surprise.Action].New
			if !yield(ev, score) {
				return
			}
		}
	}
}

// One Detector keeps everybody in memory; the other lets go of whom it saved and
// reads them again. Nothing that they say may differ.
func TestWhoWasPutAwayIsJudgedAsIfKept(t *testing.T) {
	told, least := 0, 1.0
	for seed := range uint64(9) {
		s := Settings{Actors: [...]int{8, 60, 1000}[seed/3]}
		kept := New(s, alive, nil)
		away, folder := reopened(t, t.TempDir(), s)
		r, i := rand.New(rand.NewPCG(seed, 2)), 0
		for ev, score := range randomEvents(seed, 500, 5+40*int(seed%4)) {
			want, got := kept.Observe(ev, score), away.Observe(ev, score)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, event %d: (-kept +put away)\n%s", seed, i, diff)
			}
			told += len(want.Findings)
			switch r.IntN(100) {
			case 0:
				saved(t, away, folder)
				least = min(least, float64(awake(away))/float64(away.actors.Len()))
			case 1: // a save that fails
				m, err := away.Image()
				if err != nil {
					t.Fatal(err)
				}
				away.Return(m)
			}
			i++
		}
		saved(t, away, folder)
		want, err := kept.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := away.MarshalBinary(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("seed %d: in the end they do not remember the same (%v)", seed, err)
		}
		if diff := cmp.Diff(kept.Flush(), away.Flush(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("seed %d, in the end: (-kept +put away)\n%s", seed, diff)
		}
	}
	if told < 100 || least > 0.5 {
		t.Errorf("%d findings were told, and at best %.0f %% were in memory: that proves little", told, 100*least)
	}
}

// A disk dies at every operation of some saves. Who goes on in the same process
// must remember what one remembers that never saved; who starts again, what was
// saved last or what was about to be.
func TestACrashLeavesTheLivesBeforeOrAfter(t *testing.T) {
	memory := func(d *Detector) string {
		image, err := d.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return string(image)
	}
	for _, power := range []bool{false, true} {
		for left := 0; ; left++ {
			dir, chance := t.TempDir(), rand.New(rand.NewPCG(uint64(left), 1))
			disk := checkpointtest.New(t, dir, left)
			kept, d := New(Settings{Actors: 30}, alive, nil), New(Settings{Actors: 30}, alive, nil)
			folder, state, err := checkpoint.OpenFolder(disk, Spec)
			if err == nil {
				err = d.Open(folder, state)
			}
			if err != nil {
				continue // it died before anything was there
			}
			before, i := memory(d), 0
			after, saves := before, 0
			for ev, score := range randomEvents(uint64(left), 120, 25) {
				kept.Observe(ev, score)
				d.Observe(ev, score)
				if i++; i%40 != 0 || disk.Died() {
					continue
				}
				after = memory(d)
				if _, err := save(t, d, folder); err == nil {
					before, saves = after, saves+1
				}
			}
			if memory(d) != memory(kept) {
				t.Fatalf("after %d operations the disk died, and what is remembered is not what happened", left)
			}
			_ = folder.Close()
			if !disk.Died() {
				break
			}
			disk.Crash(power, left%2 == 0, chance)
			again, folder := reopened(t, dir, Settings{Actors: 30})
			got := memory(again)
			if got != before && got != after {
				t.Fatalf("power lost %v after %d operations and %d saves: neither before nor after", power, left, saves)
			}
			saved(t, again, folder)
			if third, _ := reopened(t, dir, Settings{Actors: 30}); memory(third) != got {
				t.Fatalf("power lost %v after %d operations: saved again it is something else", power, left)
			}
		}
	}
}

// many lets identities act once, all within one window.
func many(d *Detector, n int, at time.Time) {
	for i := range n {
		ev, score := odd(at, nil)
		ev.Identity = nhi.ID(fmt.Sprint("nhi_", i))
		d.Observe(ev, score)
	}
}

func TestWhoIsQuietLeavesMemoryAFewAtATime(t *testing.T) {
	d, folder := reopened(t, t.TempDir(), Settings{})
	const crowd = 3000
	many(d, crowd, spring)
	saved(t, d, folder)
	if n := awake(d); n != crowd {
		t.Errorf("%d of %d actors are awake, and their windows are open", n, crowd)
	}
	later := spring.Add(time.Hour)
	many(d, 1, later)
	if n := d.Dirty(); n > 1+sweepCloses {
		t.Errorf("one event closed the windows of %d actors", n-1)
	}
	for i := 1; awake(d) > 1; i++ {
		if i > crowd {
			t.Fatalf("after %d events %d actors are awake", i, awake(d))
		}
		many(d, 1, later)
		if i%500 == 0 {
			saved(t, d, folder)
		}
	}
	for place := range int32(d.actors.Count()) {
		if l, err := d.read(place); err != nil || l.Windows > 1 || l.Windows == 0 && l.Key != keyOf("nhi_0") {
			t.Fatalf("the life at %d is %+v (%v), want one with one window", place, l, err)
		}
	}
}

// A disk that fails or a file that is cut off after the start costs the lives that
// were there, and says so.
func TestALifeThatCannotBeReadBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	d, folder := reopened(t, dir, Settings{})
	many(d, 4, spring)
	saved(t, d, folder)
	d, folder = reopened(t, dir, Settings{})
	path := filepath.Join(dir, Table)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	swapped := bytes.Clone(data[:2*rowSize]) // each is whole, and not where it belongs
	copy(swapped, data[rowSize:2*rowSize])
	copy(swapped[rowSize:], data[:rowSize])
	swapped = append(swapped, data[2*rowSize:3*rowSize]...) // and the last is cut off
	if err := os.WriteFile(path, swapped, 0o600); err != nil {
		t.Fatal(err)
	}
	many(d, 4, spring.Add(time.Hour))
	for place, want := range []uint32{1, 1, 2, 1} {
		if got := d.wake(int32(place)).Events; got != want {
			t.Errorf("after two events the life at %d has %d, want %d", place, got, want)
		}
	}
	if d.Damaged() != 3 {
		t.Errorf("%d losses were told of, want 3", d.Damaged())
	}
	saved(t, d, folder)
	if again, _ := reopened(t, dir, Settings{}); again.Damaged() != 0 || again.actors.Len() != 4 {
		t.Errorf("after a save %d of 4 lives are there and %d damaged", again.actors.Len(), again.Damaged())
	}
}

// BenchmarkReadBack measures what it takes to read a life from its table while
// the system has it in memory.
func BenchmarkReadBack(b *testing.B) {
	d, folder := reopened(b, b.TempDir(), Settings{})
	const crowd = 10_000
	many(d, crowd, spring)
	saved(b, d, folder)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := d.read(int32(i % crowd)); err != nil {
			b.Fatal(err)
		}
	}
}
