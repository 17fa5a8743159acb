package places

import (
	"math/rand/v2"
	"testing"
)

// A model is the same with maps.
type model struct {
	size       int
	young, old map[uint64]bool
}

func (m *model) get(key uint64) (known bool) {
	if m.young[key] {
		return true
	}
	known = m.old[key]
	delete(m.old, key)
	if len(m.young) >= m.size {
		m.old, m.young = m.young, map[uint64]bool{}
	}
	m.young[key] = true
	return known
}

func TestTheLatestAreRememberedAndTheOthersForgotten(t *testing.T) {
	for _, size := range []int{1, 2, 3, 10, 100, 3000} {
		r, half := rand.New(rand.NewPCG(uint64(size), 1)), max(size/2, 1)
		m, lost := model{half, map[uint64]bool{}, map[uint64]bool{}}, map[uint64]bool{}
		p := New(size, func(key *uint64) { lost[*key] = true })
		for range 20 * (size + 50) {
			key := uint64(r.IntN(2*size + 5))
			place, known := p.Get(key)
			if want := m.get(key); known != want {
				t.Fatalf("of %d: %d is known: %v, want %v", size, key, known, want)
			}
			if delete(lost, key); !known {
				p.Put(place, &key)
				p.SetNote(place, key%3 == 0)
			}
			if p.Key(place) != key || *p.In(place) != key || p.Note(place) != (key%3 == 0) || p.Generation(place) != p.Round() {
				t.Fatalf("of %d: at the place of %d is %d", size, key, p.Key(place))
			}
		}
		for key := range uint64(2*size + 5) {
			place, known := p.Find(key)
			if known != (m.young[key] || m.old[key]) || known && (p.Key(place) != key || lost[key]) {
				t.Errorf("of %d: %d is known in the end: %v, told to be lost: %v", size, key, known, lost[key])
			}
		}
		if p.Len() != len(m.young)+len(m.old) || p.Young() != len(m.young) || p.Count() > 2*half+1 {
			t.Errorf("of %d: %d keys in %d places, want %d", size, p.Len(), p.Count(), len(m.young)+len(m.old))
		}
	}
}

func TestATableGivesBackItsPlaces(t *testing.T) {
	const size = 1000
	p := New(size, func(*int) {})
	for key := range uint64(900) {
		p.Get(key * 7)
	}
	type row struct {
		key   uint64
		round uint32
	}
	rows := make([]row, p.Count())
	for i := range rows {
		rows[i] = row{p.Key(int32(i)), p.Generation(int32(i))}
	}
	rows[3].round, rows[5], rows[7].round = 1, rows[4], 9 // long forgotten, there twice, of no generation
	back := New(size, func(*int) {})
	back.Open(len(rows), p.Round())
	for i, r := range rows {
		if got, want := back.Restore(int32(i), r.key, r.round), i != 3 && i != 5 && i != 7; got != want {
			t.Errorf("row %d is taken: %v, want %v", i, got, want)
		}
	}
	if back.Len() != 897 || back.Round() != p.Round() {
		t.Errorf("%d keys in round %d, want 897 in %d", back.Len(), back.Round(), p.Round())
	}
	for i, r := range rows {
		if place, known := back.Find(r.key); i != 3 && i != 5 && i != 7 && (!known || int(place) != i) {
			t.Errorf("the key of row %d is at %d (%v)", i, place, known)
		}
	}
	for range 3 { // the free ones are used first
		if place, known := back.Get(rand.Uint64() | 1<<63); known || int(place) >= len(rows) {
			t.Errorf("a new key got place %d (%v)", place, known)
		}
	}
	if place, ok := back.Add(1<<62, back.Round()-1); !ok || int(place) != len(rows) || back.Generation(place) != p.Round()-1 {
		t.Errorf("an old key got place %d (%v)", place, ok)
	}
}

func BenchmarkGet(b *testing.B) {
	p := New(1<<21, func(*int) {})
	for key := range uint64(1_000_000) {
		p.Get(key)
	}
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		p.Get(i * 7919 % 1_000_000)
	}
}
