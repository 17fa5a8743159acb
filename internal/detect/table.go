package detect

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/muster-id/muster/internal/checkpoint"
)

// The lives of actors lie in a table of a checkpoint, so that a save takes only
// those that changed; what is small is a part of it.
const (
	// Table is the name of the table of actors.
	Table = "actors"
	// Part is the name of the part.
	Part = "detector"

	lifeSize = 149                  // binary.Size of a life
	rowSize  = lifeSize + 4 + 3 + 4 // the life, the round of its generation, nothing, the sum
)

// Spec is the table that a folder with a Detector must have.
var Spec = checkpoint.Spec{Name: Table, Size: rowSize}

// An Image is what changed in a Detector since the one before, and what is small.
type Image struct {
	head  imageHead
	part  []byte
	from  int // places from here on were never saved before
	count int
	rows  []imageRow
}

type imageRow struct {
	place uint32
	round uint32 // 0: the place is free
	life  life
	actor *actor
}

// Image takes what changed, and regards it as saved from now on; whoever cannot
// save it calls Return.
func (d *Detector) Image() (*Image, error) {
	m := &Image{head: d.head(), from: d.written, count: d.actors.count, rows: make([]imageRow, 0, len(d.changed)+len(d.rewrite))}
	m.head.Round = d.actors.round
	for _, a := range d.active {
		if a.place >= 0 {
			for _, s := range a.stories {
				m.head.Stories = append(m.head.Stories, savedStory{a.Key, s})
			}
		}
	}
	slices.SortStableFunc(m.head.Stories, func(a, b savedStory) int { return cmp.Compare(a.Actor, b.Actor) })
	var err error
	if m.part, err = json.Marshal(m.head); err != nil { // now: stories go on
		return nil, err
	}
	// Every place below count must be in the table, even if whoever had it was
	// forgotten before anybody saved.
	fresh := make([]bool, m.count-m.from)
	taken := make(map[uint32]bool, len(d.rewrite))
	for _, place := range d.rewrite {
		taken[place] = false
	}
	for _, a := range d.changed {
		if a.dirty = false; a.place < 0 {
			continue
		}
		if _, ok := taken[uint32(a.place)]; ok {
			taken[uint32(a.place)] = true
		}
		if i := int(a.place) - m.from; i >= 0 {
			fresh[i] = true
		}
		m.rows = append(m.rows, imageRow{uint32(a.place), a.round, a.life, a})
	}
	for place, again := range taken {
		if !again {
			m.rows = append(m.rows, imageRow{place: place})
		}
	}
	for i, has := range fresh {
		if !has {
			m.rows = append(m.rows, imageRow{place: uint32(m.from + i)})
		}
	}
	d.changed, d.rewrite, d.written = nil, nil, m.count
	return m, nil
}

// Return says that an Image could not be saved: what it has is part of the next.
func (d *Detector) Return(m *Image) {
	d.written = m.from
	for _, r := range m.rows {
		if r.actor != nil && r.actor.place == int32(r.place) {
			d.mark(r.actor)
		} else if int(r.place) < m.from { // it may be half written, and nobody has it now, or somebody who is marked
			d.rewrite = append(d.rewrite, r.place)
		}
	}
}

// Part returns the part of an Image.
func (m *Image) Part() checkpoint.Part { return checkpoint.Part{Name: Part, Data: m.part} }

// Delta returns the rows of an Image.
func (m *Image) Delta() (checkpoint.Delta, error) {
	slices.SortFunc(m.rows, func(a, b imageRow) int { return cmp.Compare(a.place, b.place) })
	d := checkpoint.Delta{Table: Table, Count: m.count, Places: make([]uint32, len(m.rows)), Rows: make([]byte, 0, len(m.rows)*rowSize)}
	for i := range m.rows {
		r := &m.rows[i]
		d.Places[i] = r.place
		var err error
		if d.Rows, err = binary.Append(d.Rows, binary.LittleEndian, &r.life); err != nil {
			return d, err
		}
		d.Rows = binary.LittleEndian.AppendUint32(d.Rows, r.round)
		d.Rows = append(d.Rows, make([]byte, 7)...)
		checkpoint.Seal(d.Rows[len(d.Rows)-rowSize:])
	}
	return d, nil
}

// Restore makes a Detector that has seen nothing one that has seen what was
// saved. On an error it must not be used.
func (d *Detector) Restore(folder *checkpoint.Folder, s *checkpoint.State) error {
	var head imageHead
	if err := json.Unmarshal(s.Parts[Part], &head); err != nil {
		return fmt.Errorf("%w: part %q: %w", checkpoint.ErrDamaged, Part, err)
	}
	d.begin(&head)
	d.actors.round, d.actors.count = max(head.Round, firstRound), s.Deltas[Table].Count
	d.written = d.actors.count
	all := map[uint64]*actor{}
	err := folder.Rows(s, Table, func(place uint32, row []byte, over bool) error {
		a := &actor{place: int32(place), round: binary.LittleEndian.Uint32(row[lifeSize:])}
		_, err := binary.Decode(row, binary.LittleEndian, &a.life)
		switch {
		case err != nil:
			return err
		case !checkpoint.Sealed(row):
			slog.Error("what detections remember of one identity is lost; it begins anew", "row", place)
			over = true
		case all[a.Key] == nil && d.actors.take(a):
			if all[a.Key] = a; over {
				d.mark(a)
			}
			return nil
		}
		d.actors.free = append(d.actors.free, int32(place))
		if over {
			d.rewrite = append(d.rewrite, place)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.resume(head.Stories, all)
	return nil
}

// firstRound leaves 0 to places that are free, and 1 to the generation before
// the first.
const firstRound = 2

// take puts an actor that was read into its generation. It reports false if it
// belongs to none that is remembered.
func (g *generations) take(a *actor) bool {
	generation := g.young
	if a.round == g.round-1 {
		generation = g.old
	} else if a.round != g.round {
		return false
	}
	if len(generation) >= g.size {
		return false
	}
	generation[a.Key] = a
	return true
}

// settle gives a new actor a place.
func (g *generations) settle(a *actor) {
	if n := len(g.free); n > 0 {
		a.place, g.free = g.free[n-1], g.free[:n-1]
		return
	}
	a.place = int32(g.count)
	g.count++
}

// leave takes the places of actors that are forgotten.
func (g *generations) leave(forgotten map[uint64]*actor) {
	for _, a := range forgotten {
		g.free = append(g.free, a.place)
		a.place = -1
	}
}

// mark says that the life of an actor changes.
func (d *Detector) mark(a *actor) {
	if !a.dirty && a.place >= 0 {
		a.dirty = true
		d.changed = append(d.changed, a)
	}
}

func (d *Detector) head() imageHead {
	return imageHead{Now: d.now, Identity: d.ledger.identity, Credential: d.ledger.credential}
}

// begin takes in what is small, but no actors.
func (d *Detector) begin(head *imageHead) {
	d.now, d.tick, d.active = head.Now, head.Now/window, nil
	d.ledger = NewLedger(d.set.HalfLife)
	if head.Identity != nil {
		d.ledger.identity = head.Identity
	}
	if head.Credential != nil {
		d.ledger.credential = head.Credential
	}
	d.actors, d.changed, d.rewrite, d.written = newGenerations(d.set.Actors), nil, nil, 0
}

// resume goes on with stories.
func (d *Detector) resume(stories []savedStory, all map[uint64]*actor) {
	for _, s := range stories {
		a := all[s.Actor]
		if a == nil || s.Story == nil || d.rules.byID[s.Story.top().Rule] == nil || len(a.stories) >= maxStories {
			continue
		}
		a.stories = append(a.stories, s.Story)
		if !a.listed {
			a.listed = true
			d.active = append(d.active, a)
		}
	}
}
