// Package pages holds the pages of millions of identities outside of Go's heap,
// and saves what changed.
//
// A [Book] has one page (see package surprise) for each identity that was ever
// learned about, found by the number of its id. Anybody may look for pages at any
// time, without a lock; one writer at a time adds pages and writes into them.
//
// In a folder (see package checkpoint) a Book has two tables: pages, rows of 2 KB
// that are mapped into memory, and slots, which say whose they are. The mapping
// is private: what is learned goes to copies in memory, and reaches the file only
// through a save, so a crash never leaves half of it there. Once saved, the copies
// are given back and the memory is the file's again: the system may drop it when
// it needs room and read it when it is looked at.
//
//	writer            saver                        writer
//	Write, Write ...  Snapshot -> Commit (no lock)  -> Settle, or Return on error
//
// [Book.Snapshot] copies the pages that changed since the one before; how long it
// takes follows from their number ([Book.Dirty]) alone, not from how many there
// are. A start reads the slots and no page: whether a page is what was saved is
// checked when it is first looked at. One that is not is reported and begins anew
// when its identity is learned next, as does one whose slot is damaged.
//
// On systems other than Linux the pages lie in the heap; the files are the same.
package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// The tables of a Book.
const (
	PagesTable = "pages"
	SlotsTable = "slots"
)

// Specs are the tables that a folder with a Book must have.
var Specs = []checkpoint.Spec{{Name: PagesTable, Size: surprise.PageSize}, {Name: SlotsTable, Size: slotSize}}

// Max is the largest number of pages in a Book.
const Max = 1 << 24

// A Slot is the place of a page in its Book.
type Slot uint32

// Pages lie in chunks, of which a region holds many.
const (
	chunkPages  = 256
	regionPages = 16 * chunkPages
)

// A chunk is pages that lie beside each other, and what is known of them.
type chunk struct {
	pages  []surprise.Page
	mapped bool
	state  [chunkPages]atomic.Uint32
	about  [chunkPages]about
}

// An about is what a Book keeps of a slot in memory, besides its state.
type about struct {
	number nhi.Number
	group  uint32
	sum    uint32 // of the page as it was when the Book was opened
	note   Note
}

// A Note is what the writer keeps beside a page. It is saved with it.
type Note struct {
	Day   int32
	Count uint32
}

// States of a slot, as a set.
const (
	used     = 1 << iota // it belongs to an identity
	verified             // its page is good, and may have changed since
	bad                  // its page is not what was saved
	lost                 // its page cannot be read
	dirty                // its page changed since the last snapshot; the writer's
)

// A Book holds pages. Methods that change it are the writer's; they say so.
type Book struct {
	folder *checkpoint.Folder // nil: in memory only
	seed   maphash.Seed

	chunks  atomic.Pointer[[]*chunk]
	index   atomic.Pointer[index]
	damaged atomic.Int64

	// The writer's.
	count   int // of slots, free ones included
	free    []Slot
	changed []Slot          // dirty ones
	region  []surprise.Page // what is left of the last region
	mapped  bool            // whether that is mapped
}

// New returns an empty Book in memory.
func New() *Book {
	b := &Book{seed: maphash.MakeSeed()}
	b.chunks.Store(&[]*chunk{})
	b.index.Store(newIndex(64))
	return b
}

// Open returns the Book of a folder, opened with Specs among its tables; state
// is what that was opened with. It reads all slots and no page. Closing the
// folder closes the Book; mapped memory stays for as long as the process, so
// that pages that were handed out are safe to read.
func Open(folder *checkpoint.Folder, state *checkpoint.State) (*Book, error) {
	b := New()
	b.folder = folder
	if state == nil {
		return b, nil
	}
	if n, m := state.Deltas[SlotsTable].Count, state.Deltas[PagesTable].Count; n != m || n > Max {
		return nil, fmt.Errorf("%w: %d slots and %d pages", checkpoint.ErrDamaged, n, m)
	}
	if err := b.readSlots(state); err != nil {
		return nil, err
	}
	delta := state.Deltas[PagesTable]
	for i, place := range delta.Places {
		c, at := b.at(Slot(place))
		if err := fill(&c.pages[at], delta.Rows[i*surprise.PageSize:]); err != nil {
			return nil, fmt.Errorf("open the table %s: %w", PagesTable, err)
		}
		if c.state[at].Load()&used != 0 {
			c.state[at].Or(verified)
		}
		b.touch(Slot(place)) // the file may not have it yet
	}
	return b, nil
}

func (b *Book) readSlots(state *checkpoint.State) error {
	count := state.Deltas[SlotsTable].Count
	b.index.Store(newIndex(2 * count))
	if err := b.grow(count); err != nil {
		return err
	}
	b.count = count
	err := b.folder.Rows(state, SlotsTable, func(place uint32, row []byte, _ bool) error {
		slot := decodeSlot(row)
		switch {
		case !checkpoint.Sealed(row):
			b.damage(fmt.Sprintf("row %d of the table of slots", place), checkpoint.ErrDamaged)
		case slot.commit == 0:
		case slot.history != b.folder.History() || slot.commit > state.Number:
			return fmt.Errorf("%w: it is not of the same save as the checkpoint beside it", checkpoint.ErrDamaged)
		default:
			if _, twice := b.Find(slot.number); !twice {
				b.settle(Slot(place), slot.about)
				return nil
			}
			b.damage(fmt.Sprintf("row %d of the table of slots", place), errors.New("its identity has another one"))
		}
		b.free = append(b.free, Slot(place))
		return nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(b.free)
	return nil
}

// settle says whose a slot is.
func (b *Book) settle(s Slot, a about) {
	c, i := b.at(s)
	c.about[i] = a
	c.state[i].Or(used)
	b.insert(s)
}

// damage makes a loss known.
func (b *Book) damage(what string, err error) {
	b.damaged.Add(1)
	slog.Error("what was learned about one identity is lost; it begins anew", "lost", what, "error", err)
}

// Damaged returns how many pages were found to be damaged since the Book was
// opened.
func (b *Book) Damaged() int { return int(b.damaged.Load()) }

func (b *Book) at(s Slot) (*chunk, int) {
	return (*b.chunks.Load())[s/chunkPages], int(s % chunkPages)
}

// Find returns the slot of an identity. Anybody may call it.
func (b *Book) Find(n nhi.Number) (Slot, bool) {
	ix := b.index.Load()
	for i := b.hash(n); ; i++ {
		entry := ix.entries[i&ix.mask].Load()
		if entry == 0 {
			return 0, false
		}
		if c, at := b.at(Slot(entry - 1)); c.about[at].number == n {
			return Slot(entry - 1), true
		}
	}
}

func (b *Book) hash(n nhi.Number) uint64 { return maphash.Comparable(b.seed, n) }

// Group returns the number that Add was given. Anybody may call it.
func (b *Book) Group(s Slot) uint32 {
	c, i := b.at(s)
	return c.about[i].group
}

// Page returns the page of a slot, nil when it is damaged and nothing was
// learned since, or cannot be read. Anybody may call it, and score against the
// page; only the writer may write to it, after [Book.Write]. It does not block, but
// a look at a page that nobody used for long may wait for the disk.
//
// It fetches the page if the system took its memory, so a disk that fails is seen
// here. Use the page soon: should that memory be taken again meanwhile, a disk that
// fails is a fault, see [debug.SetPanicOnFault].
func (b *Book) Page(s Slot) *surprise.Page {
	c, i := b.at(s)
	if c.state[i].Load()&verified == 0 {
		return b.verify(c, i)
	}
	if c.mapped {
		if err := look(&c.pages[i]); err != nil {
			b.lose(c, i, err)
			return nil
		}
	}
	return &c.pages[i]
}

// lose says that a page that was good cannot be read any more.
func (b *Book) lose(c *chunk, i int, err error) {
	for {
		state := c.state[i].Load()
		if state&verified == 0 { // somebody else was faster
			return
		}
		if c.state[i].CompareAndSwap(state, state&^verified|lost) {
			b.damage("the page of "+c.about[i].number.Text("nhi_"), err)
			return
		}
	}
}

// verify compares a page with its sum. The writer may be faster and write to it
// meanwhile: it says so before it does.
func (b *Book) verify(c *chunk, i int) *surprise.Page {
	flag, err := uint32(verified), check(&c.pages[i], c.about[i].sum)
	if errors.Is(err, checkpoint.ErrDamaged) {
		flag = bad
	} else if err != nil {
		flag = lost
	}
	for {
		state := c.state[i].Load()
		switch {
		case state&verified != 0:
			return &c.pages[i]
		case state&(bad|lost) != 0:
			return nil
		case !c.state[i].CompareAndSwap(state, state|flag):
			continue
		case flag == verified:
			return &c.pages[i]
		}
		b.damage("the page of "+c.about[i].number.Text("nhi_"), err)
		return nil
	}
}

// caught makes an error of a fault while mapped memory is read: the file has become
// shorter, or the disk fails.
func caught(err *error) {
	if fault := recover(); fault != nil {
		*err = fmt.Errorf("read a page: %v", fault)
	}
}

// look fetches a page, which lies in one page of the system's as a whole.
func look(p *surprise.Page) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer caught(&err)
	p.Count()
	return nil
}

// empty makes a page an empty one.
func empty(p *surprise.Page) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer caught(&err)
	p.CopyFrom(&surprise.Page{})
	return nil
}

// fill makes a page what it was.
func fill(p *surprise.Page, raw []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer caught(&err)
	p.SetRaw(raw)
	return nil
}

// take appends a page to b.
func take(p *surprise.Page, b []byte) (out []byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer caught(&err)
	return p.AppendRaw(b), nil
}

// check reads a page for the first time.
func check(p *surprise.Page, sum uint32) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer caught(&err)
	raw := p.AppendRaw(make([]byte, 0, surprise.PageSize))
	if checkpoint.Sum(raw[8:]) != sum {
		return fmt.Errorf("%w: the checksum of the page is wrong", checkpoint.ErrDamaged)
	}
	return nil
}

// Write returns the page of a slot to be written to before the next Snapshot,
// and whether it is empty because what it held is lost. It is nil when it cannot
// be read: nothing can be learned about the identity then. It is the writer's.
func (b *Book) Write(s Slot) (p *surprise.Page, anew bool) {
	c, i := b.at(s)
	if p = b.Page(s); p == nil {
		if c.state[i].Load()&lost != 0 {
			return nil, false
		}
		p, anew = &c.pages[i], true
		if empty(p) != nil {
			return nil, false
		}
		c.about[i].note = Note{}
		c.state[i].Or(verified)
	}
	b.touch(s)
	return p, anew
}

// Note returns what is kept beside the page of a slot, to be changed along with
// it. It is the writer's.
func (b *Book) Note(s Slot) *Note {
	c, i := b.at(s)
	return &c.about[i].note
}

func (b *Book) touch(s Slot) {
	c, i := b.at(s)
	if c.state[i].Or(dirty)&dirty == 0 {
		b.changed = append(b.changed, s)
	}
}

// Dirty returns how many pages changed since the last Snapshot. It is the
// writer's.
func (b *Book) Dirty() int { return len(b.changed) }

// Len returns how many pages there are. It is the writer's.
func (b *Book) Len() int { return b.count - len(b.free) }

// All calls do with every slot that has a page, in no order that means anything.
// It is the writer's.
func (b *Book) All(do func(Slot)) {
	for s := range Slot(b.count) {
		if c, i := b.at(s); c.state[i].Load()&used != 0 {
			do(s)
		}
	}
}

// Used reports whether a slot belongs to an identity. It is the writer's.
func (b *Book) Used(s Slot) bool {
	if int(s) >= b.count {
		return false
	}
	c, i := b.at(s)
	return c.state[i].Load()&used != 0
}

// Number returns the number of the identity of a slot.
func (b *Book) Number(s Slot) nhi.Number {
	c, i := b.at(s)
	return c.about[i].number
}

// Add gives an identity that has none an empty page. It fails when the Book has
// Max pages, or the file cannot be read. It is the writer's.
func (b *Book) Add(n nhi.Number, group uint32) (Slot, error) {
	k, s := len(b.free), Slot(b.count)
	if k > 0 {
		s = b.free[k-1]
	} else if b.count == Max {
		return 0, fmt.Errorf("there are %d pages already: %w", Max, nhi.ErrConflict)
	} else if err := b.grow(b.count + 1); err != nil {
		return 0, err
	}
	c, i := b.at(s)
	if err := empty(&c.pages[i]); err != nil {
		return 0, err
	}
	if k > 0 {
		b.free = b.free[:k-1]
	} else {
		b.count++
	}
	c.state[i].Store(verified | c.state[i].Load()&dirty)
	b.touch(s)
	b.settle(s, about{number: n, group: group})
	return s, nil
}

// grow sees to it that there are chunks for so many pages.
func (b *Book) grow(count int) error {
	chunks := *b.chunks.Load()
	if len(chunks)*chunkPages >= count {
		return nil
	}
	chunks = slices.Clone(chunks) // readers have the old one
	for len(chunks)*chunkPages < count {
		if len(b.region) == 0 {
			if err := b.place(len(chunks)*chunkPages, count); err != nil {
				return err
			}
		}
		chunks = append(chunks, &chunk{pages: b.region[:chunkPages:chunkPages], mapped: b.mapped})
		b.region = b.region[chunkPages:]
	}
	b.chunks.Store(&chunks)
	return nil
}

// place makes the next region: mapped if possible, and else in the heap.
func (b *Book) place(from, to int) (err error) {
	var file checkpoint.Open
	if b.folder != nil {
		file = b.folder.Table(PagesTable)
	}
	if file == nil { // there is none, or it is closed
		b.region, b.mapped = make([]surprise.Page, chunkPages), false
		return nil
	}
	// A region is as large as all before it, within bounds, or what is needed.
	count := min(max(from, chunkPages), regionPages)
	count = max(count, (to-from+chunkPages-1)/chunkPages*chunkPages)
	b.mapped = true
	if b.region, err = mapPages(file, from, count); err != nil {
		b.mapped = false
		b.region, err = readPages(file, from, count)
	}
	return err
}

// readPages reads pages into the heap; those beyond the end of the file are
// empty.
func readPages(file checkpoint.Open, from, count int) ([]surprise.Page, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	pages, raw := make([]surprise.Page, count), make([]byte, surprise.PageSize)
	for i := range pages {
		at := int64(from+i) * surprise.PageSize
		if at+surprise.PageSize > size {
			break
		}
		if _, err := file.ReadAt(raw, at); err != nil {
			return nil, err
		}
		pages[i].SetRaw(raw)
	}
	return pages, nil
}

// An index finds the slot of a number: open addressing, entries are one more
// than the slot. The writer adds entries, and replaces an index that is half
// full.
type index struct {
	mask    uint64
	entries []atomic.Uint32
	n       int // the writer's
}

func newIndex(room int) *index {
	size := 64
	for size < room {
		size *= 2
	}
	return &index{mask: uint64(size - 1), entries: make([]atomic.Uint32, size)}
}

func (b *Book) insert(s Slot) {
	ix := b.index.Load()
	if 2*(ix.n+1) > len(ix.entries) {
		larger := newIndex(2 * len(ix.entries))
		b.All(func(s Slot) { b.put(larger, s) }) // the new one included
		b.index.Store(larger)
		return
	}
	b.put(ix, s)
}

func (b *Book) put(ix *index, s Slot) {
	for i := b.hash(b.Number(s)); ; i++ {
		if e := &ix.entries[i&ix.mask]; e.Load() == 0 {
			e.Store(uint32(s) + 1)
			ix.n++
			return
		}
	}
}

// A row of the table of slots, little endian: the number of the id, the group,
// the note, the sum of the page, the history and the commit it was written in
// (0: the slot is free), and its own sum.
const slotSize = 16 + 4 + 8 + 4 + 8 + 4

type slotRow struct {
	about
	history, commit uint32
}

func (r *slotRow) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(le.AppendUint64(b, r.number.Hi), r.number.Lo)
	for _, v := range [...]uint32{r.group, uint32(r.note.Day), r.note.Count, r.sum, r.history, r.commit, 0} {
		b = le.AppendUint32(b, v)
	}
	return b
}

func decodeSlot(row []byte) (r slotRow) {
	le := binary.LittleEndian
	r.number = nhi.Number{Hi: le.Uint64(row), Lo: le.Uint64(row[8:])}
	r.group, r.note.Day, r.note.Count = le.Uint32(row[16:]), int32(le.Uint32(row[20:])), le.Uint32(row[24:])
	r.sum, r.history, r.commit = le.Uint32(row[28:]), le.Uint32(row[32:]), le.Uint32(row[36:])
	return r
}
