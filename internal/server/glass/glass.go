// Package glass is the server's side of break-glass: two people each take a half
// of a code for a point while the server is there, and the point tells what became
// of it when the server is back (package breakglass says how it is used).
//
// Only people take halves: somebody who signed in with the organisation's
// provider. No token does, not the first administrator's either: who is behind a
// token nobody knows, and two of them may be one person, or a thief. One person
// never gets both halves of a code.
//
// What a point tells is audited under keys of its own, so that it may tell it
// twice; its clock may be wrong, so its times are put to the present where they
// have not come yet, and tell one opening from another as they are. A code that was
// opened twice, which takes a copy of the point's data folder, and one that nobody
// here knows are each a finding of their own.
package glass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/nhi"
)

// A Desk hands out halves and takes reports. It implements frame.Glass. All
// fields are required.
type Desk struct {
	Access *access.Service
	// Record puts an act into the audit log; one with a key once.
	Record func(ctx context.Context, a nhi.Act) error
	// Found keeps findings and tells people about new ones.
	Found func(ctx context.Context, findings []nhi.Finding) error
	Clean func(string) string // takes secrets out of text
	// Person returns an error wrapping nhi.ErrNotFound if there is none.
	Person func(ctx context.Context, id string) (access.Person, error)
}

// point finds a point by its id or name.
func (d *Desk) point(ctx context.Context, ref string) (nhi.Point, error) {
	points, err := d.Access.Points(ctx)
	if err != nil {
		return nhi.Point{}, err
	}
	for _, p := range points {
		if string(p.ID) == ref || p.Name == ref {
			return p, nil
		}
	}
	return nhi.Point{}, fmt.Errorf("point %.80q: %w", ref, nhi.ErrNotFound)
}

// Take implements frame.Glass.
func (d *Desk) Take(ctx context.Context, by frame.Caller, ref string) (client.GlassHalf, error) {
	if by.Kind != string(access.Session) || by.Person == "" || by.Token != "" || by.First {
		return client.GlassHalf{}, fmt.Errorf("only people take a half of a break-glass code, and a token may be a program's: sign in to the console as yourself: %w", nhi.ErrDenied)
	}
	person, err := d.Person(ctx, by.Person)
	if err != nil {
		return client.GlassHalf{}, err
	}
	p, err := d.point(ctx, ref)
	if err != nil {
		return client.GlassHalf{}, err
	}
	half, g, err := d.Access.TakeHalf(ctx, p.Name, by.Person, d.Clean(person.Name))
	if err != nil {
		return client.GlassHalf{}, err
	}
	// Without an entry nobody holds a half: it is not shown.
	err = d.act(ctx, "", by.Actor(), "break-glass.take", &g, fmt.Sprintf("half %d of a code for point %s", len(g.Holders), p.Name))
	if err != nil {
		return client.GlassHalf{}, err
	}
	return client.GlassHalf{ID: g.Serial, Half: half, Code: toCode(&g, time.Now())}, nil
}

// Codes implements frame.Glass.
func (d *Desk) Codes(ctx context.Context, ref string) (client.GlassCodes, error) {
	p, err := d.point(ctx, ref)
	if err != nil {
		return client.GlassCodes{}, err
	}
	all, err := d.Access.Glasses(ctx, p.ID)
	if err != nil {
		return client.GlassCodes{}, err
	}
	out := client.GlassCodes{Codes: make([]client.GlassCode, 0, len(all))}
	for i := range all {
		out.Codes = append(out.Codes, toCode(&all[i], time.Now()))
	}
	return out, nil
}

// Withdraw implements frame.Glass.
func (d *Desk) Withdraw(ctx context.Context, by frame.Caller, ref, serial string) (client.GlassCode, error) {
	p, err := d.point(ctx, ref)
	if err != nil {
		return client.GlassCode{}, err
	}
	g, err := d.Access.WithdrawGlass(ctx, p.Name, serial)
	if err != nil {
		return client.GlassCode{}, err
	}
	return toCode(&g, time.Now()), d.act(ctx, "", by.Actor(), "break-glass.withdraw", &g, "a code for point "+p.Name)
}

// Report takes in what a point tells of an opening: when it began, and again when
// it is over. It returns when that is on record.
func (d *Desk) Report(ctx context.Context, p *nhi.Point, o *breakglass.Opening) error {
	told := *o
	told.Reason = d.Clean(o.Reason)
	g, _, err := d.Access.GlassUsed(ctx, p.Name, told)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		g = access.Glass{Serial: told.Serial, Point: p.ID}
	case err != nil:
		return err
	}
	again := !g.Opened.IsZero() && !g.Is(&told)
	key := told.Serial + ":" + told.Opened.UTC().Format(time.RFC3339Nano) // one opening, by the clock of the point
	told = told.At(time.Now())
	if !again && !g.Opened.IsZero() {
		told.Opened = g.Opened // as people were told first
	}
	slog.Warn("a point was opened by a break-glass code", "point", p.Name, "code", g.Serial, "opened", told.Opened, "for", told.For, "over", !told.Closed.IsZero(), "let pass", told.Allowed)
	if err := d.Found(ctx, []nhi.Finding{finding(p, &g, &told, key, again)}); err != nil {
		return err
	}
	g.Opened, g.Until, g.Reason, g.Ended, g.Allowed = told.Opened, told.Until(), told.Reason, told.Closed, told.Allowed
	if err := d.act(ctx, "break-glass.open:"+key, "point:"+p.Name, "break-glass.open", &g, told.Reason); err != nil {
		return err
	}
	if told.Closed.IsZero() {
		return nil
	}
	return d.act(ctx, "break-glass.close:"+key, "point:"+p.Name, "break-glass.close", &g, fmt.Sprintf("%d requests were let pass by it", told.Allowed))
}

// act audits what happened to a code.
func (d *Desk) act(ctx context.Context, key, by, act string, g *access.Glass, reason string) error {
	detail, err := json.Marshal(toCode(g, time.Now()))
	if err != nil {
		return err
	}
	return d.Record(ctx, nhi.Act{Key: key, At: time.Now(), Actor: by, Act: act, Target: string(g.Point), Reason: reason, Outcome: "done", Detail: detail})
}

// finding is what people are told of an opening, which key tells from others.
func finding(p *nhi.Point, g *access.Glass, o *breakglass.Opening, key string, again bool) nhi.Finding {
	f := nhi.Finding{
		ID: nhi.FindingID("break-glass", p.ID, "", key), Rule: "break-glass",
		Title: "A point was opened by a break-glass code", Severity: nhi.High, Score: 80, Status: nhi.Open,
		FirstSeen: o.Opened, LastSeen: o.Opened, DetectedAt: time.Now(), Count: 1,
	}
	var holders []string
	for _, h := range g.Holders {
		holders = append(holders, h.Name)
	}
	who := "Its halves were held by " + strings.Join(holders, " and ") + "."
	switch {
	case len(holders) == 0:
		f.Title, f.Severity, f.Score = "A point was opened by a break-glass code that nobody here knows", nhi.Critical, 95
		who = "Nobody here knows that code: the server was put back to a time before it was made, or somebody pretends."
	case again:
		f.Title, f.Severity, f.Score = "A break-glass code was used a second time", nhi.Critical, 95
		who += " It was used before: only a copy of the point's data folder, or an older one, lets it open twice. Enroll the point anew, in an empty folder."
	}
	f.Sentence = fmt.Sprintf("Point %s let pass what the policies refuse from %s until %s at most, by code %s: %q. %s Look at what it let pass: muster decide list --filter glass:%s",
		p.Name, o.Opened.UTC().Format(time.RFC3339), o.Until().UTC().Format(time.RFC3339), o.Serial, o.Reason, who, o.Serial)
	return f
}

// toCode maps a code as people see it.
func toCode(g *access.Glass, now time.Time) client.GlassCode {
	out := client.GlassCode{
		Serial: g.Serial, Point: string(g.Point), State: string(g.StateAt(now)), Created: g.Created.UTC(), Expires: g.Expires.UTC(), Reason: g.Reason, Allowed: g.Allowed,
		Holders: make([]client.GlassHolder, 0, len(g.Holders)),
		Opened:  frame.When(g.Opened), Until: frame.When(g.Until), Ended: frame.When(g.Ended), Closed: frame.When(g.Closed),
	}
	for _, h := range g.Holders {
		out.Holders = append(out.Holders, client.GlassHolder{Person: h.Person, Name: h.Name, Since: h.Since.UTC()})
	}
	return out
}
