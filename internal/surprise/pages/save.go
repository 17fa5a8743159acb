package pages

import (
	"os"
	"slices"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/surprise"
)

// A Snapshot is what changed in a Book since the Snapshot before.
type Snapshot struct {
	count  int
	places []uint32
	pages  []byte
	slots  []about
	used   []bool
}

// Room returns an empty Snapshot with room for n pages, so that the writer need
// not wait until memory was found for it.
func Room(n int) *Snapshot {
	s := &Snapshot{places: make([]uint32, 0, n), slots: make([]about, 0, n), used: make([]bool, 0, n), pages: make([]byte, 0, n*surprise.PageSize)}
	for memory := s.pages[:cap(s.pages)]; len(memory) > 0; memory = memory[min(len(memory), 4096):] {
		memory[0] = 0 // now the system gives it, not later
	}
	return s
}

// Snapshot takes what changed, and regards it as saved from now on; whoever
// cannot save it calls Return. It is the writer's, who waits for as long as it
// takes to copy the pages into room, which may be nil.
func (b *Book) Snapshot(room *Snapshot) *Snapshot {
	s := room
	if s == nil {
		s = Room(len(b.changed))
	}
	s.count = b.count
	slices.Sort(b.changed)
	for _, slot := range b.changed {
		c, at := b.at(slot)
		state := c.state[at].And(^uint32(dirty))
		raw, err := take(&c.pages[at], s.pages)
		if err != nil { // the file was cut, and the copy in memory went with it
			b.lose(c, at, err)
			continue
		}
		s.places, s.slots, s.pages = append(s.places, uint32(slot)), append(s.slots, c.about[at]), raw
		s.used = append(s.used, state&used != 0)
	}
	b.changed = b.changed[:0]
	return s
}

// Len returns how many pages a Snapshot has.
func (s *Snapshot) Len() int { return len(s.places) }

// Deltas returns what is to be given to the folder's next Commit or Spill.
func (s *Snapshot) Deltas(folder *checkpoint.Folder) []checkpoint.Delta {
	rows := make([]byte, 0, len(s.slots)*slotSize)
	for i, a := range s.slots {
		row := slotRow{about: a, history: folder.History(), commit: folder.Number() + 1}
		row.sum = checkpoint.Sum(s.pages[i*surprise.PageSize+8 : (i+1)*surprise.PageSize])
		if !s.used[i] {
			row = slotRow{}
		}
		rows = row.append(rows)
		checkpoint.Seal(rows[len(rows)-slotSize:])
	}
	return []checkpoint.Delta{
		{Table: PagesTable, Count: s.count, Places: s.places, Rows: s.pages},
		{Table: SlotsTable, Count: s.count, Places: s.places, Rows: rows},
	}
}

// Return says that a Snapshot could not be saved: its pages are part of the next
// one. It is the writer's.
func (b *Book) Return(s *Snapshot) {
	for _, place := range s.places {
		b.touch(Slot(place))
	}
}

// Settle gives the memory of a Snapshot's pages back to the system, of those that
// did not change again. Call it when the Commit with its Deltas succeeded, and
// before the next Snapshot. It goes on at from and returns where it stopped, a
// thousand pages later, so that the writer need not wait; it is done when that is
// s.Len(). It is the writer's.
func (b *Book) Settle(s *Snapshot, from int) int {
	const step = 1024
	to, per := min(from+step, len(s.places)), max(1, os.Getpagesize()/surprise.PageSize)
	for i := from; i < to; i++ {
		slot := int(s.places[i])
		c, at := b.at(Slot(slot))
		first := at / per * per
		if !c.mapped || i > from && int(s.places[i-1])/per == slot/per || !c.clean(first, per) {
			continue
		}
		release(c.pages[first : first+per])
	}
	return to
}

// clean reports whether none of some pages changed since the last snapshot.
func (c *chunk) clean(first, n int) bool {
	for i := first; i < first+n; i++ {
		if c.state[i].Load()&dirty != 0 {
			return false
		}
	}
	return true
}
