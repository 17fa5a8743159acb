package list

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
)

// DecisionColumns are the columns of decisions where they are printed or exported
// as a table.
var DecisionColumns = slices.Concat(
	output.Columns[client.Decision]("at outcome identity=name action resource address country"),
	[]output.Column[client.Decision]{{Head: "POLICY", Of: func(d client.Decision) string {
		return strings.Join(against(d.Outcome != "allow" || d.WouldRefuse || d.Glass != "", d.Reasons), ",")
	}}},
	output.Columns[client.Decision]("would_refuse id | operation glass approval identity_id=identity point=point_name key_id assurance risk surprise network agent generation microseconds=micros"),
)

// everyDecision is more than are kept in memory.
const everyDecision = 1 << 20

// DecisionQuery asks for decisions.
type DecisionQuery struct {
	frame.ListQuery
	Outcome  string    `query:"outcome" enum:",allow,deny,step-up" doc:"short for the filter outcome:…"`
	Identity string    `query:"identity" maxLength:"64" doc:"short for the filter identity:…"`
	Point    string    `query:"point" maxLength:"64" doc:"short for the filter point:…"`
	Before   time.Time `query:"before" doc:"only older ones"`
	Since    time.Time `query:"since" doc:"only those from then on, out of the record of decisions as far back as that is kept; without it the latest ones, out of memory"`
}

// Decided returns what was decided, the newest record first: the latest ones out of
// memory, and since a time out of the record.
func Decided(ctx context.Context, s *frame.Frame, in *DecisionQuery) (*frame.Query, frame.Source[nhi.Decision], error) {
	q, err := s.Read(Decisions.Language, in.ListQuery, in.Outcome, in.Identity, in.Point, in.Before.String(), in.Since.String())
	f := frame.DecisionFilter{Outcome: nhi.Outcome(in.Outcome), Identity: nhi.ID(in.Identity), Point: nhi.ID(in.Point), Before: in.Before}
	if frame.Within(ctx) != nil {
		f.Within = func(id nhi.ID) bool { return s.Visible(ctx, access.Read, id) }
	}
	if err == nil && !in.Since.IsZero() {
		// The record is not narrowed, so the place in it says how far back it was read.
		q.Shorts(Decisions.Language, map[string]string{"outcome": in.Outcome, "identity": in.Identity, "point": in.Point})
		f.Outcome, f.Identity, f.Point = "", "", ""
	}
	// A point may have reported what is older than its record.
	older := Decisions.Narrowed(func(d *nhi.Decision) bool { return in.Before.IsZero() || d.At.Before(in.Before) })
	return q, frame.Scanned(s, older, func(ctx context.Context, p frame.Place) ([]nhi.Decision, error) {
		rows := behind(s.Decisions.Recent(f, everyDecision), p)
		if in.Since.IsZero() {
			return rows, nil
		}
		rows = slices.DeleteFunc(rows, func(d nhi.Decision) bool { return d.At.Before(in.Since) })
		if len(rows) > 0 {
			return rows, nil
		}
		at := in.Before
		switch {
		case p.ID != "":
			at = time.UnixMicro(p.Number)
		case at.IsZero():
			at = time.Now().Add(time.Hour) // whatever the clock says
		}
		return s.Decisions.Older(ctx, p.ID, at, in.Since)
	}), err
}

// behind returns the decisions behind a place: behind the very decision, or if
// it is no longer in memory, the older ones.
func behind(all []nhi.Decision, p frame.Place) []nhi.Decision {
	if p.ID == "" {
		return all
	}
	for i := range all {
		if all[i].ID == p.ID {
			return all[i+1:]
		}
	}
	for i := range all {
		if frame.Micros(all[i].At) < p.Number {
			return all[i:]
		}
	}
	return nil
}
