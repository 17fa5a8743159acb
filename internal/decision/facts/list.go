package facts

import (
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// IdentitiesAfter returns up to n identities that come behind after (empty: all)
// in the order of their numbers, see nhi.ID.Number, and whether there are more.
// Merged identities are left out: the one that lives on is there. Kind, when it
// is not empty, leaves out those of another; it looks at every identity until it
// has found enough.
func (f *Facts) IdentitiesAfter(after nhi.ID, kind nhi.Kind, n int) (ids []nhi.ID, more bool) {
	s := f.Snapshot()
	var from id
	if after != "" {
		from = after.Number()
	}
	for at := shardOf(from.Hi); at < shards; at++ {
		list := s.shards[at].identities
		i, found := 0, false
		if after != "" && at == shardOf(from.Hi) {
			if i, found = s.shards[at].findIdentity(from); found {
				i++
			}
		}
		for ; i < len(list); i++ {
			r := &list[i]
			if r.flags&(flagOdd|flagAliased) != 0 || kind != "" && s.words[r.kind] != string(kind) {
				continue
			}
			if len(ids) == n {
				return ids, true
			}
			ids = append(ids, nhi.ID(r.key.Text(identityPrefix)))
		}
	}
	return ids, false
}

// ResourcesAfter returns the names of up to n resources that are greater than
// after, in the order of bytes, and whether there are more. It asks about each
// resource and leaves out those that are not wanted.
func (f *Facts) ResourcesAfter(after string, n int, want func(*nhi.Resource) bool) (names []string, more bool) {
	for _, sh := range f.Snapshot().shards {
		for name, r := range sh.resources {
			if name <= after || !want(&r) {
				continue
			}
			if names = append(names, name); len(names) >= 2*(n+1) {
				slices.Sort(names)
				names = names[:n+1]
			}
		}
	}
	slices.Sort(names)
	if len(names) > n {
		return names[:n], true
	}
	return names, false
}
