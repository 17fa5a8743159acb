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
func (s *Store) Contain(ctx context.Context, c respond.Containment) (respond.Contained, error) {
	var out respond.Contained
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		out, err = contain(ctx, tx, &c)
		return err
	})
	return out, err
}

func contain(ctx context.Context, tx *store.Tx, c *respond.Containment) (respond.Contained, error) {
	lifted, err := isLifted(ctx, tx, c.Sighting.ID)
	if err != nil {
		return respond.Contained{}, err
	}
	fresh, err := putSighting(ctx, tx, c.Sighting)
	if err != nil {
		return respond.Contained{}, err
	}
	switch known, err := actionByKey(ctx, tx, c.Key); {
	case err == nil:
		if fresh { // another place, the same act
			err = again(ctx, tx, known.Finding, c.Finding)
		}
		return respond.Contained{Action: known, Finding: known.Finding}, err
	case !errors.Is(err, nhi.ErrNotFound):
		return respond.Contained{}, err
	}
	if lifted || !fresh { // somebody answers for this very sighting, or it was dealt with
		return linked(ctx, tx, c.Finding.ID)
	}
	if a, stands, err := standing(ctx, tx, c); err != nil || stands {
		if err != nil {
			return respond.Contained{}, err
		}
		c.Finding.Action = a.ID
		return respond.Contained{Action: a, Finding: c.Finding.ID}, SaveFindings(ctx, tx, []nhi.Finding{c.Finding}, c.Notices)
	}
	a := c.Action
	if err := apply(ctx, tx, &a, c.To, c.Finding.Sentence); err != nil {
		return respond.Contained{}, err
	}
	if err := putFinding(ctx, tx, c.Finding); err != nil {
		return respond.Contained{}, err
	}
	if err := putAction(ctx, tx, c.Key, a); err != nil {
		return respond.Contained{}, err
	}
	if err := dueAct(ctx, tx, c.Act(a)); err != nil {
		return respond.Contained{}, err
	}
	out := respond.Contained{Action: a, Finding: c.Finding.ID, Fresh: true}
	return out, notify.Queue(ctx, tx, c.Notices(c.Finding))
}

// standing finds the act that already contains the credential at least as
// hard as c would. One act is enough: undoing it lifts them all.
func standing(ctx context.Context, tx *store.Tx, c *respond.Containment) (nhi.Action, bool, error) {
	if c.Action.Status != nhi.ActionDone {
		return nhi.Action{}, false, nil
	}
	cred, err := inventory.GetCredential(ctx, tx, c.Action.Credential)
	if err != nil || rank[cred.State] < rank[c.To] {
		return nhi.Action{}, false, err
	}
	done, err := doneActions(ctx, tx, cred.ID)
	if err != nil || len(done) == 0 {
		return nhi.Action{}, false, err
	}
	newest := done[0]
	for _, a := range done[1:] {
		if a.Generation > newest.Generation {
			newest = a
		}
	}
	return newest, true, nil
}

// linked returns what was done about a finding.
func linked(ctx context.Context, tx *store.Tx, finding string) (respond.Contained, error) {
	f, err := getFinding(ctx, tx, finding)
	if errors.Is(err, nhi.ErrNotFound) {
		return respond.Contained{}, nil
	}
	if err != nil || f.Action == "" {
		return respond.Contained{Finding: f.ID}, err
	}
	a, _, err := getAction(ctx, tx, f.Action)
	return respond.Contained{Action: a, Finding: f.ID}, err
}

// again counts one more sighting of what a finding tells.
func again(ctx context.Context, tx *store.Tx, id string, seen nhi.Finding) error {
	f, err := getFinding(ctx, tx, id)
	if err != nil {
		return err
	}
	f.Count++
	if seen.LastSeen.After(f.LastSeen) {
		f.LastSeen = seen.LastSeen
	}
	if len(f.Events) < maxCited {
		f.Events = append(f.Events, seen.Events...)
	}
	return putFinding(ctx, tx, f)
}

// maxCited bounds the sightings that a finding names.
const maxCited = 20

// Note implements respond.Store.
func (s *Store) Note(ctx context.Context, sighting nhi.Sighting, f nhi.Finding, notices respond.Notices) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		fresh, err := putSighting(ctx, tx, sighting)
		if err != nil || !fresh {
			return err
		}
		if _, err := getFinding(ctx, tx, f.ID); err == nil {
			return again(ctx, tx, f.ID, f)
		}
		return SaveFindings(ctx, tx, []nhi.Finding{f}, notices)
	})
	return err
}

// rank orders credential states from harmless to dead. An act never makes a
// credential less dead than it is.
var rank = map[nhi.CredentialState]int{
	nhi.CredentialActive: 0, nhi.CredentialNarrowed: 1, nhi.CredentialSuspended: 2, nhi.CredentialRevoked: 3,
}

// apply remembers the credential's state in a and moves it to the new one.
func apply(ctx context.Context, tx *store.Tx, a *nhi.Action, to nhi.CredentialState, reason string) error {
	cred, err := inventory.GetCredential(ctx, tx, a.Credential)
	if err != nil {
		return err
	}
	b, err := json.Marshal(before{State: cred.State, Reason: cred.Reason})
	if err != nil {
		return fmt.Errorf("remember the state of %s: %w", cred.ID, err)
	}
	a.Before = b
	if a.Status == nhi.ActionDone && rank[cred.State] < rank[to] {
		cred.State, cred.Reason = to, reason
		if err := inventory.PutCredential(ctx, tx, cred); err != nil {
			return err
		}
	}
	a.Generation = tx.Reached()
	return nil
}

// Undo implements respond.Store.
func (s *Store) Undo(ctx context.Context, id string, u respond.Undoing) (nhi.Action, bool, error) {
	var a nhi.Action
	var free bool
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		a, free, err = undo(ctx, tx, id, u)
		return err
	})
	return a, free, err
}

func undo(ctx context.Context, tx *store.Tx, id string, u respond.Undoing) (nhi.Action, bool, error) {
	a, key, err := getAction(ctx, tx, id)
	if err != nil {
		return a, false, err
	}
	if a.Status != nhi.ActionDone {
		return a, false, fmt.Errorf("the action is %s: %w", a.Status, nhi.ErrConflict)
	}
	others, err := doneActions(ctx, tx, a.Credential)
	if err != nil {
		return a, false, err
	}
	for _, o := range others {
		if o.ID != a.ID && o.Generation > a.Generation {
			// Lifting one containment must not lift another's.
			return a, false, fmt.Errorf("action %s contains the same credential; undo that first: %w", o.ID, nhi.ErrConflict)
		}
	}
	if err := restore(ctx, tx, a); err != nil {
		return a, false, err
	}
	a.Generation = tx.Reached()
	free := len(others) == 1
	if err := resolve(ctx, tx, a, free, u.At); err != nil {
		return a, false, err
	}
	a.Status, a.UndoneAt, a.UndoneBy = nhi.ActionUndone, u.At.UTC(), u.By
	if err := putAction(ctx, tx, key, a); err != nil {
		return a, false, err
	}
	if err := dueAct(ctx, tx, u.Act(a)); err != nil {
		return a, false, err
	}
	f, err := getFinding(ctx, tx, a.Finding)
	if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return a, false, err
	}
	return a, free, notify.Queue(ctx, tx, u.Notices(f, a))
}

// restore puts the credential back as the action found it, if nobody has
// moved it since.
func restore(ctx context.Context, tx *store.Tx, a nhi.Action) error {
	cred, err := inventory.GetCredential(ctx, tx, a.Credential)
	if err != nil {
		return err
	}
	var b before
	if err := json.Unmarshal(a.Before, &b); err != nil {
		return fmt.Errorf("read the state before action %s: %w", a.ID, err)
	}
	left, known := map[nhi.Measure]nhi.CredentialState{
		nhi.MeasureNarrow: nhi.CredentialNarrowed, nhi.MeasureSuspend: nhi.CredentialSuspended,
	}[a.Measure]
	if !known {
		return fmt.Errorf("%s cannot be undone: %w", a.Measure, nhi.ErrConflict)
	}
	if rank[b.State] > rank[left] {
		left = b.State // it was worse already, and the action left it alone
	}
	if cred.State != left {
		return fmt.Errorf("the credential is %s, not %s as the action left it: %w", cred.State, left, nhi.ErrConflict)
	}
	cred.State, cred.Reason = b.State, b.Reason
	return inventory.PutCredential(ctx, tx, cred)
}

// resolve closes the findings that a person answers for by lifting a
// containment. If nothing contains the credential any more, those are all that
// are open about it, and what was seen of it is forgiven; if not, it is the
// action's own.
func resolve(ctx context.Context, tx *store.Tx, a nhi.Action, free bool, at time.Time) error {
	const open = `
		SELECT   body
		FROM     finding
		WHERE    credential = $1
		AND      status IN ('open', 'acknowledged')
		ORDER BY id
		LIMIT    10000`
	findings, err := list[nhi.Finding](ctx, tx, open, a.Credential)
	if err != nil {
		return err
	}
	for _, f := range findings {
		if !free && f.Action != a.ID {
			continue
		}
		f.Status, f.Settled = nhi.Resolved, at.UTC()
		if err := putFinding(ctx, tx, f); err != nil {
			return err
		}
	}
	if !free {
		return nil
	}
	_, err = tx.Exec(ctx, `
		UPDATE sighting
		SET    verdict = $3
		WHERE  credential = $1
		AND    verdict = $2`, a.Credential, nhi.Confirmed, lifted)
	return err
}

// Approve implements respond.Store.
func (s *Store) Approve(ctx context.Context, id string, p respond.Approval) (nhi.Action, error) {
	var a nhi.Action
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var key string
		var err error
		if a, key, err = getAction(ctx, tx, id); err != nil {
			return err
		}
		if a.Status != nhi.ActionProposed {
			return fmt.Errorf("the action is %s, not proposed: %w", a.Status, nhi.ErrConflict)
		}
		a.Status, a.At, a.Actor = nhi.ActionDone, p.At.UTC(), p.By
		if err := apply(ctx, tx, &a, nhi.CredentialSuspended, a.Reason+", approved by "+p.By); err != nil {
			return err
		}
		if err := putAction(ctx, tx, key, a); err != nil {
			return err
		}
		if err := dueAct(ctx, tx, p.Act(a)); err != nil {
			return err
		}
		f, err := getFinding(ctx, tx, a.Finding)
		if err != nil {
			return err
		}
		return notify.Queue(ctx, tx, p.Notices(f, a))
	})
	return a, err
}

// SaveSighting implements respond.Store.
func (s *Store) SaveSighting(ctx context.Context, sighting nhi.Sighting) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		_, err := putSighting(ctx, tx, sighting)
		return err
	})
	return err
}

// SaveFindings implements respond.Store.
func (s *Store) SaveFindings(ctx context.Context, findings []nhi.Finding, notices respond.Notices) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error { return SaveFindings(ctx, tx, findings, notices) })
	return err
}

// SaveFindings merges findings in a transaction that also moves a reader's
// position, so that a crash repeats both or none. Each becomes what is on
// record afterwards. notices may be nil.
func SaveFindings(ctx context.Context, tx *store.Tx, findings []nhi.Finding, notices respond.Notices) error {
	for i := range findings {
		f := &findings[i]
		old, err := getFinding(ctx, tx, f.ID)
		if err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		news := err != nil
		if !news {
			*f = merge(old, *f)
			news = old.Status == nhi.Resolved && f.Status == nhi.Open
		} else if at, err := forgiven(ctx, tx, f); err != nil {
			return err
		} else if !at.IsZero() {
			f.Status, f.Settled, news = nhi.Resolved, at, false
		}
		if news && notices != nil {
			if err := notify.Queue(ctx, tx, notices(*f)); err != nil {
				return err
			}
		}
		if err := putFinding(ctx, tx, *f); err != nil {
			return err
		}
	}
	return nil
}

// forgiven returns when somebody lifted the containment of the finding's
// credential, if all of the finding happened before that: learning is a moment
// behind, and who lifts a containment answers for what was done until then. It is
// the zero time if not, or if the credential is contained.
func forgiven(ctx context.Context, tx *store.Tx, f *nhi.Finding) (time.Time, error) {
	if f.Credential == "" {
		return time.Time{}, nil
	}
	actions, err := list[nhi.Action](ctx, tx, `
		SELECT   body
		FROM     action
		WHERE    credential = $1
		ORDER BY at DESC
		LIMIT    100`, f.Credential)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	for _, a := range actions {
		switch {
		case a.Status == nhi.ActionDone:
			return time.Time{}, nil
		case a.Status == nhi.ActionUndone && a.UndoneAt.After(at):
			at = a.UndoneAt
		}
	}
	if f.LastSeen.After(at) {
		return time.Time{}, nil
	}
	return at, nil
}

// merge keeps what people said and when it was first known, and takes the
// newer view of what happened. What was dismissed stays so, however often it
// recurs; what was resolved opens again when it goes on afterwards.
func merge(old, seen nhi.Finding) nhi.Finding {
	seen.Status, seen.DetectedAt, seen.Action, seen.Settled = old.Status, old.DetectedAt, old.Action, old.Settled
	if old.Status == nhi.Resolved && seen.LastSeen.After(old.Settled) && seen.Count > old.Count {
		seen.Status, seen.Settled = nhi.Open, time.Time{}
	}
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
func (s *Store) SetStatus(ctx context.Context, id string, status nhi.FindingStatus, act nhi.Act) (nhi.Finding, error) {
	var f nhi.Finding
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		if f, err = getFinding(ctx, tx, id); err != nil {
			return err
		}
		if f.Status, f.Settled = status, (time.Time{}); status == nhi.Resolved || status == nhi.Dismissed {
			f.Settled = act.At.UTC()
		}
		if err := putFinding(ctx, tx, f); err != nil {
			return err
		}
		return dueAct(ctx, tx, act)
	})
	return f, err
}

// DueActs implements respond.Store.
func (s *Store) DueActs(ctx context.Context, limit int) ([]nhi.Act, error) {
	var out []nhi.Act
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list[nhi.Act](ctx, tx, `
			SELECT   body
			FROM     act_due
			ORDER BY at, key
			LIMIT    $1`, limit)
		return err
	})
	return out, err
}

// ActsRecorded implements respond.Store.
func (s *Store) ActsRecorded(ctx context.Context, keys []string) error {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		for _, key := range keys {
			if _, err := tx.Exec(ctx, `DELETE FROM act_due WHERE key = $1`, key); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Behaving returns the open findings of behaviour detected since then, up to
// limit of the newest: what risk consists of.
func Behaving(ctx context.Context, db *store.DB, since time.Time, limit int) ([]nhi.Finding, error) {
	var out []nhi.Finding
	err := db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list[nhi.Finding](ctx, tx, `
			SELECT   body
			FROM     finding
			WHERE    (rule >= 'DET-' AND rule < 'DET.' OR rule = 'SIG-03')
			AND      status IN ('open', 'acknowledged')
			AND      detected >= $1
			ORDER BY detected DESC, id
			LIMIT    $2`, store.Micros(since), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the open findings of behaviour: %w", err)
	}
	return out, nil
}

// Forget removes the sightings of other people's secrets that are older than
// before.
func Forget(ctx context.Context, db *store.DB, before time.Time) error {
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `
			DELETE FROM sighting
			WHERE       verdict = $1
			AND         at < $2`, nhi.Unknown, store.Micros(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget sightings of other people's secrets: %w", err)
	}
	return nil
}

// Recent returns what was done to credentials within some scopes (nil is
// everywhere), the newest first.
func (s *Store) Recent(ctx context.Context, within nhi.Scopes, limit int) ([]nhi.Action, error) {
	var out []nhi.Action
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list[nhi.Action](ctx, tx, `
			SELECT   body
			FROM     action
			WHERE    ($2 = '' OR credential IN (
				SELECT c.id
				FROM   credential c
				JOIN   identity i ON i.id = c.identity_id
				WHERE  REPLACE($2, '[' || i.owner || '|]', '') <> $2
				OR     REPLACE($2, '[|' || i.environment || ']', '') <> $2
				OR     REPLACE($2, '[' || i.owner || '|' || i.environment || ']', '') <> $2))
			ORDER BY at DESC, id
			LIMIT    $1`, limit, within.Text())
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
// status, identity or credential means any, nil scopes everywhere; after skips
// what an earlier page showed.
func (s *Store) Findings(ctx context.Context, status nhi.FindingStatus, identity nhi.ID, credential nhi.CredentialID, within nhi.Scopes, after, limit int) ([]nhi.Finding, int, error) {
	var out []nhi.Finding
	var total int
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT COUNT(*)
			FROM   finding
			WHERE  ($1 = '' OR status = $1)
			AND    ($2 = '' OR identity = $2)
			AND    ($3 = '' OR credential = $3)
			AND    ($4 = '' OR identity IN (
				SELECT id
				FROM   identity
				WHERE  REPLACE($4, '[' || owner || '|]', '') <> $4
				OR     REPLACE($4, '[|' || environment || ']', '') <> $4
				OR     REPLACE($4, '[' || owner || '|' || environment || ']', '') <> $4))`, status, identity, credential, within.Text()).Scan(&total)
		if err != nil {
			return err
		}
		out, err = list[nhi.Finding](ctx, tx, `
			SELECT   body
			FROM     finding
			WHERE    ($1 = '' OR status = $1)
			AND      ($2 = '' OR identity = $2)
			AND      ($3 = '' OR credential = $3)
			AND      ($6 = '' OR identity IN (
				SELECT id
				FROM   identity
				WHERE  REPLACE($6, '[' || owner || '|]', '') <> $6
				OR     REPLACE($6, '[|' || environment || ']', '') <> $6
				OR     REPLACE($6, '[' || owner || '|' || environment || ']', '') <> $6))
			ORDER BY rank DESC, detected DESC, id
			LIMIT    $4
			OFFSET   $5`, status, identity, credential, limit, after, within.Text())
		return err
	})
	return out, total, err
}

// Sightings returns where a credential was seen, the newest first, at most a
// hundred.
func (s *Store) Sightings(ctx context.Context, id nhi.CredentialID) ([]nhi.Sighting, error) {
	var out []nhi.Sighting
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list[nhi.Sighting](ctx, tx, `
			SELECT   body
			FROM     sighting
			WHERE    credential = $1
			ORDER BY at DESC
			LIMIT    100`, id)
		return err
	})
	return out, err
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

// Counts returns how many findings are open, and how many of those critical,
// within some scopes; nil is everywhere.
func (s *Store) Counts(ctx context.Context, within nhi.Scopes) (open, critical int, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `
			SELECT COUNT(*), COALESCE(SUM(CASE WHEN rank = 4 THEN 1 ELSE 0 END), 0)
			FROM   finding
			WHERE  status = $1
			AND    ($2 = '' OR identity IN (
				SELECT id
				FROM   identity
				WHERE  REPLACE($2, '[' || owner || '|]', '') <> $2
				OR     REPLACE($2, '[|' || environment || ']', '') <> $2
				OR     REPLACE($2, '[' || owner || '|' || environment || ']', '') <> $2))`, nhi.Open, within.Text()).Scan(&open, &critical)
	})
	return open, critical, err
}
