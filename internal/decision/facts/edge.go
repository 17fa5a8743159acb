package facts

import (
	"slices"
	"strconv"

	"github.com/muster-id/muster/internal/nhi"
)

// For returns the snapshot as an enforcement point elsewhere may have it: of the
// points only itself, of the resources only those that it guards, no sources,
// and of an owner only that there is one. All identities and credentials are
// there, because anybody may call, and all revocations; and the whole table of
// routes, because the most specific of them wins, whoever guards what it leads to.
func (s *Snapshot) For(point *nhi.Point) *Snapshot {
	out := *s
	out.points = map[nhi.ID]nhi.Point{point.ID: *point}
	out.pointKeys = map[string]nhi.ID{point.KeyID: point.ID}
	out.sources, out.sourceKeys = nil, nil
	out.counts.Points, out.counts.Sources = 1, 0
	array := *s.shards
	out.shards = &array
	names := newNaming(s.words)
	for i, sh := range s.shards {
		fresh := *sh
		fresh.identities = slices.Clone(sh.identities)
		for j := range fresh.identities {
			r := &fresh.identities[j]
			r.owner = names.owned(r.owner)
			names.use(r.kind, r.state, r.environment, r.class)
		}
		for j := range fresh.credentials {
			names.use(fresh.credentials[j].kind, fresh.credentials[j].state)
		}
		if len(point.Resources) > 0 && len(sh.resources) > 0 {
			fresh.resources = map[string]nhi.Resource{}
			for name, r := range sh.resources {
				if slices.Contains(point.Resources, name) {
					fresh.resources[name] = r
				} else {
					out.counts.Resources--
				}
			}
		}
		array[i] = &fresh
	}
	out.words = names.words()
	return &out
}

// A naming finds out which words are still used when owners are gone. Words keep
// their numbers, so that records need not change.
type naming struct {
	all  []string
	used []bool
	any  bool // somebody is owned
}

func newNaming(all []string) *naming { return &naming{all: all, used: make([]bool, len(all))} }

func (n *naming) use(words ...word) {
	for _, w := range words {
		n.used[w] = true
	}
}

// owned returns the word that stands for every owner; 0 for nobody.
func (n *naming) owned(w word) word {
	if n.all[w] == "" {
		return 0
	}
	n.any = true
	return word(len(n.all))
}

// words returns the table with something that says nothing in place of the words
// that nothing uses: each another one, because no word may come twice, and none
// that a name could be.
func (n *naming) words() []string {
	out := make([]string, len(n.all), len(n.all)+1)
	for i, text := range n.all {
		if out[i] = text; !n.used[i] && text != "" {
			out[i] = "\x00" + strconv.Itoa(i)
		}
	}
	if n.any {
		out = append(out, "\x00owned")
	}
	return out
}

// Follow makes some of the changes behind generation from part of the facts, in
// order, and takes them to generation to: what is between and not given is of no
// interest here. It is for a point that is not told everything. Facts that are
// already further than from pass over what they have; a gap before from, or a
// payload that cannot be read, is an error as in [Facts.Apply].
func (f *Facts) Follow(from, to nhi.Generation, changes []nhi.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.begin()
	if from > b.next.generation {
		return f.fail(nhi.Invalidf("changes behind %d do not follow %d: gap", from, b.next.generation))
	}
	for i := range changes {
		c := &changes[i]
		if c.Seq <= b.next.generation {
			continue
		}
		if c.Seq > to {
			return f.fail(nhi.Invalidf("change %d is behind the end, %d", c.Seq, to))
		}
		if err := b.apply(c); err != nil {
			return f.fail(err)
		}
		b.next.generation = c.Seq
	}
	b.next.generation = max(b.next.generation, to)
	b.commit()
	return nil
}
