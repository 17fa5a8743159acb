package server

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/view"
)

func isNotFound(err error) bool { return errors.Is(err, nhi.ErrNotFound) }

// A recorder puts the acts of every domain into the one audit log.
type recorder struct{ log *audit.Log }

// Record implements respond.Auditor.
func (r *recorder) Record(ctx context.Context, a nhi.Act) error {
	e := audit.Entry{
		At: a.At, Actor: actor(a.Actor), Act: a.Act, Target: a.Target, Reason: a.Reason, Outcome: audit.Outcome(a.Outcome), Detail: a.Detail, Key: a.Key,
	}
	switch e.Outcome {
	case audit.Done, audit.Refused, audit.Failed:
	case "proposed":
		e.Outcome, e.Act = audit.Done, e.Act+".propose"
	default:
		e.Outcome = audit.Failed // error, and whatever nobody knows
	}
	if a.Key == "" {
		_, err := r.log.Append(ctx, e)
		return err
	}
	_, _, err := r.log.AppendOnce(ctx, a.Key, e)
	return err
}

// cleaner takes secrets out of what is about to be recorded: names and reasons
// are what people typed, and they paste the wrong thing.
func cleaner(clean func(string) string) func(*audit.Entry) {
	return func(e *audit.Entry) {
		for _, text := range []*string{&e.Actor.ID, &e.Actor.Name, &e.Target, &e.Reason} {
			*text = clean(*text)
		}
		if len(e.Detail) == 0 {
			return
		}
		detail := clean(string(e.Detail))
		if !json.Valid([]byte(detail)) {
			detail = `{"omitted":"it held a secret"}`
		}
		e.Detail = json.RawMessage(detail)
	}
}

// actor reads "kind:name".
func actor(s string) audit.Actor {
	kind, name, _ := strings.Cut(s, ":")
	switch kind {
	case "person":
		return audit.Actor{Kind: audit.Person, ID: name}
	case "operator", "session":
		return audit.Actor{Kind: audit.Person, ID: kind, Name: name}
	case "rule":
		return audit.Actor{Kind: audit.Rule, ID: name}
	case "source", "point", "identity":
		return audit.Actor{Kind: audit.Identity, ID: name}
	}
	return audit.Actor{Kind: audit.System, Name: s}
}

// decisionJournal is the journal as decisions use it.
type decisionJournal struct {
	j    *journal.Journal
	wake func()
}

func (d decisionJournal) Append(record []byte) error {
	_, err := d.j.Append(record)
	d.wake()
	return err
}

func (d decisionJournal) AppendAsync(record []byte) error {
	err := d.j.AppendAsync(record)
	d.wake()
	return err
}

// issuerAudit records what the issuer does. While the clock lies before what is
// on record no issue is recorded, and so none is made: see [health.Clock].
type issuerAudit struct {
	acts  *recorder
	clock *health.Clock
}

// Append implements issuer.Audit.
func (i issuerAudit) Append(ctx context.Context, a issuer.Act) error {
	if a.Name == issuer.ActIssue {
		if err := i.clock.Trusted(time.Now()); err != nil {
			return err
		}
	}
	return i.acts.record(ctx, a)
}

func (r *recorder) record(ctx context.Context, a issuer.Act) error {
	by := audit.Actor{Kind: audit.Identity, ID: a.Actor}
	if !nhi.ID(a.Actor).Valid() { // an administrator
		by = actor(a.Actor)
	}
	e := audit.Entry{Actor: by, Act: a.Name, Target: a.Target, Detail: view.Encode(a.Detail)}
	_, err := r.log.Append(ctx, e)
	return err
}
