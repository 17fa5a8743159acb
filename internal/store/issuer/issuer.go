// Package issuer keeps what the issuer must not forget: its signing keys,
// sealed, and what was revoked. It implements issuer.KeyStore and
// issuer.Revocations. Tokens themselves are stored nowhere.
package issuer

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// keysDocument is the document that holds the sealed keys.
const keysDocument = "issuer-keys"

// Store is over a database and safe for concurrent use.
type Store struct{ db *store.DB }

// New returns a Store over db.
func New(db *store.DB) *Store { return &Store{db} }

// Keys keeps one set of sealed keys. It implements issuer.KeyStore.
type Keys struct {
	db   *store.DB
	name string
}

// NewKeys returns Keys over db in a document of their own.
func NewKeys(db *store.DB, name string) *Keys { return &Keys{db, name} }

// LoadKeys implements issuer.KeyStore.
func (s *Store) LoadKeys(ctx context.Context) ([]byte, error) {
	return NewKeys(s.db, keysDocument).LoadKeys(ctx)
}

// SaveKeys implements issuer.KeyStore.
func (s *Store) SaveKeys(ctx context.Context, sealed []byte) error {
	return NewKeys(s.db, keysDocument).SaveKeys(ctx, sealed)
}

// LoadKeys implements issuer.KeyStore.
func (s *Keys) LoadKeys(ctx context.Context) ([]byte, error) {
	var body []byte
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		d, err := tx.Document(ctx, s.name)
		body = d.Body
		return err
	})
	return body, err
}

// SaveKeys implements issuer.KeyStore.
func (s *Keys) SaveKeys(ctx context.Context, sealed []byte) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.PutDocument(ctx, s.name, sealed)
		return err
	})
	return err
}

// Revoke implements issuer.Revocations. A later revocation of the same thing
// never weakens an earlier one; one without an end is never forgotten.
func (s *Store) Revoke(ctx context.Context, r nhi.Revocation) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error { return Revoke(ctx, tx, r) })
	return err
}

// Revoke writes a revocation in the transaction of something else, such as a
// containment.
func Revoke(ctx context.Context, tx *store.Tx, r nhi.Revocation) error {
	name, set := "", 0
	for _, part := range []string{r.Token, r.Key, string(r.Identity)} {
		if part != "" {
			name, set = part, set+1
		}
	}
	if set != 1 {
		return nhi.Invalidf("a revocation names exactly one of token, key and identity")
	}
	const query = `
		INSERT INTO revocation (token, key, identity_id, at, expires, reason)
		VALUES      ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (token, key, identity_id) DO UPDATE
		SET         at      = CASE WHEN excluded.at > revocation.at THEN excluded.at ELSE revocation.at END,
		            expires = CASE WHEN excluded.expires = 0 OR revocation.expires = 0 THEN 0
		                           WHEN excluded.expires > revocation.expires THEN excluded.expires
		                           ELSE revocation.expires END,
		            reason  = excluded.reason`
	if _, err := tx.Exec(ctx, query, r.Token, r.Key, string(r.Identity), store.Micros(r.At), store.Micros(r.Expires), r.Reason); err != nil {
		return fmt.Errorf("store a revocation: %w", err)
	}
	return tx.Change(nhi.SubjectRevocation, name, r)
}

// Revocations returns what is revoked at a time, the oldest first: what Facts
// begin with.
func (s *Store) Revocations(ctx context.Context, now time.Time) ([]nhi.Revocation, error) {
	const query = `
		SELECT   token, key, identity_id, at, expires, reason
		FROM     revocation
		WHERE    (expires > $1 OR expires = 0)
		ORDER BY at, token, key, identity_id`
	var out []nhi.Revocation
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, query, store.Micros(now))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r nhi.Revocation
			var at, expires int64
			if err := rows.Scan(&r.Token, &r.Key, &r.Identity, &at, &expires, &r.Reason); err != nil {
				return err
			}
			r.At, r.Expires = store.Time(at), store.Time(expires)
			out = append(out, r)
		}
		return rows.Err()
	})
	return out, err
}

// Prune forgets revocations of what has expired by itself.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM revocation WHERE expires <= $1 AND expires <> 0`, store.Micros(now))
		return err
	})
	return err
}
