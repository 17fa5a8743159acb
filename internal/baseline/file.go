package baseline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// Part is the name of the part of a checkpoint that holds what a Learner keeps
// besides its pages.
const Part = "baseline"

// MaxDirty is the number of changed pages after which to save, so that saving
// them never takes long.
const MaxDirty = 16_000

// Open makes an empty Learner one of a folder, which was opened with pages.Specs
// among its tables; state is what it was opened with. Call it before anybody uses
// the Learner. On an error the Learner must not be used.
func (l *Learner) Open(folder *checkpoint.Folder, state *checkpoint.State) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.book.Len() != 0 {
		return fmt.Errorf("the learner is not empty: %w", nhi.ErrConflict)
	}
	book, err := pages.Open(folder, state)
	if err != nil {
		return err
	}
	l.book = book
	l.configured = l.settings.Established.Word()
	if state == nil {
		return nil
	}
	if err := l.readPart(state.Parts[Part]); err != nil {
		return fmt.Errorf("part %q: %w", Part, err)
	}
	return nil
}

// Reconfigure gives the settings to pages that were saved under others. save is
// called whenever many pages have changed. Call it after Open, before anybody
// uses the Learner.
func (l *Learner) Reconfigure(save func() error) error {
	word := l.settings.Established.Word()
	if l.configured == word {
		return nil
	}
	var slots []pages.Slot
	l.book.All(func(s pages.Slot) { slots = append(slots, s) })
	for _, slot := range slots {
		l.mu.Lock()
		if page, _ := l.book.Write(slot); page != nil {
			page.Configure(l.settings.Established)
		}
		l.mu.Unlock()
		if l.Dirty() >= MaxDirty {
			if err := save(); err != nil {
				return err
			}
		}
	}
	l.configured = word // from the next save on
	return nil
}

// Dirty returns how many pages changed since the last Snapshot.
func (l *Learner) Dirty() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.Dirty()
}

// A Snapshot is what changed in a Learner, and what is kept besides its pages.
type Snapshot struct {
	Pages  *pages.Snapshot
	head   []byte
	groups []string
	priors *surprise.Priors
	names  *names
}

// Room finds memory for a Snapshot of what has changed so far, and a little more.
func (l *Learner) Room() *pages.Snapshot {
	n := l.Dirty()
	return pages.Room(n + n/8 + 16)
}

// Snapshot takes what changed since the Snapshot before, which from now on
// counts as saved: whoever cannot save it calls Return, and who could, Settle.
// Learning waits while the changed pages are copied, into room or, if that is
// nil, into memory that must be found first; deciding does not.
func (l *Learner) Snapshot(room *pages.Snapshot) *Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &Snapshot{Pages: l.book.Snapshot(room), priors: l.priors.Copy(), names: &l.names}
	if names := l.groups.names.Load(); names != nil {
		s.groups = *names
	}
	s.head = binary.LittleEndian.AppendUint64([]byte(partMagic), uint64(l.peers.last))
	s.head = binary.LittleEndian.AppendUint64(s.head, uint64(l.peers.events))
	s.head = binary.LittleEndian.AppendUint64(s.head, l.configured)
	s.head = l.withheld.append(s.head)
	return s
}

// Return says that a Snapshot could not be saved.
func (l *Learner) Return(s *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Return(s.Pages)
}

// Settle says that a Snapshot was saved.
func (l *Learner) Settle(s *Snapshot) {
	for at := 0; at < s.Pages.Len(); {
		l.mu.Lock()
		at = l.book.Settle(s.Pages, at)
		l.mu.Unlock()
	}
}

// The part, little endian: a magic with a version; time and number of events of
// the last look at peers; the settings of the pages; the number of slots with
// suspended events, and for each slot these; the names of groups; the habits of
// peers; the dictionary, in order of the hashes. Texts and lists carry their
// length.
const (
	partMagic     = "MNORM001"
	suspendedSize = 8 + 4 + 8 + 8*8 + 1
	maxGroupName  = 256
)

// Part returns what a Snapshot keeps besides pages. It takes no lock.
func (s *Snapshot) Part() (checkpoint.Part, error) {
	le := binary.LittleEndian
	b := le.AppendUint32(s.head, uint32(len(s.groups)))
	for _, g := range s.groups {
		b = append(le.AppendUint32(b, uint32(len(g))), g...)
	}
	priors, err := s.priors.MarshalBinary()
	if err != nil {
		return checkpoint.Part{}, err
	}
	b = append(le.AppendUint64(b, uint64(len(priors))), priors...)
	hashes := s.names.hashes()
	b = le.AppendUint32(b, uint32(len(hashes)))
	for _, hash := range hashes {
		text := s.names.Name(hash)
		b = append(le.AppendUint32(le.AppendUint64(b, hash), uint32(len(text))), text...)
	}
	return checkpoint.Part{Name: Part, Data: b}, nil
}

func (n *names) hashes() []uint64 {
	var out []uint64
	n.words.Range(func(hash, _ any) bool {
		out = append(out, hash.(uint64))
		return true
	})
	slices.Sort(out)
	return out
}

func (w *withheld) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(len(w.of)))
	for slot, list := range w.of {
		b = append(le.AppendUint32(b, uint32(slot)), byte(len(list)))
		for i := range list {
			s, o := &list[i], &list[i].Observation
			b = le.AppendUint64(b, s.Signature)
			b = le.AppendUint32(b, uint32(s.Days))
			b = le.AppendUint64(b, uint64(s.LastDay))
			for _, v := range [...]uint64{uint64(o.At), o.Network, o.ASN, o.Country, o.Agent, o.Action, o.Class, o.Region} {
				b = le.AppendUint64(b, v)
			}
			denied := byte(0)
			if o.Denied {
				denied = 1
			}
			b = append(b, denied)
		}
	}
	return b
}

var errPart = errors.New("it is cut off, or of another version")

// A reader takes a part apart. After the first fault it returns zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad = r.bad || n > uint64(len(r.rest)); r.bad {
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) uint8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) text(limit uint32) string {
	n := r.uint32()
	r.bad = r.bad || n > limit
	return string(r.bytes(uint64(n)))
}

// readPart takes in what Part returned.
func (l *Learner) readPart(data []byte) error {
	r := &reader{rest: data}
	if string(r.bytes(uint64(len(partMagic)))) != partMagic {
		return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, errPart)
	}
	l.peers = peers{last: int64(r.uint64()), events: int(min(r.uint64(), 1<<40))}
	l.configured = r.uint64()
	l.withheld.read(r, l.book)
	for n := r.uint32(); n > 0 && !r.bad; n-- {
		name := r.text(maxGroupName)
		if _, twice := l.groups.numbers[name]; twice || len(l.groups.numbers) >= maxGroups+maxKinds {
			r.bad = true
			break
		}
		l.groups.add(name)
	}
	priors := r.bytes(r.uint64())
	if !r.bad {
		r.bad = l.priors.UnmarshalBinary(priors) != nil
	}
	for n := r.uint32(); n > 0 && !r.bad; n-- {
		hash := r.uint64()
		l.names.add(hash, r.text(maxNameSize))
	}
	if r.bad || len(r.rest) > 0 {
		return fmt.Errorf("%w: %w", checkpoint.ErrDamaged, errPart)
	}
	return nil
}

// read takes in what append wrote. Of a slot that was lost nothing is kept.
func (w *withheld) read(r *reader, book *pages.Book) {
	for n := r.uint32(); n > 0 && !r.bad; n-- {
		slot, k := pages.Slot(r.uint32()), int(r.uint8())
		rows := &reader{rest: r.bytes(uint64(k * suspendedSize))}
		if r.bad = r.bad || k == 0 || k > maxSuspended || len(w.of) >= maxWithheld; r.bad {
			return
		}
		list := make([]suspended, k)
		for i := range list {
			s, o := &list[i], &list[i].Observation
			s.Signature, s.Days, s.LastDay = rows.uint64(), int(rows.uint32()), int64(rows.uint64())
			o.At = int64(rows.uint64())
			for _, v := range [...]*uint64{&o.Network, &o.ASN, &o.Country, &o.Agent, &o.Action, &o.Class, &o.Region} {
				*v = rows.uint64()
			}
			o.Denied = rows.uint8() != 0
		}
		if book.Used(slot) {
			w.set(slot, list)
		}
	}
}
