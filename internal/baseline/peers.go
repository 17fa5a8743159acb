package baseline

import (
	"math"
	"sync/atomic"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// peers decides when it is time to look again at what is common among peers.
// It goes by events and their time, so that a replay does the same.
type peers struct {
	last   int64 // time of the event after which it was last done
	events int   // since then
}

// every is the least time between two looks, in microseconds of event time.
// And there must have been as many events as there are pages, so that looking
// at all of them stays a small share of the work.
const every = 6 * 3600 * 1e6

func (p *peers) passed(l *Learner, at int64) {
	p.events++
	near := at-p.last < every && p.last-at < every // late events may lie before it
	if near || p.events < l.book.Len() {
		return
	}
	p.last, p.events = at, 0
	l.comparePeers()
}

// comparePeers rebuilds the priors: one for each provider and kind of
// principal, and under it one for each account. It looks at all pages.
func (l *Learner) comparePeers() {
	builders, kinds := map[string]*surprise.PriorBuilder{}, map[string]*surprise.PriorBuilder{}
	l.book.All(func(slot pages.Slot) {
		page, group := l.book.Page(slot), l.groups.name(l.book.Group(slot))
		if page == nil {
			return
		}
		builder(builders, group).Add(page)
		builder(kinds, kindOf(group)).Add(page)
	})
	parents := make(map[string]*surprise.Prior, len(kinds))
	for kind, b := range kinds {
		parents[kind] = b.Build(nil)
	}
	groups := make(map[string]*surprise.Prior, len(builders))
	for group, b := range builders {
		groups[group] = b.Build(parents[kindOf(group)])
	}
	l.priors.Swap(groups)
}

func builder(m map[string]*surprise.PriorBuilder, key string) *surprise.PriorBuilder {
	b := m[key]
	if b == nil {
		b = &surprise.PriorBuilder{}
		m[key] = b
	}
	return b
}

// groupOf names the peers of whoever caused an event.
func groupOf(ev *nhi.Event) string {
	return bounded(ev.Provider) + "/" + bounded(ev.Principal.Type) + "/" + bounded(ev.Account)
}

// kindOf is the group without its account.
func kindOf(group string) string {
	for i := len(group) - 1; i >= 0; i-- {
		if group[i] == '/' {
			return group[:i]
		}
	}
	return group
}

// bounded keeps a group's name short and free of the separator.
func bounded(s string) string {
	out := make([]byte, 0, min(len(s), 64))
	for i := 0; i < len(s) && len(out) < 64; i++ {
		if c := s[i]; c > ' ' && c < 0x7f && c != '/' {
			out = append(out, c)
		}
	}
	return string(out)
}

// groups number the groups of peers, so that a page need not carry a name.
// Numbers are given under the Learner's lock and looked up without it.
type groups struct {
	names   atomic.Pointer[[]string]
	numbers map[string]uint32
}

// maxGroups bounds the groups that are told apart. Whoever comes later is among
// the peers of its kind, whatever its account, and if there is none, of nobody.
const (
	maxGroups = 1 << 16
	maxKinds  = 1 << 10
)

// name returns the name of a group, "" when nothing is known by the number.
func (g *groups) name(number uint32) string {
	if names := g.names.Load(); names != nil && int(number) < len(*names) {
		return (*names)[number]
	}
	return ""
}

func (g *groups) number(name string) uint32 {
	if n, known := g.numbers[name]; known {
		return n
	}
	if len(g.numbers) >= maxGroups {
		if name = kindOf(name) + "/"; len(g.numbers) >= maxGroups+maxKinds {
			return math.MaxUint32
		}
		if n, known := g.numbers[name]; known {
			return n
		}
	}
	return g.add(name)
}

// add numbers a group that has no number.
func (g *groups) add(name string) uint32 {
	var names []string
	if was := g.names.Load(); was != nil {
		names = *was
	} else {
		g.numbers = map[string]uint32{}
	}
	n := uint32(len(names))
	names = append(names, name) // beyond what readers of the old one see
	g.names.Store(&names)
	g.numbers[name] = n
	return n
}
