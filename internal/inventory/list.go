package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

// The limits of a list.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// A Filter says which part of which list is wanted.
type Filter struct {
	Expr   filter.Expr  // of filter.Identities
	Within nhi.Scopes   // nil: everywhere
	Order  filter.Order // zero: by name
	After  Cursor       // zero: from the beginning
	Limit  int          // 0: DefaultLimit
	Count  bool         // also count what there is in all
}

// A Cursor is the last identity of a page: its place in the list's order.
type Cursor struct {
	Text   string // when the order is one of texts
	Number int64  // when it is one of numbers or times
	ID     nhi.ID // breaks ties; empty: there is no further page
}

// MaxCount is how far the rows of a list are counted whose filter asks for more
// than the fields with facets, "admin" and "attestable". By those alone a list
// of any length is counted exactly.
const MaxCount = 10_000

// A Page is a part of a list. Next is zero on the last one.
type Page struct {
	Identities []nhi.Identity
	Next       Cursor
	Total      int  // when it was asked for
	AtLeast    bool // there are more than Total
}

// Identities returns one page of the identities that f describes.
func (s *Service) Identities(ctx context.Context, f Filter) (Page, error) {
	if f.Limit == 0 {
		f.Limit = DefaultLimit
	}
	if f.Limit < 0 || f.Limit > MaxLimit {
		return Page{}, nhi.Invalidf("limit %d is not between 1 and %d", f.Limit, MaxLimit)
	}
	if f.Order.Field.Name == "" {
		var err error
		if f.Order, err = filter.Identities.ParseOrder(""); err != nil {
			return Page{}, err
		}
	}
	var p Page
	err := s.store.View(ctx, func(tx Tx) (err error) {
		p, err = tx.List(ctx, f)
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("list identities: %w", err)
	}
	return p, nil
}

// A Facet is how often each value of a field occurs, the most frequent first.
type Facet struct {
	Field   string
	Values  []Value
	AtLeast bool // only the first that were found are counted, a little over MaxCount
}

// A Value is one of a facet. Those of risk are the smallest risk of a band.
type Value struct {
	Value string
	Count int
}

// MaxValues is how many values of a facet are told.
const MaxValues = 50

// FacetFields are the fields that have facets, in the order in which people
// read them.
var FacetFields = []string{"kind", "provider", "environment", "class", "owner", "account", "state", "risk", "shadow", "static"}

// Facets counts the identities within scopes that e describes by the values of
// their fields.
// A field's own terms do not narrow its own facet, so that the other values
// stay in sight.
func (s *Service) Facets(ctx context.Context, e filter.Expr, within nhi.Scopes) (out []Facet, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		out, err = tx.Facets(ctx, e, within)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count identities by their fields: %w", err)
	}
	return out, nil
}

// Arrange puts the values of a facet in the order in which they are told.
func Arrange(f Facet) Facet {
	slices.SortFunc(f.Values, func(a, b Value) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value))
	})
	f.Values = f.Values[:min(len(f.Values), MaxValues)]
	if f.Field == "shadow" || f.Field == "static" {
		for i := range f.Values {
			f.Values[i].Value = map[string]string{"0": "false", "1": "true"}[f.Values[i].Value]
		}
	}
	return f
}

const (
	maxWord  = 64 // bytes of a word that count
	maxWords = 32 // words of one identity that count
)

// Words splits text into the lower-case words it can be found by.
func Words(text string) []string {
	fields := strings.FieldsFunc(strings.ToLower(strings.ToValidUTF8(text, " ")), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	var out []string
	seen := make(map[string]bool)
	for _, w := range fields {
		if len(w) > maxWord {
			w = strings.ToValidUTF8(w[:maxWord], "")
		}
		if !seen[w] && len(out) < maxWords {
			seen[w] = true
			out = append(out, w)
		}
	}
	return out
}

// SearchWords returns the words that an identity is found by: those of its
// name, owner, native id, account and path.
func SearchWords(i *nhi.Identity) []string {
	return telling(Words(strings.Join([]string{i.Name, i.Owner.Ref, i.Native, i.Account, i.Path}, " ")))
}

// MaxWords is how many words of a query count.
const MaxWords = 3

// QueryWords returns the words of a query that a store looks for. Of many it
// takes the last: in a path those tell the most.
func QueryWords(query string) []string {
	words := telling(Words(query))
	slices.Reverse(words)
	return words[:min(len(words), MaxWords)]
}

// telling drops the words that nearly every path holds.
func telling(words []string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return w == "arn" || w == "aws" || w == "iam" })
}

// Counts are the figures of the overview. Retired identities are counted only
// as such.
type Counts struct {
	Identities         int              `json:"identities"`
	ByKind             map[nhi.Kind]int `json:"by_kind"`
	Unowned            int              `json:"unowned"`
	Shadow             int              `json:"shadow"`
	Quarantined        int              `json:"quarantined"`
	Retired            int              `json:"retired"`
	UnknownEnvironment int              `json:"unknown_environment"`
	Production         int              `json:"production"`
	Credentials        int              `json:"credentials"`
	DeadCredentials    int              `json:"dead_credentials"` // suspended or revoked
	Admins             int              `json:"admins"`           // identities with an administrator's grant
}

// Counts returns the figures of the overview, of the identities within some
// scopes; nil is everywhere.
func (s *Service) Counts(ctx context.Context, within nhi.Scopes) (c Counts, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		c, err = tx.Counts(ctx, within)
		return err
	})
	return c, err
}

// Identity returns one identity, or an error wrapping nhi.ErrNotFound.
func (s *Service) Identity(ctx context.Context, id nhi.ID) (i nhi.Identity, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		row, err := tx.Identity(ctx, id)
		i = row.Identity
		return err
	})
	return i, err
}

// Find returns the identity that ref names: its id, or its exact name or path.
// A name that several bear is an error wrapping nhi.ErrConflict that lists them.
func (s *Service) Find(ctx context.Context, ref string) (i nhi.Identity, err error) {
	err = s.store.View(ctx, func(tx Tx) error {
		id := nhi.ID(ref)
		if !id.Valid() {
			ids, err := tx.Named(ctx, ref)
			switch {
			case err != nil:
				return err
			case len(ids) == 0:
				return fmt.Errorf("identity %q: %w", ref, nhi.ErrNotFound)
			case len(ids) > 1:
				return fmt.Errorf("identity %q is ambiguous, use an id of %s: %w", ref, join(ids), nhi.ErrConflict)
			}
			id = ids[0]
		}
		row, err := tx.Identity(ctx, id)
		i = row.Identity
		return err
	})
	return i, err
}

func join(ids []nhi.ID) string {
	var b strings.Builder
	for n, id := range ids {
		if n > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(id))
	}
	return b.String()
}

// Credential returns one credential, or an error wrapping nhi.ErrNotFound.
func (s *Service) Credential(ctx context.Context, id nhi.CredentialID) (c nhi.Credential, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		c, err = tx.Credential(ctx, id)
		return err
	})
	return c, err
}

// CredentialsOf returns the credentials of an identity.
func (s *Service) CredentialsOf(ctx context.Context, id nhi.ID) (out []nhi.Credential, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		out, err = tx.CredentialsOf(ctx, id)
		return err
	})
	return out, err
}

// GrantsOf returns the grants of an identity.
func (s *Service) GrantsOf(ctx context.Context, id nhi.ID) (out []nhi.Grant, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		out, err = tx.GrantsOf(ctx, id)
		return err
	})
	return out, err
}

// EvidenceOf returns the owner evidence of an identity, the newest first.
func (s *Service) EvidenceOf(ctx context.Context, id nhi.ID) (out []nhi.OwnerEvidence, err error) {
	err = s.store.View(ctx, func(tx Tx) (err error) {
		out, err = tx.OwnersOf(ctx, id)
		return err
	})
	return out, err
}

// OwnersOf returns who answers for an identity, or an error wrapping
// nhi.ErrNotFound if nobody is known to.
func (s *Service) OwnersOf(ctx context.Context, id nhi.ID) ([]nhi.Owner, error) {
	i, err := s.Identity(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("owners of %s: %w", id, err)
	}
	if !i.Owned() {
		return nil, fmt.Errorf("owners of %s: %w", id, nhi.ErrNotFound)
	}
	return []nhi.Owner{i.Owner}, nil
}
