package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

const personColumns = `id, issuer, subject, name, email, groups, assigned, disabled, created, signed_in`

func scanPerson(s scanner) (access.Person, error) {
	var p access.Person
	var groups, assigned string
	var created, signedIn int64
	if err := s.Scan(&p.ID, &p.Issuer, &p.Subject, &p.Name, &p.Email, &groups, &assigned, &p.Disabled, &created, &signedIn); err != nil {
		return access.Person{}, err
	}
	p.Created, p.SignedIn = store.Time(created), store.Time(signedIn)
	return p, errors.Join(json.Unmarshal([]byte(groups), &p.Groups), json.Unmarshal([]byte(assigned), &p.Grants))
}

// Person implements access.People.
func (s *Store) Person(ctx context.Context, id string) (access.Person, error) {
	const query = `
		SELECT ` + personColumns + `
		FROM   person
		WHERE  id = $1`
	return one(ctx, s.db, query, scanPerson, id)
}

const everybody = `
	SELECT   ` + personColumns + `
	FROM     person
	ORDER BY name, id
	LIMIT    $1`

// People implements access.People.
func (s *Store) People(ctx context.Context) ([]access.Person, error) {
	return list(ctx, s.db, everybody, scanPerson)
}

// SaveSignIn implements access.People.
func (s *Store) SaveSignIn(ctx context.Context, p access.Person) (access.Person, error) {
	var out access.Person
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = `
			INSERT INTO person (` + personColumns + `)
			VALUES      ($1, $2, $3, $4, $5, $6, '[]', 0, $7, $8)
			ON CONFLICT (id) DO UPDATE
			SET         name = excluded.name, email = excluded.email, groups = excluded.groups, signed_in = excluded.signed_in
			RETURNING   ` + personColumns
		var err error
		out, err = scanPerson(tx.QueryRow(ctx, query, p.ID, p.Issuer, p.Subject, p.Name, p.Email, texts(p.Groups), store.Micros(p.Created), store.Micros(p.SignedIn)))
		return err
	})
	return out, err
}

// UpdatePerson implements access.People.
func (s *Store) UpdatePerson(ctx context.Context, id string, change func(*access.Person, []access.Person) error) (access.Person, error) {
	var p access.Person
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		all, err := rows(ctx, tx, everybody, scanPerson, maxListed)
		if err != nil {
			return err
		}
		found := false
		var others []access.Person
		for _, one := range all {
			if one.ID == id {
				p, found = one, true
			} else {
				others = append(others, one)
			}
		}
		if !found {
			return fmt.Errorf("no such person: %w", nhi.ErrNotFound)
		}
		if err := change(&p, others); err != nil {
			return err
		}
		const query = `
			UPDATE person
			SET    assigned = $2, disabled = $3
			WHERE  id = $1`
		_, err = tx.Exec(ctx, query, id, jsonText(p.Grants), flag(p.Disabled))
		return err
	})
	return p, err
}

// SessionsOf implements access.Sessions.
func (s *Store) SessionsOf(ctx context.Context, person string) ([]access.Login, error) {
	const query = `
		SELECT   ` + loginColumns + `, hash
		FROM     session
		WHERE    person = $2
		ORDER BY created DESC, hash
		LIMIT    $1`
	var out []access.Login
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = rows(ctx, tx, query, func(s scanner) (access.Login, error) {
			var h []byte
			l, err := scanLogin(s, &h)
			copy(l.Hash[:], h)
			return l, err
		}, maxListed, person)
		return err
	})
	return out, err
}

// DropSessionsOf implements access.Sessions.
func (s *Store) DropSessionsOf(ctx context.Context, person string) error {
	return s.exec(ctx, `DELETE FROM session WHERE person = $1`, person)
}

// UseOnce implements access.Sessions.
func (s *Store) UseOnce(ctx context.Context, h access.Hash, expires time.Time) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		const query = `
			INSERT INTO used_once (hash, expires)
			VALUES      ($1, $2)
			ON CONFLICT (hash) DO NOTHING
			RETURNING   expires`
		var at int64
		err := tx.QueryRow(ctx, query, h[:], store.Micros(expires)).Scan(&at)
		if errors.Is(err, nhi.ErrNotFound) {
			return fmt.Errorf("used before: %w", nhi.ErrConflict)
		}
		return err
	})
	return err
}

// jsonText renders a list of values that always marshal.
func jsonText[T any](list []T) string {
	if list == nil {
		list = []T{}
	}
	body, err := json.Marshal(list)
	if err != nil {
		return "[]"
	}
	return string(body)
}

// rows reads rows within a transaction.
func rows[T any](ctx context.Context, tx *store.Tx, query string, scan func(scanner) (T, error), args ...any) ([]T, error) {
	found, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var out []T
	for found.Next() {
		v, err := scan(found)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, found.Err()
}
