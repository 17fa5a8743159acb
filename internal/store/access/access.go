// Package access keeps who may speak to Muster: points, sources, operator
// tokens, sign-in links and sessions. It implements the store interfaces that
// the domain access declares. A point, source or token is written together
// with its identity, and with the change that makes decisions know it, in one
// transaction.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/inventory"
)

// Store implements access.Enrollments, access.Tokens, access.Sessions and
// access.People over a database. It is safe for concurrent use.
type Store struct{ db *store.DB }

// New returns a Store over db.
func New(db *store.DB) *Store { return &Store{db} }

// maxListed bounds lists of what people enroll by hand.
const maxListed = 10_000

type scanner interface{ Scan(dest ...any) error }

const pointColumns = `id, name, key_id, verifier, dialect, mode, percent, sources, resources, created, disabled, assert, glass`

// points is every point with when it last asked.
const points = `
			SELECT    ` + pointColumns + `, COALESCE(last, 0)
			FROM      point
			LEFT JOIN point_call
			ON        point_call.point = point.id`

func scanPoint(s scanner) (nhi.Point, error) {
	var p nhi.Point
	var sources, resources, glass string
	var created, called int64
	err := s.Scan(&p.ID, &p.Name, &p.KeyID, &p.Verifier, &p.Dialect, &p.Mode, &p.Percent, &sources, &resources, &created, &p.Disabled, &p.Assert, &glass, &called)
	if err != nil {
		return nhi.Point{}, err
	}
	p.Created = store.Time(created)
	if called > 0 {
		p.Called = store.Time(called)
	}
	return p, errors.Join(json.Unmarshal([]byte(sources), &p.Sources), json.Unmarshal([]byte(resources), &p.Resources), json.Unmarshal([]byte(glass), &p.Glass))
}

// Points implements access.Enrollments.
func (s *Store) Points(ctx context.Context) ([]nhi.Point, error) {
	const query = points + `
			ORDER BY  name
			LIMIT     $1`
	return list(ctx, s.db, query, scanPoint)
}

// AddPoint implements access.Enrollments.
func (s *Store) AddPoint(ctx context.Context, p nhi.Point, identity nhi.Identity) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const taken = `SELECT COUNT(*) FROM point WHERE name = $1`
		if err := free(ctx, tx, taken, p.Name); err != nil {
			return err
		}
		if err := inventory.PutIdentity(ctx, tx, identity); err != nil {
			return err
		}
		return putPoint(ctx, tx, p)
	})
	return err
}

// UpdatePoint implements access.Enrollments.
func (s *Store) UpdatePoint(ctx context.Context, name string, change func(*nhi.Point) error) (nhi.Point, error) {
	var p nhi.Point
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = points + `
			WHERE     name = $1`
		var err error
		if p, err = scanPoint(tx.QueryRow(ctx, query, name)); err != nil {
			return err
		}
		if err := change(&p); err != nil {
			return err
		}
		return putPoint(ctx, tx, p)
	})
	return p, err
}

func putPoint(ctx context.Context, tx *store.Tx, p nhi.Point) error {
	const query = `
		INSERT INTO point (` + pointColumns + `)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (id) DO UPDATE
		SET         key_id = excluded.key_id, verifier = excluded.verifier, dialect = excluded.dialect, mode = excluded.mode,
		            percent = excluded.percent, sources = excluded.sources, resources = excluded.resources, disabled = excluded.disabled, assert = excluded.assert,
		            glass = excluded.glass`
	glass, err := json.Marshal(p.Glass)
	if err != nil {
		return fmt.Errorf("store point %s: %w", p.ID, err)
	}
	_, err = tx.Exec(ctx, query, string(p.ID), p.Name, p.KeyID, p.Verifier, string(p.Dialect), string(p.Mode), p.Percent,
		texts(p.Sources), texts(p.Resources), store.Micros(p.Created), flag(p.Disabled), flag(p.Assert), string(glass))
	if err != nil {
		return fmt.Errorf("store point %s: %w", p.ID, err)
	}
	return tx.Change(nhi.SubjectPoint, string(p.ID), p)
}

// Called notes when points last asked. An earlier moment than is known changes
// nothing, nor does a point that is not enrolled.
func Called(ctx context.Context, tx *store.Tx, calls map[nhi.ID]time.Time) error {
	const query = `
		INSERT INTO point_call (point, last)
		SELECT      id, CAST($2 AS BIGINT)
		FROM        point
		WHERE       id = $1
		ON CONFLICT (point) DO UPDATE
		SET         last = excluded.last
		WHERE       point_call.last < excluded.last`
	for _, id := range slices.Sorted(maps.Keys(calls)) {
		if _, err := tx.Exec(ctx, query, string(id), store.Micros(calls[id])); err != nil {
			return fmt.Errorf("note the last call of point %s: %w", id, err)
		}
	}
	return nil
}

const sourceColumns = `id, name, format, key_id, verifier, accounts, created, disabled`

func scanSource(s scanner) (nhi.Source, error) {
	var v nhi.Source
	var accounts string
	var created int64
	if err := s.Scan(&v.ID, &v.Name, &v.Format, &v.KeyID, &v.Verifier, &accounts, &created, &v.Disabled); err != nil {
		return nhi.Source{}, err
	}
	v.Created = store.Time(created)
	return v, json.Unmarshal([]byte(accounts), &v.Accounts)
}

// Sources implements access.Enrollments.
func (s *Store) Sources(ctx context.Context) ([]nhi.Source, error) {
	const query = `
		SELECT   ` + sourceColumns + `
		FROM     source
		ORDER BY name
		LIMIT    $1`
	return list(ctx, s.db, query, scanSource)
}

// AddSource implements access.Enrollments.
func (s *Store) AddSource(ctx context.Context, v nhi.Source, identity nhi.Identity) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const taken = `SELECT COUNT(*) FROM source WHERE name = $1`
		if err := free(ctx, tx, taken, v.Name); err != nil {
			return err
		}
		if err := inventory.PutIdentity(ctx, tx, identity); err != nil {
			return err
		}
		return putSource(ctx, tx, v)
	})
	return err
}

// UpdateSource implements access.Enrollments.
func (s *Store) UpdateSource(ctx context.Context, name string, change func(*nhi.Source) error) (nhi.Source, error) {
	var v nhi.Source
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = `
			SELECT ` + sourceColumns + `
			FROM   source
			WHERE  name = $1`
		var err error
		if v, err = scanSource(tx.QueryRow(ctx, query, name)); err != nil {
			return err
		}
		if err := change(&v); err != nil {
			return err
		}
		return putSource(ctx, tx, v)
	})
	return v, err
}

func putSource(ctx context.Context, tx *store.Tx, v nhi.Source) error {
	const query = `
		INSERT INTO source (` + sourceColumns + `)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE
		SET         key_id = excluded.key_id, verifier = excluded.verifier, accounts = excluded.accounts, disabled = excluded.disabled`
	_, err := tx.Exec(ctx, query, string(v.ID), v.Name, v.Format, v.KeyID, v.Verifier, texts(v.Accounts), store.Micros(v.Created), flag(v.Disabled))
	if err != nil {
		return fmt.Errorf("store source %s: %w", v.ID, err)
	}
	return tx.Change(nhi.SubjectSource, string(v.ID), v)
}

const tokenColumns = `key_id, verifier, name, identity_id, loopback, created, expires, grants, rights, person, parent, used, revoked`

func scanToken(s scanner) (access.Token, error) {
	var t access.Token
	var created, expires, used, revoked int64
	var grants, rights string
	err := s.Scan(&t.KeyID, &t.Verifier, &t.Name, &t.Identity, &t.Loopback, &created, &expires, &grants, &rights, &t.Person, &t.Parent, &used, &revoked)
	if err != nil {
		return access.Token{}, err
	}
	t.Created, t.Expires, t.Used, t.Revoked = store.Time(created), store.Time(expires), store.Time(used), store.Time(revoked)
	return t, errors.Join(json.Unmarshal([]byte(grants), &t.Grants), json.Unmarshal([]byte(rights), &t.Rights))
}

// Token implements access.Tokens.
func (s *Store) Token(ctx context.Context, keyID string) (access.Token, error) {
	const query = `
		SELECT ` + tokenColumns + `
		FROM   operator_token
		WHERE  key_id = $1`
	return one(ctx, s.db, query, scanToken, keyID)
}

// Tokens implements access.Tokens.
func (s *Store) Tokens(ctx context.Context) ([]access.Token, error) {
	const query = `
		SELECT   ` + tokenColumns + `
		FROM     operator_token
		ORDER BY created DESC, key_id
		LIMIT    $1`
	return list(ctx, s.db, query, scanToken)
}

// AddToken implements access.Tokens.
func (s *Store) AddToken(ctx context.Context, t access.Token, identity nhi.Identity, credential nhi.Credential) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		if err := inventory.PutIdentity(ctx, tx, identity); err != nil {
			return err
		}
		if err := inventory.PutCredential(ctx, tx, credential); err != nil {
			return err
		}
		const query = `
			INSERT INTO operator_token (` + tokenColumns + `)
			VALUES      ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0)`
		_, err := tx.Exec(ctx, query, t.KeyID, t.Verifier, t.Name, string(t.Identity), flag(t.Loopback), store.Micros(t.Created), store.Micros(t.Expires),
			jsonText(t.Grants), jsonText(t.Rights), t.Person, t.Parent)
		if err != nil {
			return fmt.Errorf("store token %s: %w", t.KeyID, err)
		}
		return nil
	})
	return err
}

// DropToken implements access.Tokens. The row stays, so that a first token is
// not made again and what was done with the token has a name.
func (s *Store) DropToken(ctx context.Context, keyID string, children bool, at time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = `
			UPDATE    operator_token
			SET       revoked = $2
			WHERE     (key_id = $1 OR $3 = 1 AND parent = $1)
			AND       revoked = 0
			RETURNING key_id`
		ids, err := rows(ctx, tx, query, func(s scanner) (id string, err error) { return id, s.Scan(&id) }, keyID, store.Micros(at), flag(children))
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := touchCredential(ctx, tx, id, func(c *nhi.Credential) { c.State, c.Reason = nhi.CredentialRevoked, "operator token revoked" }); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// TouchToken implements access.Tokens.
func (s *Store) TouchToken(ctx context.Context, keyID string, at time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = `
			UPDATE operator_token
			SET    used = $2
			WHERE  key_id = $1
			AND    used < $2`
		if _, err := tx.Exec(ctx, query, keyID, store.Micros(at)); err != nil {
			return err
		}
		return touchCredential(ctx, tx, keyID, func(c *nhi.Credential) { c.LastUsed = at })
	})
	return err
}

// touchCredential changes the credential of a token. Tokens from before have
// none.
func touchCredential(ctx context.Context, tx *store.Tx, keyID string, change func(*nhi.Credential)) error {
	c, err := inventory.GetCredential(ctx, tx, nhi.NewCredentialID("muster", "access", keyID))
	if errors.Is(err, nhi.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	change(&c)
	return inventory.PutCredential(ctx, tx, c)
}

// SaveLink implements access.Sessions.
func (s *Store) SaveLink(ctx context.Context, link access.Hash, l access.Login, expires time.Time) error {
	const query = `
		INSERT INTO link (hash, name, identity_id, created, expires, person, token)
		VALUES      ($1, $2, $3, $4, $5, $6, $7)`
	return s.exec(ctx, query, link[:], l.Name, string(l.Identity), store.Micros(l.Created), store.Micros(expires), l.Person, l.Token)
}

// TakeLink implements access.Sessions. Guessing costs a read; only a link that
// exists costs a write.
func (s *Store) TakeLink(ctx context.Context, link access.Hash, now time.Time) (access.Login, error) {
	const exists = `
		SELECT name, identity_id, created, created, person, token, ''
		FROM   link
		WHERE  hash = $1
		AND    expires > $2`
	if _, err := one(ctx, s.db, exists, scanOne, link[:], store.Micros(now)); err != nil {
		return access.Login{}, err
	}
	var l access.Login
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = `
			DELETE FROM link
			WHERE       hash = $1
			AND         expires > $2
			RETURNING   name, identity_id, created, created, person, token, ''`
		var err error
		l, err = scanOne(tx.QueryRow(ctx, query, link[:], store.Micros(now)))
		return err
	})
	return l, err
}

const loginColumns = `name, identity_id, created, used, person, token, address`

func scanLogin(s scanner, more ...any) (access.Login, error) {
	var l access.Login
	var created, used int64
	if err := s.Scan(append([]any{&l.Name, &l.Identity, &created, &used, &l.Person, &l.Token, &l.Address}, more...)...); err != nil {
		return access.Login{}, err
	}
	l.Created, l.Used = store.Time(created), store.Time(used)
	return l, nil
}

func scanOne(s scanner) (access.Login, error) { return scanLogin(s) }

// SaveSession implements access.Sessions.
func (s *Store) SaveSession(ctx context.Context, session access.Hash, l access.Login) error {
	const query = `
		INSERT INTO session (` + loginColumns + `, hash)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8)`
	return s.exec(ctx, query, l.Name, string(l.Identity), store.Micros(l.Created), store.Micros(l.Used), l.Person, l.Token, l.Address, session[:])
}

// Session implements access.Sessions.
func (s *Store) Session(ctx context.Context, session access.Hash) (access.Login, error) {
	const query = `
		SELECT ` + loginColumns + `
		FROM   session
		WHERE  hash = $1`
	return one(ctx, s.db, query, scanOne, session[:])
}

// TouchSession implements access.Sessions.
func (s *Store) TouchSession(ctx context.Context, session access.Hash, at time.Time) error {
	const query = `
		UPDATE session
		SET    used = $2
		WHERE  hash = $1
		AND    used < $2`
	return s.exec(ctx, query, session[:], store.Micros(at))
}

// DropSession implements access.Sessions.
func (s *Store) DropSession(ctx context.Context, session access.Hash) error {
	return s.exec(ctx, `DELETE FROM session WHERE hash = $1`, session[:])
}

// Prune implements access.Sessions.
func (s *Store) Prune(ctx context.Context, now, created, used time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM link WHERE expires <= $1`, store.Micros(now)); err != nil {
			return fmt.Errorf("prune links: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM used_once WHERE expires <= $1`, store.Micros(now)); err != nil {
			return fmt.Errorf("prune sign-ins: %w", err)
		}
		const sessions = `
			DELETE FROM session
			WHERE       created <= $1
			OR          used <= $2`
		if _, err := tx.Exec(ctx, sessions, store.Micros(created), store.Micros(used)); err != nil {
			return fmt.Errorf("prune sessions: %w", err)
		}
		return nil
	})
	return err
}

func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
	return err
}

// free returns an error wrapping nhi.ErrConflict when count finds name.
func free(ctx context.Context, tx *store.Tx, count, name string) error {
	var n int
	if err := tx.QueryRow(ctx, count, name).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("the name %s is taken, choose another: %w", name, nhi.ErrConflict)
	}
	return nil
}

// one reads one row. Reading ends with the function, so it is scanned inside.
func one[T any](ctx context.Context, db *store.DB, query string, scan func(scanner) (T, error), args ...any) (T, error) {
	var out T
	err := db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = scan(tx.QueryRow(ctx, query, args...))
		return err
	})
	return out, err
}

// list reads rows; the query's only parameter is the limit.
func list[T any](ctx context.Context, db *store.DB, query string, scan func(scanner) (T, error)) ([]T, error) {
	var out []T
	err := db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = rows(ctx, tx, query, scan, maxListed)
		return err
	})
	return out, err
}

// texts renders a list of texts as JSON.
func texts(list []string) string {
	body, err := json.Marshal(list)
	if err != nil {
		return "[]" // strings always marshal
	}
	return string(body)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
