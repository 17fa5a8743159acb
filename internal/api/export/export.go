// Package export is the room of the route that hands decisions out of the record as
// one file: JSON Lines or CSV, streamed page after page, so that neither side keeps
// it in memory. Who may read decisions may export those they see, and that they did
// is in the audit log before the first row leaves.
//
// A file ends where the record or its limit does. In the second case a trailer says
// where to go on; what fails under way cuts the connection, so that a part is never
// taken for the whole.
package export

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/output"
)

const (
	// Most is how many decisions one file has at most.
	Most = 1_000_000
	// together is how many files are written at a time, and each how many of them
	// for one person: who reads slowly does not keep the others from theirs.
	together, each = 4, 2
	// page is how many decisions are in memory for one.
	page = 500
	// patience is how long a reader may take for one page.
	patience = time.Minute
	// Trailer names the trailer with the token of what follows.
	Trailer = "Muster-Next"
)

// Query asks for a file of decisions. It is exported because the framework fills in
// only what is.
type Query struct {
	Format    string    `query:"format" enum:"jsonl,csv" default:"jsonl" doc:"JSON Lines, or CSV with one line of headings"`
	Filter    string    `query:"filter" maxLength:"2048" doc:"as of the list of decisions"`
	Outcome   string    `query:"outcome" enum:",allow,deny,step-up" doc:"short for the filter outcome:…"`
	Identity  string    `query:"identity" maxLength:"64" doc:"short for the filter identity:…"`
	Point     string    `query:"point" maxLength:"64" doc:"short for the filter point:…"`
	Since     time.Time `query:"since" doc:"those from then on; without it those of the last 24 hours"`
	Before    time.Time `query:"before" doc:"only older ones; without it up to now"`
	Limit     int       `query:"limit" minimum:"1" maximum:"1000000" default:"1000000" doc:"decisions at most, the newest; the trailer Muster-Next then holds the page_token of those that follow"`
	PageToken string    `query:"page_token" maxLength:"8192" doc:"of the trailer Muster-Next, with everything else the same"`
}

// A room writes files.
type room struct {
	*frame.Frame
	places places
}

// places count the files that are being written, by whom they are for. The zero
// value has none.
type places struct {
	mu  sync.Mutex // guards what follows
	all int
	by  map[string]int
}

// take has another file written for somebody, until free is called once. The error
// wraps nhi.ErrBusy.
func (p *places) take(who string) (free func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.by[who]; n >= each || p.all >= together {
		return nil, fmt.Errorf("%d exports are being written already, %d of them yours: wait for one to end: %w", p.all, n, nhi.ErrBusy)
	}
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.all++
	p.by[who]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all--
		if p.by[who]--; p.by[who] == 0 {
			delete(p.by, who)
		}
	}, nil
}

// Register adds the route.
func Register(h huma.API, f *frame.Frame) {
	r := &room{Frame: f}
	o := frame.Operation(http.MethodGet, "/v1/decisions/export", "export-decisions", "decisions", "Write the decisions of a time to a file, the newest first")
	o.Description = "A stream of JSON Lines or CSV. That of whoever reads too slowly, or of what fails under way, is cut off and has no proper end. Each export is in the audit log."
	text := map[string]*huma.MediaType{}
	for _, kind := range []string{"application/jsonl", "text/csv"} {
		text[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	o.Responses = map[string]*huma.Response{"200": {Description: "decisions, one a line", Content: text}}
	huma.Register(h, o, r.export)
}

func (r *room) export(ctx context.Context, in *Query) (*huma.StreamResponse, error) {
	now := time.Now()
	q := &list.DecisionQuery{
		ListQuery: frame.ListQuery{Filter: in.Filter, Limit: min(page, in.Limit), PageToken: in.PageToken},
		Outcome:   in.Outcome, Identity: in.Identity, Point: in.Point, Since: in.Since, Before: in.Before,
	}
	if q.Since.IsZero() && q.PageToken != "" {
		return nil, frame.Fail(nhi.Invalidf("page_token: give since and before as well, as they were"))
	}
	if q.Since.IsZero() {
		q.Since = now.Add(-24 * time.Hour)
	}
	if !q.Before.IsZero() && !q.Since.Before(q.Before) {
		return nil, frame.Fail(nhi.Invalidf("since is not before before"))
	}
	by := frame.CallerOf(ctx)
	free, err := r.places.take(cmp.Or(by.Person, by.Actor()))
	if err != nil {
		return nil, frame.Fail(err)
	}
	w := &file{room: r, names: r.Namer(ctx), in: in, query: q, left: in.Limit}
	if err = w.read(ctx); err == nil {
		err = r.Act(ctx, "decisions.export", "decisions", w.what(now))
	}
	if err != nil {
		free()
		return nil, frame.Fail(err)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer free()
		w.write(c)
	}}, nil
}

// A file is one that is being written.
type file struct {
	*room
	names *frame.Namer
	in    *Query
	query *list.DecisionQuery
	rows  []nhi.Decision // that come next
	next  string         // token of those behind them
	left  int            // how many more there may be
}

// what says in the audit log what is exported. What it is narrowed by is not in it:
// somebody may have looked for a secret.
func (w *file) what(now time.Time) string {
	until := now
	if !w.query.Before.IsZero() {
		until = w.query.Before
	}
	out := fmt.Sprintf("as %s, from %s to %s", w.in.Format, w.query.Since.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
	if w.in.Filter != "" || w.in.Outcome != "" || w.in.Identity != "" || w.in.Point != "" {
		out += ", narrowed"
	}
	return out
}

// read reads the rows that come next.
func (w *file) read(ctx context.Context) error {
	w.query.Limit = min(page, w.left)
	q, rows, err := list.Decided(ctx, w.Frame, w.query)
	if err == nil {
		w.rows, w.next, err = rows(ctx, q)
	}
	w.query.PageToken = w.next
	return err
}

func (w *file) write(c huma.Context) {
	kind, name := "application/jsonl", "decisions.jsonl"
	if w.in.Format == "csv" {
		kind, name = "text/csv; charset=utf-8", "decisions.csv"
	}
	c.SetHeader("Content-Type", kind)
	c.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
	c.SetHeader("Trailer", Trailer)
	out := c.BodyWriter()
	if err := w.pages(c.Context(), out); err != nil {
		slog.Warn("an export of decisions was cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
	if to, ok := out.(http.ResponseWriter); ok && w.next != "" {
		to.Header().Set(Trailer, w.next)
	}
}

// pages writes page after page.
func (w *file) pages(ctx context.Context, out io.Writer) error {
	form := &output.Form{Out: out, Format: "csv"}
	table := output.Follow(form, list.DecisionColumns)
	line := json.NewEncoder(out)
	add := func(d client.Decision) error { return line.Encode(d) }
	if w.in.Format == "csv" {
		add = table.Add
		// An empty file has its headings too.
		if len(w.rows) == 0 && w.next == "" {
			return output.List(form, nil, list.DecisionColumns)
		}
	}
	for {
		if to, ok := out.(http.ResponseWriter); ok {
			_ = http.NewResponseController(to).SetWriteDeadline(time.Now().Add(patience)) // a server that cannot keeps its own
		}
		for i := range w.rows {
			if err := add(w.names.Decision(w.rows[i])); err != nil {
				return err
			}
		}
		if w.left -= len(w.rows); w.left <= 0 || w.next == "" {
			return nil
		}
		if err := w.read(ctx); err != nil {
			return err
		}
	}
}
