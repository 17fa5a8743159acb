package baseline

import (
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
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
	if near || p.events < len(l.lives) {
		return
	}
	p.last, p.events = at, 0
	l.comparePeers()
}

// comparePeers rebuilds the priors: one for each provider and kind of
// principal, and under it one for each account.
func (l *Learner) comparePeers() {
	builders, kinds := map[string]*surprise.PriorBuilder{}, map[string]*surprise.PriorBuilder{}
	for _, w := range l.lives {
		builder(builders, w.group).Add(w.page)
		builder(kinds, kindOf(w.group)).Add(w.page)
	}
	parents := make(map[string]*surprise.Prior, len(kinds))
	for kind, b := range kinds {
		parents[kind] = b.Build(nil)
	}
	groups := make(map[string]*surprise.Prior, len(builders)+len(parents))
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
