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
// those that changed; what is small is a part of it. Once a life is saved it leaves
// memory, until somebody needs it:
//
//	Observe ...  Image -> Commit (meanwhile Observe) -> Settle, or Return on error
//
// A life that is in memory is the one that counts. It leaves only after a commit
// that has it as it is, so nobody reads a row that is being written.
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
	m := &Image{head: d.head(), from: d.written, count: d.actors.Count(), rows: make([]imageRow, 0, len(d.changed)+len(d.rewrite))}
	m.head.Round = d.actors.Round()
	for _, a := range d.telling {
		if a.place >= 0 {
			for _, s := range a.stories() {
				m.head.Stories = append(m.head.Stories, savedStory{d.actors.Key(a.place), s})
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
		m.rows = append(m.rows, imageRow{uint32(a.place), d.actors.Generation(a.place), *a.life, a})
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
func (m *Image) Delta() checkpoint.Delta {
	slices.SortFunc(m.rows, func(a, b imageRow) int { return cmp.Compare(a.place, b.place) })
	d := checkpoint.Delta{Table: Table, Count: m.count, Places: make([]uint32, len(m.rows)), Rows: make([]byte, 0, len(m.rows)*rowSize)}
	for i := range m.rows {
		r := &m.rows[i]
		d.Places[i] = r.place
		d.Rows = r.life.append(d.Rows)
		d.Rows = binary.LittleEndian.AppendUint32(d.Rows, r.round)
		d.Rows = append(d.Rows, make([]byte, 7)...)
		checkpoint.Seal(d.Rows[len(d.Rows)-rowSize:])
	}
	return d
}

// Settle says that an Image was saved: lives that did not change again leave
// memory. It goes on at from and returns where it stopped, some thousand lives
// later, so that nobody need wait for long; it is done when that is m.Len().
func (d *Detector) Settle(m *Image, from int) int {
	const step = 4096
	to := min(from+step, len(m.rows))
	if d.table == nil {
		return to
	}
	for _, r := range m.rows[from:to] {
		if a := r.actor; a != nil && a.place == int32(r.place) && !a.dirty {
			a.life = nil
			d.rest(a)
		}
	}
	return to
}

// Len returns how many lives an Image has, and places that were given up.
func (m *Image) Len() int { return len(m.rows) }

// Dirty returns how many lives changed since the last Image.
func (d *Detector) Dirty() int { return len(d.changed) }

// Damaged returns how many lives could not be read back since the start. It may
// be called at any time.
func (d *Detector) Damaged() int { return int(d.damaged.Load()) }

// damage makes a loss known.
func (d *Detector) damage(place uint32, err error) {
	d.damaged.Add(1)
	slog.Error("what detections remember of one identity is lost; it begins anew", "row", place, "error", err)
}

// Open makes a Detector that has seen nothing one of a folder, which was opened
// with Spec among its tables; s is what it was opened with. On an error it must not
// be used.
func (d *Detector) Open(folder *checkpoint.Folder, s *checkpoint.State) error {
	d.table = folder.Table(Table)
	if s == nil {
		return nil
	}
	var head imageHead
	if err := json.Unmarshal(s.Parts[Part], &head); err != nil {
		return fmt.Errorf("%w: part %q: %w", checkpoint.ErrDamaged, Part, err)
	}
	d.begin(&head)
	d.actors.Open(s.Deltas[Table].Count, head.Round)
	d.written = d.actors.Count()
	err := folder.Rows(s, Table, func(place uint32, row []byte, over bool) error {
		key, round := binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint32(row[lifeSize:])
		switch {
		case !checkpoint.Sealed(row):
			d.damage(place, checkpoint.ErrDamaged)
			d.actors.Free(int32(place))
			d.rewrite = append(d.rewrite, place)
		case !d.actors.Restore(int32(place), key, round):
			if over {
				d.rewrite = append(d.rewrite, place)
			}
		case over: // the table may not have it yet
			a := d.wake(int32(place))
			a.life = &life{}
			a.decode(row)
			d.mark(a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.resume(head.Stories)
	return nil
}

// read returns the life at a place, which is in the table and nowhere else.
func (d *Detector) read(place int32) (*life, error) {
	key := d.actors.Key(place)
	if _, err := d.table.ReadAt(d.row[:], int64(place)*rowSize); err != nil {
		return nil, err
	}
	if !checkpoint.Sealed(d.row[:]) || binary.LittleEndian.Uint64(d.row[:]) != key {
		return nil, checkpoint.ErrDamaged
	}
	l := &life{}
	l.decode(d.row[:])
	return l, nil
}

// mark says that the life of an actor changes, and sees to it that it is there.
func (d *Detector) mark(a *actor) {
	if a.dirty || a.place < 0 {
		return
	}
	if a.life == nil {
		var err error
		if a.life, err = d.read(a.place); err != nil {
			d.damage(uint32(a.place), err)
			a.life = &life{Key: d.actors.Key(a.place)}
		}
	}
	a.dirty = true
	d.changed = append(d.changed, a)
}

func (d *Detector) head() imageHead {
	return imageHead{Now: d.now, Identity: d.ledger.identity, Credential: d.ledger.credential}
}

// begin takes in what is small, but no actors.
func (d *Detector) begin(head *imageHead) {
	d.now, d.tick, d.telling, d.swept, d.unswept = head.Now, head.Now/window, nil, 0, 0
	d.ledger = NewLedger(d.set.HalfLife)
	if head.Identity != nil {
		d.ledger.identity = head.Identity
	}
	if head.Credential != nil {
		d.ledger.credential = head.Credential
	}
	d.actors, d.changed, d.rewrite, d.written = newPlaces(d.set.Actors), nil, nil, 0
}

// resume goes on with stories.
func (d *Detector) resume(stories []savedStory) {
	for _, s := range stories {
		place, known := d.actors.Find(s.Actor)
		if !known || s.Story == nil || d.rules.byID[s.Story.top().Rule] == nil {
			continue
		}
		if a := d.wake(place); len(a.stories()) < maxStories {
			d.list(a, s.Story)
		}
	}
}
