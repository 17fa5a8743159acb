// Package preview says what applying an observation to the inventory would
// change, without changing it: counts, and the first few by name.
package preview

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

// What an observation can do to one thing.
const (
	New     = "new"
	Changed = "changed"
	Gone    = "gone"    // an identity is retired, a grant is taken away
	Missing = "missing" // not in the observation; the next complete one that lacks it too retires it
)

// A Preview says what applying an observation would do.
type Preview struct {
	Identities  Difference
	Credentials Difference // none is ever gone: an observation takes no credential away
	Grants      Difference
	Missing     int // identities, see the constant; they are in no Difference
	// First names the first Names of each kind and way, identities
	// before credentials before grants, in the order of the observation.
	First []Change
}

// A Difference counts what would become of things of one kind. Unchanged are
// those that the observation holds and that stay as they are.
type Difference struct {
	New, Changed, Gone, Unchanged int
}

// Names is how many things of a kind a preview names for each way.
const Names = 10

// A Change is one thing that would change.
type Change struct {
	What     string // identity, credential, grant
	How      string
	ID       string
	Identity nhi.ID // that a credential or grant is of; empty for identities
	Name     string // name, public id, or the policy's name
	Fields   []string
}

// Of says what service.Apply would do with an observation now, and does
// nothing: it is applied in a transaction that is taken back. So the answer is
// right by coming from the same code, which also finds what Apply would stumble
// over, and no other write gets through for as long as Apply would take.
// Nothing of it reaches decisions or streams, which hear of a transaction only
// once it is committed.
func Of(ctx context.Context, service *inventory.Service, o nhi.Observation) (Preview, error) {
	w := &watch{
		identities: newTouched("identity"), credentials: newTouched("credential"), grants: newTouched("grant"), missing: newTouched("identity"),
		replaced: map[nhi.ID]bool{},
	}
	err := service.Try(ctx, o, func(tx inventory.Tx) inventory.Tx {
		w.Tx = tx
		return w
	})
	if err != nil {
		return Preview{}, err
	}
	return w.preview(&o), nil
}

// watch is a transaction that notes what is written and what was there before.
type watch struct {
	inventory.Tx
	identities, credentials, grants, missing touched
	kept                                     int             // grants that stay
	replaced                                 map[nhi.ID]bool // whose grants are counted
}

// PutIdentity implements [inventory.Identities].
func (w *watch) PutIdentity(ctx context.Context, row inventory.Row, announce bool) error {
	t, known := w.identities.of[string(row.ID)]
	if !known {
		old, err := w.Identity(ctx, row.ID)
		if err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		t = w.identities.add(string(row.ID))
		if err == nil {
			t.before = &old.Identity
		}
	}
	t.Name, t.How, t.Fields = row.Name, New, nil
	if old, ok := t.before.(*nhi.Identity); ok {
		t.How, t.Fields = "", differing(*old, row.Identity)
		switch {
		case inventory.SameIdentity(*old, row.Identity):
		case row.State == nhi.Retired && old.State != nhi.Retired:
			t.How = Gone
		default:
			t.How = Changed
		}
	}
	return w.Tx.PutIdentity(ctx, row, announce)
}

// PutCredential implements [inventory.Credentials].
func (w *watch) PutCredential(ctx context.Context, c nhi.Credential, announce bool) error {
	t, known := w.credentials.of[string(c.ID)]
	if !known {
		old, err := w.Credential(ctx, c.ID)
		if err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		t = w.credentials.add(string(c.ID))
		if err == nil {
			t.before = &old
		}
	}
	t.Name, t.Identity, t.How, t.Fields = c.PublicID, c.Identity, New, nil
	if old, ok := t.before.(*nhi.Credential); ok {
		t.How, t.Fields = "", differing(*old, c)
		if !inventory.SameCredential(*old, c) {
			t.How = Changed
		}
	}
	return w.Tx.PutCredential(ctx, c, announce)
}

// ReplaceGrants implements [inventory.Attachments].
func (w *watch) ReplaceGrants(ctx context.Context, identity nhi.ID, grants []nhi.Grant) error {
	if w.replaced[identity] { // a file may hold somebody twice
		return w.Tx.ReplaceGrants(ctx, identity, grants)
	}
	w.replaced[identity] = true
	before, err := w.GrantsOf(ctx, identity)
	if err != nil {
		return err
	}
	had := map[string]nhi.Grant{}
	for _, g := range before {
		had[g.ID] = g
	}
	note := func(g nhi.Grant, how string, fields []string) {
		t := w.grants.add(g.ID)
		t.How, t.Identity, t.Name, t.Fields = how, g.Identity, g.Name, fields
	}
	seen := map[string]bool{}
	for _, g := range grants {
		old, known := had[g.ID]
		switch {
		case seen[g.ID]:
		case !known:
			note(g, New, nil)
		case old != g:
			note(g, Changed, differing(old, g))
		default:
			w.kept++
		}
		seen[g.ID] = true
	}
	for _, g := range before {
		if !seen[g.ID] {
			note(g, Gone, nil)
		}
	}
	return w.Tx.ReplaceGrants(ctx, identity, grants)
}

// Missed implements [inventory.Identities].
func (w *watch) Missed(ctx context.Context, provider, account string, kind nhi.Kind, at time.Time) ([]inventory.Row, error) {
	rows, err := w.Tx.Missed(ctx, provider, account, kind, at)
	slices.SortFunc(rows, func(a, b inventory.Row) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	for _, row := range rows {
		if row.Missed < inventory.MissesToRetire {
			t := w.missing.add(string(row.ID))
			t.Name, t.How = row.Name, Missing
		}
	}
	return rows, err
}

func (w *watch) preview(o *nhi.Observation) Preview {
	p := Preview{Missing: len(w.missing.order)}
	p.Identities = w.identities.count()
	p.Identities.Unchanged = w.identities.untouched(len(o.Identities), func(i int) string { return string(o.Identities[i].ID) })
	p.Credentials = w.credentials.count()
	p.Credentials.Unchanged = w.credentials.untouched(len(o.Credentials), func(i int) string { return string(o.Credentials[i].ID) })
	p.Grants = w.grants.count()
	p.Grants.Unchanged = w.kept
	p.First = slices.Concat(w.identities.first(), w.missing.first(), w.credentials.first(), w.grants.first())
	return p
}

// touched are the things of one kind that were written, in the order of the
// first time.
type touched struct {
	what  string
	of    map[string]*touch
	order []*touch
}

// A touch is what became of one thing; How is empty when nothing did.
type touch struct {
	Change
	before any // *nhi.Identity or *nhi.Credential; nil: it was not known
}

func newTouched(what string) touched { return touched{what: what, of: map[string]*touch{}} }

func (t *touched) add(id string) *touch {
	n := &touch{Change: Change{What: t.what, ID: id}}
	t.of[id] = n
	t.order = append(t.order, n)
	return n
}

func (t *touched) count() (d Difference) {
	for _, n := range t.order {
		switch n.How {
		case New:
			d.New++
		case Changed:
			d.Changed++
		case Gone:
			d.Gone++
		}
	}
	return d
}

// untouched counts those of a list of so many, each id once, that nothing became of.
func (t *touched) untouched(list int, id func(int) string) int {
	seen := make(map[string]bool, list)
	n := 0
	for i := range list {
		k := id(i)
		if c := t.of[k]; !seen[k] && (c == nil || c.How == "") {
			n++
		}
		seen[k] = true
	}
	return n
}

// first returns the first few of each way.
func (t *touched) first() (out []Change) {
	for _, how := range []string{New, Changed, Gone, Missing} {
		left := Names
		for _, n := range t.order {
			if n.How == how && left > 0 {
				out = append(out, n.Change)
				left--
			}
		}
	}
	return out
}

// differing returns the names, in JSON, of the fields in which a and b differ.
func differing[T any](a, b T) (fields []string) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		from, to := x.Field(i), y.Field(i)
		same := reflect.DeepEqual(from.Interface(), to.Interface()) || from.Kind() == reflect.Map && from.Len()+to.Len() == 0
		if at, ok := from.Interface().(time.Time); ok {
			same = at.Truncate(time.Microsecond).Equal(to.Interface().(time.Time).Truncate(time.Microsecond))
		}
		if !same {
			f := x.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, cmp.Or(name, strings.ToLower(f.Name)))
		}
	}
	return fields
}
