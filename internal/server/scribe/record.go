// Package scribe puts the acts of every domain into the one audit log, and
// decisions into their journal: who acted, as the log names actors, with secrets
// taken out of what people typed.
package scribe

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/view"
)

// A Recorder puts the acts of every domain into the one audit log.
type Recorder struct{ Log *audit.Log }

// Record implements respond.Auditor.
func (r *Recorder) Record(ctx context.Context, a nhi.Act) error {
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
		_, err := r.Log.Append(ctx, e)
		return err
	}
	_, _, err := r.Log.AppendOnce(ctx, a.Key, e)
	return err
}

// Cleaner takes secrets out of what is about to be recorded: names and reasons
// are what people typed, and they paste the wrong thing.
func Cleaner(clean func(string) string) func(*audit.Entry) {
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

// A Journal is a journal as decisions use it: whoever waits for records is woken.
type Journal struct {
	To   *journal.Journal
	Wake func()
}

// Append implements logbook.Journal.
func (d Journal) Append(record []byte) error {
	_, err := d.To.Append(record)
	d.Wake()
	return err
}

// AppendAsync implements logbook.Journal.
func (d Journal) AppendAsync(record []byte) error {
	err := d.To.AppendAsync(record)
	d.Wake()
	return err
}

// An Issuer records what the issuer does. While the clock lies before what is
// on record no issue is recorded, and so none is made: see [health.Clock].
type Issuer struct {
	Acts  *Recorder
	Clock *health.Clock
}

// Append implements issuer.Audit.
func (i Issuer) Append(ctx context.Context, a issuer.Act) error {
	if a.Name == issuer.ActIssue {
		if err := i.Clock.Trusted(time.Now()); err != nil {
			return err
		}
	}
	return i.Acts.record(ctx, a)
}

func (r *Recorder) record(ctx context.Context, a issuer.Act) error {
	by := audit.Actor{Kind: audit.Identity, ID: a.Actor}
	if !nhi.ID(a.Actor).Valid() { // an administrator
		by = actor(a.Actor)
	}
	e := audit.Entry{Actor: by, Act: a.Name, Target: a.Target, Detail: view.Encode(a.Detail)}
	_, err := r.Log.Append(ctx, e)
	return err
}
