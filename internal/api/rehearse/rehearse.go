// Package rehearse is the room of the routes by which policies are tried before
// they are in force: on decisions that were made, which streams how far it is
// and ends with a report, and on live ones, in the shadow of those in force.
// Nobody's access changes by any of them.
package rehearse

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// linePatience is how long a reader may take for one line of an answer.
const linePatience = time.Minute

// Register serves the routes.
func Register(h huma.API, mux *frame.Gated, f *frame.Frame) {
	mux.HandleFunc("POST /v1/policies/simulate", func(w http.ResponseWriter, r *http.Request) { simulate(f, w, r) })
	mux.HandleFunc("POST /v1/policies/learn", func(w http.ResponseWriter, r *http.Request) { learn(f, w, r) })
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/policies/shadow", "get-shadow", "policies", "Show the policies in the shadow, and what they would change"),
		func(ctx context.Context, in *struct {
			Identity string `query:"identity" maxLength:"64" doc:"only differences of this identity"`
			Resource string `query:"resource" maxLength:"256" doc:"only differences at this resource"`
			Kind     string `query:"kind" enum:",newly-denied,newly-step-up,newly-allowed"`
			Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"differences at most, the newest"`
		}) (*frame.Body[client.Shadow], error) {
			out, err := f.Rehearsal.Shadow(ctx, nhi.ShadowFilter{Identity: nhi.ID(in.Identity), Resource: in.Resource, Kind: in.Kind, Limit: in.Limit})
			return shown(ctx, f, out, err)
		})
	start := frame.Operation(http.MethodPut, "/v1/policies/shadow", "start-shadow", "policies", "Try policies on live decisions after the answer, instead of those in the shadow")
	start.MaxBodyBytes = 2 * frame.MaxDocument
	huma.Register(h, start, func(ctx context.Context, in *struct{ Body client.StartShadow }) (*frame.Body[client.Shadow], error) {
		if err := f.Act(ctx, "policy.shadow", "start", ""); err != nil {
			return nil, frame.Fail(err)
		}
		out, err := f.Rehearsal.StartShadow(ctx, frame.CallerOf(ctx).Actor(), in.Body.Files)
		return shown(ctx, f, out, err)
	})
	huma.Register(h, frame.Operation(http.MethodDelete, "/v1/policies/shadow", "stop-shadow", "policies", "Stop trying policies on live decisions"),
		func(ctx context.Context, _ *struct{}) (*frame.Body[client.Shadow], error) {
			if err := f.Act(ctx, "policy.shadow", "stop", ""); err != nil {
				return nil, frame.Fail(err)
			}
			out, err := f.Rehearsal.StopShadow(ctx)
			return shown(ctx, f, out, err)
		})
}

// shown is a shadow with the names of identities.
func shown(ctx context.Context, f *frame.Frame, out client.Shadow, err error) (*frame.Body[client.Shadow], error) {
	if err != nil {
		return nil, frame.Fail(err)
	}
	names := f.Namer(ctx)
	for i := range out.Differences {
		out.Differences[i].Name = names.Identity(nhi.ID(out.Differences[i].Identity))
	}
	return &frame.Body[client.Shadow]{Body: out}, nil
}

// A line is one of an answer that takes long: how far it is, and at last what
// came of it.
type line[T any] struct {
	Progress *T     `json:"progress,omitempty"`
	Report   *T     `json:"report,omitempty"`
	Error    string `json:"error,omitempty"`
}

// simulate serves POST /v1/policies/simulate.
func simulate(f *frame.Frame, w http.ResponseWriter, r *http.Request) {
	reported(f, w, r, `{"files": {"NAME": "Cedar"}, "since": "2026-11-01T00:00:00Z"}`, f.Rehearsal.Simulate, func(out *client.Simulation) {
		names := f.Namer(r.Context())
		for i := range out.Identities {
			out.Identities[i].Title = names.Identity(nhi.ID(out.Identities[i].Name))
		}
	})
}

// learn serves POST /v1/policies/learn.
func learn(f *frame.Frame, w http.ResponseWriter, r *http.Request) {
	reported(f, w, r, `{"since": "2026-11-01T00:00:00Z", "identity": "", "owner": "team:payments"}`, f.Rehearsal.Learn, func(out *client.Proposal) {
		names := f.Namer(r.Context())
		for i := range out.Grants {
			out.Grants[i].Name = names.Identity(nhi.ID(out.Grants[i].Identity))
		}
	})
}

// reported answers a question that takes long, line by line. What is wrong before
// the first line is a problem; what goes wrong later is the last line. example is
// what the body may be, and finish completes the report.
func reported[Q, T any](f *frame.Frame, w http.ResponseWriter, r *http.Request, example string, run func(context.Context, Q, func(T) error) (T, error), finish func(*T)) {
	frame.Patience(w, time.Minute)
	var in Q
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2*frame.MaxDocument))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		f.Refuse(w, frame.Problem(nhi.Invalidf("want %s: %v", example, err), 0))
		return
	}
	control, begun := http.NewResponseController(w), false
	write := func(l line[T]) error {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/jsonl")
		}
		_ = control.SetWriteDeadline(time.Now().Add(linePatience)) // a server that cannot keeps its own
		if err := json.NewEncoder(w).Encode(l); err != nil {
			return err
		}
		return control.Flush()
	}
	report, err := run(r.Context(), in, func(s T) error { return write(line[T]{Progress: &s}) })
	switch {
	case err == nil:
		finish(&report)
		err = write(line[T]{Report: &report})
	case !begun:
		f.Refuse(w, frame.Problem(err, 0))
		return
	default:
		slog.Warn("a look at the record of decisions broke off", "error", err)
		err = write(line[T]{Error: "it broke off: " + frame.Problem(err, 0).Detail})
	}
	if err != nil { // the reader went away
		panic(http.ErrAbortHandler)
	}
}
