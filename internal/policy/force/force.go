// Package force keeps the policies in force, and while others take their place by
// shares, those as well.
//
//	             shadow        1 %, 10 %, 50 %          watch
//	Set          the former    the former               the new one
//	Rival        the new one   the new one, its share   the former
//
// A [Pair] is both sets and the share, and never changes. It lies behind one atomic
// pointer, so a decision is made by exactly one set, whatever happens meanwhile,
// and its ruling carries the digest of that one. With no rival it costs nothing: one
// look at a nil pointer.
//
// Who is in the share follows from a keyed hash of the principal, see [Share]: while
// the share grows nobody leaves it, and nobody can choose a name that is in it.
package force

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// KeySize is the length of the key of a share, in bytes.
const KeySize = 16

// A Share says for whom a rival decides. The zero Share is nobody's.
type Share struct {
	Percent int // 0 to 100
	Key     [KeySize]byte
}

// maxHashed bounds what is hashed of a principal; ids are far shorter.
const maxHashed = 256

// Has reports whether a principal is in the share. One that has no id is in none
// but the whole.
func (s *Share) Has(id nhi.ID) bool {
	switch {
	case s.Percent >= 100:
		return true
	case s.Percent <= 0 || id == "":
		return false
	}
	var b [KeySize + maxHashed]byte
	copy(b[:], s.Key[:])
	n := copy(b[KeySize:], id)
	sum := sha256.Sum256(b[:KeySize+n])
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(s.Percent)
}

// A Side is a set of policies and what it was loaded from.
type Side struct {
	Set   *policy.Set
	Files map[string]string // Cedar by file name; nobody changes it
}

// A Pair is what is in force at one moment. It never changes.
type Pair struct {
	Side
	// Rival is the other set of a promotion; its Set is nil when none runs. While
	// Watching it is the former one and decides nothing, else it is the new one and
	// decides for its share.
	Rival    Side
	Share    Share
	Watching bool
}

// Of returns the set that decides for a principal.
func (p *Pair) Of(id nhi.ID) *policy.Set {
	if p.Rival.Set != nil && !p.Watching && p.Share.Has(id) {
		return p.Rival.Set
	}
	return p.Set
}

// Evaluate implements decision.Policies.
func (p *Pair) Evaluate(q *nhi.Question) nhi.Ruling {
	set := p.Of(q.Subject.Identity)
	if set == nil {
		return nhi.Ruling{Outcome: nhi.Deny, Reasons: []nhi.Reason{{Policy: "no-policy", Text: "No policy is loaded, so nothing is allowed.", Effect: "forbid"}}}
	}
	return set.Evaluate(q)
}

// Sides returns the former set and the new one of a promotion; nil and nil when
// none runs.
func (p *Pair) Sides() (former, next *policy.Set) {
	switch {
	case p.Rival.Set == nil:
		return nil, nil
	case p.Watching:
		return p.Rival.Set, p.Set
	}
	return p.Set, p.Rival.Set
}

// A Holder keeps what is in force. Each of its methods replaces it as a whole, or
// returns an error and leaves it as it is. The zero Holder denies everything.
type Holder struct {
	mu   sync.Mutex // serialises changes of pair
	pair atomic.Pointer[Pair]
}

// New returns a Holder in which the built-in guards and files are in force.
func New(settings policy.Settings, files map[string]string) (*Holder, error) {
	set, err := policy.Load(settings, files)
	if err != nil {
		return nil, err
	}
	h := &Holder{}
	h.pair.Store(&Pair{Side: Side{set, files}})
	return h, nil
}

// none is in force where nothing is.
var none = &Pair{}

// Pair returns what is in force now.
func (h *Holder) Pair() *Pair {
	if p := h.pair.Load(); p != nil {
		return p
	}
	return none
}

// Set returns the set in force, nil if there is none. During a promotion that is
// the former one, until the new one decides for everybody.
func (h *Holder) Set() *policy.Set { return h.Pair().Set }

// Evaluate answers q by the set that decides for its principal.
func (h *Holder) Evaluate(q *nhi.Question) nhi.Ruling { return h.Pair().Evaluate(q) }

// Explain says how the set that decides for the principal comes to its ruling.
func (h *Holder) Explain(q *nhi.Question) policy.Explanation {
	p := h.Pair()
	if set := p.Of(q.Subject.Identity); set != nil {
		return set.Explain(q)
	}
	return policy.Explanation{Ruling: p.Evaluate(q)}
}

// Prepare loads files beside the guards as they are now, and changes nothing. What
// is the same as in force is not loaded anew.
func (h *Holder) Prepare(files map[string]string) (*policy.Set, error) {
	set := h.Set()
	return set.Next(set.Settings(), files)
}

// refreshed is side under the settings of set.
func refreshed(side Side, set *policy.Set) (Side, error) {
	if side.Set == nil || side.Set.Settings() == set.Settings() {
		return side, nil
	}
	next, err := set.Next(set.Settings(), side.Files)
	return Side{next, side.Files}, err
}

// Use puts a set in force for everybody that Prepare loaded from its files, and ends
// any promotion.
func (h *Holder) Use(side Side) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	side, err := refreshed(side, h.Set())
	if err == nil {
		h.pair.Store(&Pair{Side: side})
	}
	return err
}

// Stage sets a rival beside the set in force, instead of any other: a new one that
// decides for a share of the principals, at 0 percent for none; or, watching, the
// former one.
func (h *Holder) Stage(rival Side, share Share, watching bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.Pair()
	rival, err := refreshed(rival, now.Set)
	if err == nil {
		h.pair.Store(&Pair{Side: now.Side, Rival: rival, Share: share, Watching: watching})
	}
	return err
}

// Grow has the rival of the promotion with this key decide for another share. Like
// Watch, Revert and Settle it loads nothing, and says so when no such promotion runs.
func (h *Holder) Grow(key [KeySize]byte, percent int) bool {
	return h.change(key, func(p *Pair) {
		if !p.Watching {
			p.Share.Percent = percent
		}
	})
}

// Watch has the rival of the promotion with this key take the place of the set in
// force, which is kept to go back to.
func (h *Holder) Watch(key [KeySize]byte) bool {
	return h.change(key, func(p *Pair) {
		if !p.Watching {
			p.Side, p.Rival, p.Watching = p.Rival, p.Side, true
		}
	})
}

// Revert puts the former set of the promotion with this key in force for everybody,
// and ends the promotion.
func (h *Holder) Revert(key [KeySize]byte) bool {
	return h.change(key, func(p *Pair) {
		if p.Watching {
			p.Side = p.Rival
		}
		*p = Pair{Side: p.Side}
	})
}

// Settle ends the promotion with this key and leaves in force what is.
func (h *Holder) Settle(key [KeySize]byte) bool {
	return h.change(key, func(p *Pair) { *p = Pair{Side: p.Side} })
}

// change replaces the pair if the promotion with this key runs.
func (h *Holder) change(key [KeySize]byte, change func(*Pair)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := *h.Pair()
	if next.Rival.Set == nil || next.Share.Key != key {
		return false
	}
	change(&next)
	h.pair.Store(&next)
	return true
}

// Configure puts the guards in force under other settings.
func (h *Holder) Configure(settings policy.Settings) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := *h.Pair()
	set, err := now.Set.Next(settings, now.Files)
	if err != nil {
		return err
	}
	now.Set = set
	if now.Rival, err = refreshed(now.Rival, set); err == nil {
		h.pair.Store(&now)
	}
	return err
}
