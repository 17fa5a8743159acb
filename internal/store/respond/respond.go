// Package respond keeps findings, actions and sightings in the store. It
// implements the store that the domain respond declares: everything that an
// act changes (the credential's state, the action with its before-state, the
// finding, the notices) is written in one transaction, together with the
// changes that make decisions see it.
package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/inventory"
	"github.com/muster-id/muster/internal/store/notify"
)

// Store implements respond.Store over db. It is safe for concurrent use.
type Store struct{ db *store.DB }

// New returns a Store over db.
func New(db *store.DB) *Store { return &Store{db: db} }

// before is what an action found; undo puts it back.
type before struct {
	State  nhi.CredentialState `json:"state"`
	Reason string              `json:"reason"`
}

// Contain implements respond.Store.
func (s *Store) Contain(ctx context.Context, c respond.Containment) (nhi.Action, bool, error) {
	a, fresh := c.Action, false
	gen, err := s.db.Write(ctx, func(tx *store.Tx) error {
		known, err := actionByKey(ctx, tx, c.Key)
		if err == nil {
			a, fresh = known, false
			return nil
		}
		if !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		a, fresh = c.Action, true
		if err := apply(ctx, tx, &a, c.To, c.Finding.Sentence); err != nil {
			return err
		}
		if err := putSighting(ctx, tx, c.Sighting); err != nil {
			return err
		}
		if err := putFinding(ctx, tx, c.Finding); err != nil {
			return err
		}
		if err := putAction(ctx, tx, c.Key, a); err != nil {
			return err
		}
		return notify.Queue(ctx, tx, c.Notices)
	})
	if err != nil {
		return nhi.Action{}, false, err
	}
	if fresh {
		a.Generation = gen
	}
	return a, fresh, nil
}

// rank orders credential states from harmless to dead. An act never makes a
// credential less dead than it is.
var rank = map[nhi.CredentialState]int{
	nhi.CredentialActive: 0, nhi.CredentialNarrowed: 1, nhi.CredentialSuspended: 2, nhi.CredentialRevoked: 3,
}

// apply remembers the credential's state in a and moves it to the new one.
func apply(ctx context.Context, tx *store.Tx, a *nhi.Action, to nhi.CredentialState, reason string) error {
	cred, err := inventory.Bind(tx).Credential(ctx, a.Credential)
	if err != nil {
		return err
	}
	b, err := json.Marshal(before{State: cred.State, Reason: cred.Reason})
	if err != nil {
		return fmt.Errorf("remember the state of %s: %w", cred.ID, err)
	}
	a.Before = b
	if a.Status != nhi.ActionDone || rank[cred.State] >= rank[to] {
		return nil
	}
	cred.State, cred.Reason = to, reason
	return inventory.Bind(tx).PutCredential(ctx, cred, true)
}

// Undo implements respond.Store.
func (s *Store) Undo(ctx context.Context, id, by string, at time.Time, notices []nhi.Notice) (nhi.Action, error) {
	var a nhi.Action
	gen, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var key string
		var err error
		if a, key, err = getAction(ctx, tx, id); err != nil {
			return err
		}
		if a.Status != nhi.ActionDone {
			return fmt.Errorf("the action is %s: %w", a.Status, nhi.ErrConflict)
		}
		if err := restore(ctx, tx, a); err != nil {
			return err
		}
		if err := resolve(ctx, tx, a); err != nil {
			return err
		}
		a.Status, a.UndoneAt, a.UndoneBy = nhi.ActionUndone, at.UTC(), by
		if err := putAction(ctx, tx, key, a); err != nil {
			return err
		}
		return notify.Queue(ctx, tx, notices)
	})
	a.Generation = gen
	return a, err
}

// restore puts the credential back as the action found it, if nobody has
// moved it since.
func restore(ctx context.Context, tx *store.Tx, a nhi.Action) error {
	cred, err := inventory.Bind(tx).Credential(ctx, a.Credential)
	if err != nil {
		return err
	}
	var b before
	if err := json.Unmarshal(a.Before, &b); err != nil {
		return fmt.Errorf("read the state before action %s: %w", a.ID, err)
	}
	left := map[nhi.Measure]nhi.CredentialState{
		nhi.MeasureNarrow: nhi.CredentialNarrowed, nhi.MeasureSuspend: nhi.CredentialSuspended, nhi.MeasureRevoke: nhi.CredentialRevoked,
	}[a.Measure]
	if cred.State != left {
		return fmt.Errorf("the credential is %s, not %s as the action left it: %w", cred.State, left, nhi.ErrConflict)
	}
	if later, err := containedSince(ctx, tx, a); err != nil {
		return err
	} else if later != "" {
		return fmt.Errorf("action %s contains the same credential; undo that first: %w", later, nhi.ErrConflict)
	}
	cred.State, cred.Reason = b.State, b.Reason
	return inventory.Bind(tx).PutCredential(ctx, cred, true)
}

// resolve closes the findings about the credential that a person answers for
// by lifting its containment, and forgets that it was seen.
func resolve(ctx context.Context, tx *store.Tx, a nhi.Action) error {
	open, err := list[nhi.Finding](ctx, tx, `
		SELECT   body
		FROM     finding
		WHERE    credential = $1
		AND      status IN ('open', 'acknowledged')
		ORDER BY id
		LIMIT    1000`, a.Credential)
	if err != nil {
		return err
	}
	for _, f := range open {
		f.Status = nhi.Resolved
		if err := putFinding(ctx, tx, f); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `
		UPDATE sighting
		SET    verdict = 'lifted'
		WHERE  credential = $1
		AND    verdict = $2`, a.Credential, nhi.Confirmed)
	return err
}

// containedSince finds a standing act on the same credential other than a.
// Lifting one containment must not lift another's.
func containedSince(ctx context.Context, tx *store.Tx, a nhi.Action) (string, error) {
	var id string
	err := tx.QueryRow(ctx, `
		SELECT   id
		FROM     action
		WHERE    credential = $1
		AND      status = $2
		AND      id > $3
		ORDER BY id
		LIMIT    1`, a.Credential, nhi.ActionDone, a.ID).Scan(&id)
	if errors.Is(err, nhi.ErrNotFound) {
		return "", nil
	}
	return id, err
}

// Approve implements respond.Store.
func (s *Store) Approve(ctx context.Context, id, by string, at time.Time) (nhi.Action, error) {
	var a nhi.Action
	gen, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var key string
		var err error
		if a, key, err = getAction(ctx, tx, id); err != nil {
			return err
		}
		if a.Status != nhi.ActionProposed {
			return fmt.Errorf("the action is %s, not proposed: %w", a.Status, nhi.ErrConflict)
		}
		a.Status, a.At = nhi.ActionDone, at.UTC()
		if err := apply(ctx, tx, &a, nhi.CredentialSuspended, a.Reason+", approved by "+by); err != nil {
			return err
		}
		return putAction(ctx, tx, key, a)
	})
	a.Generation = gen
	return a, err
}

// SaveSighting implements respond.Store.
func (s *Store) SaveSighting(ctx context.Context, sighting nhi.Sighting) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error { return putSighting(ctx, tx, sighting) })
	return err
}

// SaveFindings implements respond.Store.
func (s *Store) SaveFindings(ctx context.Context, findings []nhi.Finding, notices func(nhi.Finding) []nhi.Notice) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error { return SaveFindings(ctx, tx, findings, notices) })
	return err
}

// SaveFindings merges findings in a transaction that also moves a reader's
// position, so that a crash repeats both or none. notices may be nil.
func SaveFindings(ctx context.Context, tx *store.Tx, findings []nhi.Finding, notices func(nhi.Finding) []nhi.Notice) error {
	for _, f := range findings {
		old, err := getFinding(ctx, tx, f.ID)
		switch {
		case errors.Is(err, nhi.ErrNotFound):
			if notices != nil {
				if err := notify.Queue(ctx, tx, notices(f)); err != nil {
					return err
				}
			}
		case err != nil:
			return err
		default:
			f = merge(old, f)
		}
		if err := putFinding(ctx, tx, f); err != nil {
			return err
		}
	}
	return nil
}

// merge keeps what people said and when it was first known, and takes the
// newer view of what happened.
func merge(old, seen nhi.Finding) nhi.Finding {
	seen.Status, seen.DetectedAt, seen.Action = old.Status, old.DetectedAt, old.Action
	if old.FirstSeen.Before(seen.FirstSeen) {
		seen.FirstSeen = old.FirstSeen
	}
	if old.LastSeen.After(seen.LastSeen) {
		seen.LastSeen = old.LastSeen
	}
	seen.Count = max(old.Count, seen.Count)
	return seen
}

// SetStatus implements respond.Store.
func (s *Store) SetStatus(ctx context.Context, id string, status nhi.FindingStatus) (nhi.Finding, error) {
	var f nhi.Finding
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		if f, err = getFinding(ctx, tx, id); err != nil {
			return err
		}
		f.Status = status
		return putFinding(ctx, tx, f)
	})
	return f, err
}

// Recent implements respond.Store.
func (s *Store) Recent(ctx context.Context, limit int) ([]nhi.Action, error) {
	var out []nhi.Action
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list[nhi.Action](ctx, tx, `
			SELECT   body
			FROM     action
			ORDER BY at DESC, id
			LIMIT    $1`, limit)
		return err
	})
	return out, err
}

// Action returns one action.
func (s *Store) Action(ctx context.Context, id string) (nhi.Action, error) {
	var a nhi.Action
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		a, _, err = getAction(ctx, tx, id)
		return err
	})
	return a, err
}

// Finding returns one finding.
func (s *Store) Finding(ctx context.Context, id string) (nhi.Finding, error) {
	var f nhi.Finding
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		f, err = getFinding(ctx, tx, id)
		return err
	})
	return f, err
}

// Findings returns up to limit findings, the worst and newest first. An empty
// status, identity or credential means any; after skips what an earlier page showed.
func (s *Store) Findings(ctx context.Context, status nhi.FindingStatus, identity nhi.ID, credential nhi.CredentialID, after, limit int) ([]nhi.Finding, int, error) {
	var out []nhi.Finding
	var total int
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT COUNT(*)
			FROM   finding
			WHERE  ($1 = '' OR status = $1)
			AND    ($2 = '' OR identity = $2)
			AND    ($3 = '' OR credential = $3)`, status, identity, credential).Scan(&total)
		if err != nil {
			return err
		}
		out, err = list[nhi.Finding](ctx, tx, `
			SELECT   body
			FROM     finding
			WHERE    ($1 = '' OR status = $1)
			AND      ($2 = '' OR identity = $2)
			AND      ($3 = '' OR credential = $3)
			ORDER BY rank DESC, detected DESC, id
			LIMIT    $4
			OFFSET   $5`, status, identity, credential, limit, after)
		return err
	})
	return out, total, err
}

// Leaked returns the credentials with a confirmed sighting.
func (s *Store) Leaked(ctx context.Context) ([]nhi.CredentialID, error) {
	var out []nhi.CredentialID
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT DISTINCT credential
			FROM            sighting
			WHERE           verdict = $1
			ORDER BY        credential`, nhi.Confirmed)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id nhi.CredentialID
			if err := rows.Scan(&id); err != nil {
				return err
			}
			out = append(out, id)
		}
		return rows.Err()
	})
	return out, err
}

// Counts returns how many findings are open, and how many of those critical.
func (s *Store) Counts(ctx context.Context) (open, critical int, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT COUNT(*), COALESCE(SUM(CASE WHEN rank = 4 THEN 1 ELSE 0 END), 0)
			FROM   finding
			WHERE  status = $1`, nhi.Open).Scan(&open, &critical)
	})
	return open, critical, err
}
