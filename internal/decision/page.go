package decision

import (
	"sync/atomic"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// pageChunk is how many pages one chunk of the table points to.
const pageChunk = 1024

// A pageTable finds the page of an identity by the slot in its record. It
// lies apart from the shards, so that a new page copies none of them. Slots
// are never used twice: a decision on an old snapshot must not score one
// identity by the page of another.
type pageTable struct {
	chunks atomic.Pointer[[]*[pageChunk]atomic.Pointer[surprise.Page]]
	next   uint32 // guarded by Facts.mu
}

// allocate returns a new slot. The writer holds Facts.mu.
func (t *pageTable) allocate() uint32 {
	slot := t.next
	t.next++
	if slot%pageChunk == 0 {
		var grown []*[pageChunk]atomic.Pointer[surprise.Page]
		if old := t.chunks.Load(); old != nil {
			grown = append(grown, *old...)
		}
		grown = append(grown, new([pageChunk]atomic.Pointer[surprise.Page]))
		t.chunks.Store(&grown)
	}
	return slot
}

func (t *pageTable) at(slot uint32) *atomic.Pointer[surprise.Page] {
	chunks := t.chunks.Load()
	if chunks == nil || int(slot/pageChunk) >= len(*chunks) {
		return nil
	}
	return &(*chunks)[slot/pageChunk][slot%pageChunk]
}

func (t *pageTable) get(slot uint32) *surprise.Page {
	if p := t.at(slot); p != nil {
		return p.Load()
	}
	return nil
}

// SetPage makes page the learned normal of an identity, from the next
// decision on; nil takes it away. The page of an identity that is not known
// yet waits for it. Learning goes on inside the page and needs no call here.
func (f *Facts) SetPage(name nhi.ID, page *surprise.Page) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, r := f.root.Load().lookIdentity(name); r != nil {
		f.pages.at(r.slot).Store(page)
		return
	}
	if page == nil {
		delete(f.homeless, name)
		return
	}
	f.homeless[name] = page
}

// Page returns the page of an identity, nil if it has none.
func (f *Facts) Page(name nhi.ID) *surprise.Page {
	if _, r := f.Snapshot().lookIdentity(name); r != nil {
		return f.pages.get(r.slot)
	}
	return nil
}
