package view

import (
	"github.com/muster-id/muster/internal/nhi"
)

// A Listed has identities and resources in a fixed order. *facts.Facts is one.
type Listed interface {
	IdentitiesAfter(after nhi.ID, kind nhi.Kind, n int) ([]nhi.ID, bool)
	ResourcesAfter(after string, n int, want func(*nhi.Resource) bool) ([]string, bool)
}

// Catalogue is what searches of the AuthZEN protocol look through.
type Catalogue struct{ Facts Listed }

// Subjects implements authzen.Catalogue. The type is "identity", which all
// are, or a kind of identity. There are none of another type.
func (c Catalogue) Subjects(kind, after string, n int) (ids []string, more bool) {
	if kind == "" {
		return nil, false
	}
	if kind == "identity" {
		kind = ""
	}
	found, more := c.Facts.IdentitiesAfter(nhi.ID(after), nhi.Kind(kind), n)
	for _, id := range found {
		ids = append(ids, string(id))
	}
	return ids, more
}

// Resources implements authzen.Catalogue. Somebody labelled them all. The type
// is "resource", which all are, or the service that a label names.
func (c Catalogue) Resources(kind, after string, n int, guarded func(string) bool) (names []string, more bool) {
	return c.Facts.ResourcesAfter(after, n, func(r *nhi.Resource) bool {
		return !r.Assumed && (kind == "resource" || kind != "" && r.Service == kind) && guarded(r.Name)
	})
}
