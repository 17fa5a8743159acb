package library

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	kept "github.com/muster-id/muster/internal/store/snapshot"
)

// needed is how many different people have to stand behind what waits.
const needed = 2

// Confirm has a caller say yes to what waits, and puts it into force when two
// different people stand behind it. The error wraps nhi.ErrDenied when the caller is
// no person in a session of their own, or the author, and nhi.ErrConflict when nothing
// waits any more. A token is nobody's yes, whoever made it: a program may hold it.
func (l *Library) Confirm(ctx context.Context, by frame.Caller, digest string) (client.Snapshot, error) {
	switch {
	case by.First:
		return client.Snapshot{}, fmt.Errorf("only people confirm, and nobody knows who the first administrator is: sign in to the console as yourself: %w", nhi.ErrDenied)
	case by.Kind != string(access.Session) || by.Person == "" || by.Token != "":
		return client.Snapshot{}, fmt.Errorf("only people confirm, and a token may be a program's: sign in to the console as yourself: %w", nhi.ErrDenied)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	waits, err := l.c.Store.Get(ctx, digest)
	if err != nil {
		return client.Snapshot{}, err
	}
	checked, err := l.again(ctx, &waits)
	if err != nil {
		return client.Snapshot{}, err
	}
	gated, err := l.gated(ctx, &waits)
	if err != nil {
		return client.Snapshot{}, err
	}
	var p *kept.Promotion
	n, err := l.c.Store.Change(ctx, waits.Sequence, func(e *kept.Entry) error {
		e.Gated = gated
		err := l.confirm(e, by, checked)
		p = e.Promotion
		return err
	})
	if err != nil {
		return client.Snapshot{}, err
	}
	if err := l.enter(n, checked, p); err != nil {
		return client.Snapshot{}, err
	}
	return toSnapshot(&n), l.c.Record(ctx)
}

// gated reports whether what waits has to go through gates: it was sent to, or they
// were made compulsory since, and it is not the way back to what was in force.
func (l *Library) gated(ctx context.Context, n *nhi.Snapshot) (bool, error) {
	if n.Gated || !l.c.Gates().Required {
		return n.Gated, nil
	}
	history, err := l.c.Store.History(ctx)
	return !slices.ContainsFunc(history, func(h nhi.Snapshot) bool {
		return h.Digest == n.Digest && h.State == nhi.SnapshotPast && !h.TakenBack
	}), err
}

// confirm changes the entry that waits.
func (l *Library) confirm(e *kept.Entry, by frame.Caller, c *checked) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	switch {
	case e.State != nhi.SnapshotWaiting:
		return fmt.Errorf("snapshot %s waits for nobody: it is %s: %w", kept.Short(e.Digest), e.State, nhi.ErrConflict)
	case !now.Before(e.Expires):
		return fmt.Errorf("snapshot %s waited until %s; send it again: %w", kept.Short(e.Digest), e.Expires.Format(time.RFC3339), nhi.ErrConflict)
	case by.Person == e.Person:
		return fmt.Errorf("snapshot %s is yours; another administrator has to confirm it: %w", kept.Short(e.Digest), nhi.ErrDenied)
	case slices.Contains(e.People(), by.Person):
		return fmt.Errorf("snapshot %s: you have confirmed it; another administrator has to: %w", kept.Short(e.Digest), nhi.ErrConflict)
	}
	e.Confirmed = append(e.Confirmed, nhi.Confirmation{Person: by.Person, Name: by.Name, At: now})
	e.Acts = []nhi.Act{actOf(&e.Snapshot, "policy.confirm", by.Actor(), now)}
	if len(e.People()) < needed {
		return nil
	}
	act := "policy.activate"
	e.State, e.Activated, e.Effective, e.Expires = nhi.SnapshotActive, now, c.set.Digest(), time.Time{}
	if e.Gated {
		act, e.State, e.Activated = "policy.promote", nhi.SnapshotStaged, time.Time{}
	}
	e.Acts = append(e.Acts, actOf(&e.Snapshot, act, by.Actor(), now))
	return l.beside(e, c, by.Actor(), now)
}

// Withdraw takes back what waits for a second administrator. The error wraps
// nhi.ErrConflict when it does not wait.
func (l *Library) Withdraw(ctx context.Context, by frame.Caller, digest, why string) (client.Snapshot, error) {
	if err := oneLine("reason", why); err != nil {
		return client.Snapshot{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	waits, err := l.c.Store.Get(ctx, digest)
	if err != nil {
		return client.Snapshot{}, err
	}
	n, err := l.c.Store.Change(ctx, waits.Sequence, func(e *kept.Entry) error {
		if e.State != nhi.SnapshotWaiting {
			return fmt.Errorf("snapshot %s waits for nobody: it is %s: %w", kept.Short(e.Digest), e.State, nhi.ErrConflict)
		}
		e.State, e.Ended = nhi.SnapshotWithdrawn, time.Now().UTC().Truncate(time.Microsecond)
		e.EndedBy, e.EndedWhy = by.Actor(), l.c.Clean(why)
		act := actOf(&e.Snapshot, "policy.withdraw", e.EndedBy, e.Ended)
		act.Reason = e.EndedWhy
		e.Acts = []nhi.Act{act}
		return nil
	})
	if err != nil {
		return client.Snapshot{}, err
	}
	return toSnapshot(&n), l.c.Record(ctx)
}

// actOf is what the audit log has to say of an entry.
func actOf(n *nhi.Snapshot, act, by string, at time.Time) nhi.Act {
	detail, err := json.Marshal(map[string]any{
		"sequence": n.Sequence, "digest": n.Digest, "parent": n.Parent, "state": n.State, "policies": n.Policies, "effective": n.Effective, "why": n.Why,
	})
	if err != nil {
		detail = nil // these always encode
	}
	return nhi.Act{
		Key: fmt.Sprintf("snapshot:%d:%s:%d", n.Sequence, act, len(n.Confirmed)), At: at, Actor: by, Act: act, Target: n.Digest, Reason: n.Note, Outcome: "done", Detail: detail,
	}
}

// notices are what people are told of what waits.
func notices(n *nhi.Snapshot) []nhi.Notice {
	data, err := json.Marshal(map[string]any{
		"title": "A change of the policies waits for a second administrator",
		"sentence": fmt.Sprintf("%s proposes policies that are not in force yet. Look at them with muster policy show %[2]s or on the page Policies of the console, where a second administrator who is signed in confirms them, or leave them until %[3]s.",
			n.Author, kept.Short(n.Digest), n.Expires.Format("2006-01-02 15:04 UTC")),
		"reason": n.Why[0],
	})
	if err != nil {
		return nil // these always encode
	}
	return []nhi.Notice{{ID: fmt.Sprintf("snapshot:%d", n.Sequence), Topic: notify.TopicPolicy, Severity: nhi.High, At: n.At, Data: data}}
}
