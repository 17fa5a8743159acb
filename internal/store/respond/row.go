package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// severity orders severities for lists.
var severity = map[nhi.Severity]int{nhi.Info: 0, nhi.Low: 1, nhi.Medium: 2, nhi.High: 3, nhi.Critical: 4}

func putFinding(ctx context.Context, tx *store.Tx, f nhi.Finding) error {
	body, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode finding %s: %w", f.ID, err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO finding (id, rule, status, rank, identity, credential, detected, body)
		VALUES      ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE
		SET         status = excluded.status,
		            rank   = excluded.rank,
		            body   = excluded.body`,
		f.ID, f.Rule, f.Status, severity[f.Severity], f.Identity, f.Credential, store.Micros(f.DetectedAt), string(body))
	if err != nil {
		return fmt.Errorf("write finding %s: %w", f.ID, err)
	}
	return tx.Change(nhi.SubjectFinding, f.ID, f)
}

func getFinding(ctx context.Context, tx *store.Tx, id string) (nhi.Finding, error) {
	return one[nhi.Finding](ctx, tx, `SELECT body FROM finding WHERE id = $1`, id)
}

func putAction(ctx context.Context, tx *store.Tx, key string, a nhi.Action) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode action %s: %w", a.ID, err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO action (id, key, status, credential, at, body)
		VALUES      ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE
		SET         status = excluded.status,
		            at     = excluded.at,
		            body   = excluded.body`,
		a.ID, key, a.Status, a.Credential, store.Micros(a.At), string(body))
	if err != nil {
		return fmt.Errorf("write action %s: %w", a.ID, err)
	}
	return tx.Change(nhi.SubjectAction, a.ID, a)
}

func getAction(ctx context.Context, tx *store.Tx, id string) (nhi.Action, string, error) {
	var key, body string
	if err := tx.QueryRow(ctx, `SELECT key, body FROM action WHERE id = $1`, id).Scan(&key, &body); err != nil {
		return nhi.Action{}, "", err
	}
	var a nhi.Action
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return a, "", fmt.Errorf("read action %s: %w", id, err)
	}
	return a, key, nil
}

func actionByKey(ctx context.Context, tx *store.Tx, key string) (nhi.Action, error) {
	return one[nhi.Action](ctx, tx, `SELECT body FROM action WHERE key = $1`, key)
}

// lifted is the verdict of a confirmed sighting that somebody answers for.
const lifted = "lifted"

// putSighting keeps a sighting and reports whether it is news: it was not
// known, or is worth something else now. One that was lifted stays so.
func putSighting(ctx context.Context, tx *store.Tx, s nhi.Sighting) (fresh bool, err error) {
	body, err := json.Marshal(s)
	if err != nil {
		return false, fmt.Errorf("encode sighting %s: %w", s.ID, err)
	}
	n, err := tx.Exec(ctx, `
		INSERT INTO sighting (id, verdict, credential, at, body)
		VALUES      ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE
		SET         verdict    = excluded.verdict,
		            credential = excluded.credential,
		            at         = excluded.at,
		            body       = excluded.body
		WHERE       sighting.verdict <> excluded.verdict
		AND         sighting.verdict <> $6`,
		s.ID, s.Verdict, s.Credential, store.Micros(s.At), string(body), lifted)
	if err != nil {
		return false, fmt.Errorf("write sighting %s: %w", s.ID, err)
	}
	return n > 0, nil
}

func isLifted(ctx context.Context, tx *store.Tx, sighting string) (bool, error) {
	var verdict string
	err := tx.QueryRow(ctx, `SELECT verdict FROM sighting WHERE id = $1`, sighting).Scan(&verdict)
	if errors.Is(err, nhi.ErrNotFound) {
		return false, nil
	}
	return verdict == lifted, err
}

// doneActions returns the acts that contain a credential.
func doneActions(ctx context.Context, tx *store.Tx, id nhi.CredentialID) ([]nhi.Action, error) {
	return list[nhi.Action](ctx, tx, `
		SELECT   body
		FROM     action
		WHERE    credential = $1
		AND      status = $2
		ORDER BY id`, id, nhi.ActionDone)
}

// DueAct queues an act for the audit log in the transaction of what it tells of.
// The domain respond takes it there.
func DueAct(ctx context.Context, tx *store.Tx, act nhi.Act) error { return dueAct(ctx, tx, act) }

// dueAct queues an act for the audit log.
func dueAct(ctx context.Context, tx *store.Tx, act nhi.Act) error {
	body, err := json.Marshal(act)
	if err != nil {
		return fmt.Errorf("encode act %s: %w", act.Key, err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO act_due (key, at, body)
		VALUES      ($1, $2, $3)
		ON CONFLICT (key) DO NOTHING`, act.Key, store.Micros(act.At), string(body))
	if err != nil {
		return fmt.Errorf("queue act %s: %w", act.Key, err)
	}
	return nil
}

func one[T any](ctx context.Context, tx *store.Tx, query string, args ...any) (T, error) {
	var body string
	var v T
	if err := tx.QueryRow(ctx, query, args...).Scan(&body); err != nil {
		return v, err
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return v, fmt.Errorf("read row: %w", err)
	}
	return v, nil
}

func list[T any](ctx context.Context, tx *store.Tx, query string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	return bodies[T](rows, err)
}

// bodies reads what a query yields: one column of JSON.
func bodies[T any](rows *store.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var body string
		var v T
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, fmt.Errorf("read row: %w", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
