package offline

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/builtin"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// A ReplayFinding is a finding as `muster replay -o json` prints it. The names
// are fixed.
type ReplayFinding struct {
	ID         string           `json:"id"`
	Rule       string           `json:"rule"`
	Title      string           `json:"title"`
	Severity   nhi.Severity     `json:"severity"`
	Score      float64          `json:"score"`
	Identity   nhi.ID           `json:"identity"`
	Credential nhi.CredentialID `json:"credential"`
	FirstSeen  time.Time        `json:"first_seen"`
	DetectedAt time.Time        `json:"detected_at"`
	Events     []string         `json:"events"`
	Features   []nhi.Feature    `json:"features"`
	Sentence   string           `json:"sentence"`
}

// An Actor is an identity that acted in the logs: what was proven about it, not
// what somebody merely claimed.
type Actor struct {
	Identity  nhi.ID    `json:"identity"`
	Name      string    `json:"name"`
	Account   string    `json:"account"`
	Events    int       `json:"events"`
	Failed    int       `json:"failed"` // that the provider refused
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Countries []string  `json:"countries"` // where it usually calls from
	Actions   []string  `json:"actions"`   // what it usually does
}

// A ReplayReport is what `muster replay -o json` prints.
type ReplayReport struct {
	Events     int             `json:"events"`
	Unparsable int             `json:"unparsable"`
	Seconds    float64         `json:"seconds"`
	Identities int             `json:"identities"`
	Actors     []Actor         `json:"actors"` // the busiest first
	Findings   []ReplayFinding `json:"findings"`
}

// A ReplayFile is one input of a replay.
type ReplayFile struct {
	Name   string
	Reader io.Reader
}

// ReplaySettings say what is replayed.
type ReplaySettings struct {
	Format     string // cloudtrail
	Progress   func(events int)
	Unparsable func(activity.Unparsable) // told of each piece that is no record
}

// Replay learns from the files in their order as a live server would have, and
// returns what it would have found. It needs no server and keeps nothing. It
// blocks until everything is read; memory grows with the number of identities,
// not of events.
func Replay(ctx context.Context, s ReplaySettings, files []ReplayFile) (ReplayReport, error) {
	started := time.Now()
	format := builtin.Format(s.Format)
	if format == nil {
		return ReplayReport{}, nhi.Invalidf("there is no log format %q", s.Format)
	}
	table, err := geo.Default()
	if err != nil {
		return ReplayReport{}, fmt.Errorf("load the table of networks: %w", err)
	}
	scanner, err := leak.NewScanner()
	if err != nil {
		return ReplayReport{}, fmt.Errorf("load the leak rules: %w", err)
	}
	r := &replay{
		settings: s, mind: learning.NewMind(baseline.Settings{Places: table}, nil), attribute: activity.NewAttributor(),
		found: map[string]nhi.Finding{}, who: map[nhi.ID]*Actor{},
	}
	for _, f := range files {
		_, err := format.Decode(ctx, f.Reader, activity.Options{Name: f.Name, Arrived: started, Redact: scanner.RedactString, Link: r.attribute.Learn}, r.event, r.piece)
		if err != nil {
			return ReplayReport{}, err
		}
	}
	for _, f := range r.mind.Detector.Flush() {
		r.found[f.ID] = f
	}
	return r.report(time.Since(started)), nil
}

type replay struct {
	settings  ReplaySettings
	mind      *learning.Mind
	attribute *activity.Attributor
	found     map[string]nhi.Finding
	who       map[nhi.ID]*Actor
	events    int
	odd       int
}

func (r *replay) event(ev nhi.Event) error {
	r.attribute.Attribute(&ev)
	r.events++
	if ev.Identity != "" && !detect.Unproven(&ev) {
		r.seen(&ev)
	}
	r.mind.Take(&ev, r.found)
	if r.settings.Progress != nil && r.events%1000 == 0 {
		r.settings.Progress(r.events)
	}
	return nil
}

func (r *replay) seen(ev *nhi.Event) {
	a := r.who[ev.Identity]
	if a == nil {
		a = &Actor{Identity: ev.Identity, Name: cmp.Or(ev.Principal.Name, ev.Principal.Path, ev.Principal.Native), Account: ev.Principal.Account, FirstSeen: ev.Time.UTC()}
		r.who[ev.Identity] = a
	}
	a.Events++
	if ev.Status == nhi.Failure {
		a.Failed++
	}
	if ev.Time.Before(a.FirstSeen) {
		a.FirstSeen = ev.Time.UTC()
	}
	if ev.Time.After(a.LastSeen) {
		a.LastSeen = ev.Time.UTC()
	}
}

// actors are all that acted, the busiest first, with what is usual for each.
func (r *replay) actors() []Actor {
	out := make([]Actor, 0, len(r.who))
	for _, a := range r.who {
		a.Countries, a.Actions = r.usual(a.Identity, surprise.Country), r.usual(a.Identity, surprise.Action)
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Actor) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Identity, b.Identity))
	})
	return out
}

// usual is what one identity's page knows best of a feature: five names at most.
func (r *replay) usual(id nhi.ID, f surprise.Feature) []string {
	out := []string{}
	if page := r.mind.Normal.Page(id); page != nil {
		for _, v := range page.Top(f) {
			if name := r.mind.Normal.Name(v.Hash); name != "" && len(out) < 5 {
				out = append(out, name)
			}
		}
	}
	return out
}

func (r *replay) piece(u activity.Unparsable) error {
	r.odd++
	if r.settings.Unparsable != nil {
		r.settings.Unparsable(u)
	}
	return nil
}

func (r *replay) report(took time.Duration) ReplayReport {
	out := ReplayReport{Events: r.events, Unparsable: r.odd, Seconds: took.Seconds(), Identities: len(r.who), Actors: r.actors(), Findings: []ReplayFinding{}}
	for _, f := range r.found {
		events, features := f.Events, f.Features
		if events == nil {
			events = []string{}
		}
		if features == nil {
			features = []nhi.Feature{}
		}
		out.Findings = append(out.Findings, ReplayFinding{
			ID: f.ID, Rule: f.Rule, Title: f.Title, Severity: f.Severity, Score: f.Score, Identity: f.Identity, Credential: f.Credential,
			FirstSeen: f.FirstSeen.UTC(), DetectedAt: f.DetectedAt.UTC(), Events: events, Features: features, Sentence: f.Sentence,
		})
	}
	slices.SortFunc(out.Findings, func(a, b ReplayFinding) int {
		if c := a.DetectedAt.Compare(b.DetectedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}
