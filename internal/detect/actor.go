package detect

import (
	"github.com/muster-id/muster/internal/checkpoint/places"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// An actor is what is in memory about one identity besides its page. There is
// none about one that is quiet and whose life is saved. It is kept small: there
// may be a million of them.
type actor struct {
	*life       // nil while it is the one in the table
	more  *more // nil for most
	win   windowState
	place int32 // in the table of actors; -1 when the actor is forgotten
	past  bool  // there were events of the past since the actor was last ahead by an hour
	dirty bool  // in Detector.changed
}

// A more is what few actors have.
type more struct {
	late    *windowState // of the past, while events of the past arrive
	stories []*story
	listed  bool // in Detector.telling
}

// further returns the rest of an actor.
func (a *actor) further() *more {
	if a.more == nil {
		a.more = &more{}
	}
	return a.more
}

// stories returns the open stories about an actor.
func (a *actor) stories() []*story {
	if a.more == nil {
		return nil
	}
	return a.more.stories
}

// keyOf shortens an identity's id, which is a digest, to half of it.
func keyOf(id nhi.ID) uint64 { return surprise.Hash(string(id)) }

// newPlaces returns the places of so many actors in their table. An actor that is
// forgotten while there is a story about it goes on without a life.
func newPlaces(size int) *places.Places[actor] {
	return places.New(size, func(a *actor) { a.place = -1 })
}

// actor returns the actor of an identity, a new one if it is unknown.
func (d *Detector) actor(id nhi.ID) *actor {
	key := keyOf(id)
	place, known := d.actors.Get(key)
	a := d.wake(place)
	if !known {
		a.life = &life{Key: key}
	}
	return a
}

// wake returns the actor at a place.
func (d *Detector) wake(place int32) *actor {
	a := d.actors.In(place)
	if a == nil {
		a = &actor{place: place, past: d.actors.Note(place)}
		d.actors.Put(place, a)
	}
	return a
}

// rest lets go of an actor of which nothing must be in memory.
func (d *Detector) rest(a *actor) {
	if a.more != nil && a.more.late == nil && len(a.more.stories) == 0 && !a.more.listed {
		a.more = nil
	}
	if a.place < 0 || a.life != nil || a.win.open || a.more != nil {
		return
	}
	d.actors.Put(a.place, nil)
	d.actors.SetNote(a.place, a.past)
}
