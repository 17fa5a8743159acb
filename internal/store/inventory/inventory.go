// Package inventory keeps the tables of the inventory: identities, their
// credentials, grants and owner evidence. It implements [inventory.Store].
//
// Rows that decisions read, those of identities and credentials, emit a change
// when the domain says so; grants and evidence do not. [Bind] joins inventory
// work into somebody else's transaction, and [LoadFacts] reads what decisions
// start from.
package inventory

import (
	"context"
	"fmt"
	"iter"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A Store is the inventory's part of a database.
type Store struct{ db *store.DB }

var _ inventory.Store = Store{}

// New returns the inventory kept in db.
func New(db *store.DB) Store { return Store{db} }

// Update implements [inventory.Store].
func (s Store) Update(ctx context.Context, fn func(inventory.Tx) error) (nhi.Generation, error) {
	return s.db.Write(ctx, func(tx *store.Tx) error { return fn(Tx{tx}) })
}

// Import implements [inventory.Store].
func (s Store) Import(ctx context.Context, fn func(inventory.Tx) error) (nhi.Generation, error) {
	return s.db.WriteAlone(ctx, func(tx *store.Tx) error { return fn(Tx{tx}) })
}

// View implements [inventory.Store].
func (s Store) View(ctx context.Context, fn func(inventory.Tx) error) error {
	return s.db.Read(ctx, func(tx *store.Tx) error { return fn(Tx{tx}) })
}

// A Tx reads and writes the tables within one transaction.
type Tx struct{ tx *store.Tx }

var _ inventory.Tx = Tx{}

// Bind returns the inventory within tx, for a caller whose other effects
// belong to the same transaction.
func Bind(tx *store.Tx) Tx { return Tx{tx} }

// LoadFacts hands every identity and then every credential to the given
// functions, from one snapshot, and returns its generation: what decisions
// start from before they follow the changes.
func LoadFacts(ctx context.Context, db *store.DB, identity func(nhi.Identity), credential func(nhi.Credential)) (g nhi.Generation, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		g = tx.Generation()
		for i, err := range EachIdentity(ctx, tx) {
			if err != nil {
				return fmt.Errorf("load identities: %w", err)
			}
			identity(i)
		}
		for c, err := range EachCredential(ctx, tx) {
			if err != nil {
				return fmt.Errorf("load credentials: %w", err)
			}
			credential(c)
		}
		return nil
	})
	return g, err
}

// EachIdentity ranges over every identity. An error is the last thing it
// yields.
func EachIdentity(ctx context.Context, tx *store.Tx) iter.Seq2[nhi.Identity, error] {
	const query = `
		SELECT id, kind, provider, account, native, name, path, environment, class, purpose,
		       state, shadow, owner, owner_confidence, owner_source, risk, labels,
		       created, first_seen, last_seen, attestable, not_before, alias, observed, missed
		FROM   identity`
	return func(yield func(nhi.Identity, error) bool) {
		for row, err := range each(ctx, tx, query, scanIdentity) {
			if !yield(row.Identity, err) {
				return
			}
		}
	}
}

// EachCredential ranges over every credential. An error is the last thing it
// yields.
func EachCredential(ctx context.Context, tx *store.Tx) iter.Seq2[nhi.Credential, error] {
	const query = `
		SELECT id, identity_id, kind, provider, account, public_id, verifier, fingerprint,
		       state, reason, consumer, native, created, expires, rotated, last_used, risk
		FROM   credential`
	return each(ctx, tx, query, scanCredential)
}

// scanner is a row, or the rows at their present one.
type scanner interface{ Scan(dest ...any) error }

func each[T any](ctx context.Context, tx *store.Tx, query string, scan func(scanner) (T, error), args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			yield(none, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scan(rows)
			if !yield(v, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, err)
		}
	}
}

// collect gathers what a query yields.
func collect[T any](ctx context.Context, tx *store.Tx, query string, scan func(scanner) (T, error), args ...any) ([]T, error) {
	var out []T
	for v, err := range each(ctx, tx, query, scan, args...) {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func scanText[T ~string](s scanner) (v T, err error) {
	err = s.Scan(&v)
	return v, err
}

// flag is how a truth is kept in a column of either engine.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
