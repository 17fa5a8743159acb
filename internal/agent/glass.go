package agent

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
)

// GlassPath is where two people open the point by a break-glass code, on the
// listener of operations: GET tells how it is, POST opens, DELETE closes. To open
// and to close takes the key of the point, from this machine.
const GlassPath = "/break-glass"

const (
	noteEvery  = 10 * time.Second // how often it is written down how much of an opening is over
	sayEvery   = time.Minute      // how often the log says that the point is open
	maxOpening = 4096             // bytes of a request to open
)

// A glass is the way into this point while its server is gone.
type glass struct {
	box    *breakglass.Box // nil when what it remembers cannot be read
	broken error           // why
	clean  func(string) string
	now    chan struct{} // there is something to tell

	mu    sync.Mutex      // guards what follows
	begun map[string]bool // openings that the server was told began
}

// open reads which codes were used. Without that none opens the point, which
// decides all the same.
func (g *glass) open(dir string) {
	g.now, g.begun = make(chan struct{}, 1), map[string]bool{}
	if g.box, g.broken = breakglass.Load(filepath.Join(dir, "break-glass.json")); g.broken != nil {
		slog.Error("no break-glass code opens this point", "error", g.broken)
	}
}

// code implements decision.Config.Glass.
func (g *glass) code(_ nhi.ID, now time.Time) string {
	if g.box == nil {
		return ""
	}
	return g.box.Serial(now)
}

// count counts what a code let pass.
func (g *glass) count(d *nhi.Decision) {
	if d.Glass != "" && d.Outcome == nhi.Allow && g.box != nil {
		g.box.Passed(d.Glass)
	}
}

// seen notes how late it is by the server.
func (g *glass) seen(at time.Time) {
	if g.box != nil {
		g.box.Seen(at)
	}
}

func (g *glass) ring() {
	select {
	case g.now <- struct{}{}:
	default:
	}
}

// A GlassState says whether a point is open by a break-glass code.
type GlassState struct {
	Open   bool   `json:"open"`
	Serial string `json:"serial"` // of the code
	Reason string `json:"reason"`
	// Opened, Until and Left are zero while it is not open. Left is in seconds.
	Opened  time.Time `json:"opened,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Left    int       `json:"left"`
	Allowed int64     `json:"allowed"` // requests that only the code let pass
	Codes   int       `json:"codes"`   // that would open it, as far as the point knows
	Untold  int       `json:"untold"`  // openings that the server does not know all of
	Trouble string    `json:"trouble"` // why no code opens it; empty when one can
}

// glassState tells how the glass is.
func (a *Agent) glassState(now time.Time) GlassState {
	g := &a.glass
	if g.box == nil {
		return GlassState{Trouble: g.broken.Error()}
	}
	s := GlassState{Untold: len(g.box.Untold())}
	for _, c := range a.glassCodes() {
		if now.Before(c.Expires) && !g.box.Used(c.Serial) {
			s.Codes++
		}
	}
	if o, open := g.box.Now(now); open {
		s.Open, s.Serial, s.Reason, s.Opened, s.Until, s.Allowed = true, o.Serial, o.Reason, o.Opened, o.Until(), o.Allowed
		s.Left = int(g.box.Left(now).Seconds())
	}
	return s
}

// glassCodes are those that the point was told of.
func (a *Agent) glassCodes() []nhi.GlassCode {
	p, _ := a.self()
	return p.Glass
}

// self is this point as its server described it.
func (a *Agent) self() (nhi.Point, bool) { return a.facts.PointByKeyID(a.keyID) }

// watchGlass writes down how much of an opening is over, says each minute that the
// point is open, and tells the server when it can, until ctx ends.
func (a *Agent) watchGlass(ctx context.Context) error {
	g := &a.glass
	if g.box == nil {
		return nil
	}
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	var said time.Time
	var was string // the code that it was open by, empty when it was not
	for {
		now := time.Now()
		o, is := g.box.Now(now)
		switch {
		case is && now.Sub(said) >= sayEvery:
			said = now
			slog.Warn("THIS POINT IS OPEN by a break-glass code: what the policies refuse passes", "code", o.Serial, "until", o.Until().Format(time.RFC3339), "let pass", o.Allowed, "reason", o.Reason)
		case was != "" && !is:
			slog.Warn("the point is not open by a break-glass code any more", "code", was)
		}
		was = o.Serial
		if err := g.box.Note(now); err != nil {
			slog.Error("what is known of break-glass codes could not be written down", "error", err)
		}
		a.tellGlass(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-g.now:
		}
	}
}

// tellGlass tells the server what it does not know yet: when an opening began, and
// when it is over. What cannot be told now is told later.
func (a *Agent) tellGlass(ctx context.Context) {
	g := &a.glass
	for _, o := range g.box.Untold() {
		g.mu.Lock()
		known := o.Closed.IsZero() && g.begun[o.Serial]
		g.mu.Unlock()
		if known {
			continue
		}
		err := a.reportGlass(ctx, o)
		if err == nil && !o.Closed.IsZero() {
			err = g.box.Told(o.Serial)
		}
		g.mu.Lock()
		if err == nil {
			g.begun[o.Serial] = true
		}
		g.mu.Unlock()
		switch {
		case errors.Is(err, errRefused): // the others are told nevertheless
			slog.Error("the server does not take the word of this point that it was opened; see its clock, and tell people yourself", "code", o.Serial, "error", err)
		case err != nil:
			return
		}
	}
}

func (a *Agent) reportGlass(ctx context.Context, o breakglass.Opening) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := a.post(ctx, feed.GlassPath, &o)
	if err != nil {
		return fmt.Errorf("report that the point was opened: %w", err)
	}
	return res.Body.Close()
}

// glassHealth tells whoever looks that the point is open.
func (a *Agent) glassHealth(now time.Time) health.State {
	s := a.glassState(now)
	switch {
	case s.Open:
		return health.Degraded(fmt.Sprintf("the point is OPEN by break-glass code %s until %s: what the policies refuse passes, so far %d requests; %s",
			s.Serial, s.Until.Format(time.RFC3339), s.Allowed, s.Reason), "close it as soon as it is not needed: muster point break-glass --close")
	case s.Trouble != "":
		return health.Degraded("no break-glass code opens this point: "+s.Trouble, "if the file is damaged and no code was used here, remove break-glass.json from the data folder and start the point again")
	}
	return health.OK()
}

// glassHandler answers at GlassPath.
func (a *Agent) glassHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+GlassPath, func(w http.ResponseWriter, _ *http.Request) { a.sayGlass(w) })
	mux.HandleFunc("POST "+GlassPath, a.byHand(a.openGlass))
	mux.HandleFunc("DELETE "+GlassPath, a.byHand(func(w http.ResponseWriter, _ *http.Request) {
		if a.glass.box == nil {
			http.Error(w, a.glass.broken.Error(), http.StatusServiceUnavailable)
			return
		}
		err := a.glass.box.Close()
		a.glass.ring()
		if err != nil {
			slog.Error("the point was closed, and that could not be written down", "error", err)
			http.Error(w, "the point is closed, but that could not be written down: after a restart it may be open again until its time is over", http.StatusInternalServerError)
			return
		}
		slog.Warn("the point was closed by hand")
		a.sayGlass(w)
	}))
	return mux
}

// byHand lets through who asks from this machine with the key of the point: that
// keeps out other programs of the machine, and pages in its browsers.
func (a *Agent) byHand(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		remote, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !remote.Addr().Unmap().IsLoopback() {
			http.Error(w, "only from the machine of the point itself", http.StatusForbidden)
			return
		}
		given := r.Header.Values("Authorization")
		if len(given) != 1 || subtle.ConstantTimeCompare([]byte(given[0]), []byte("Bearer "+a.set.Key)) != 1 {
			http.Error(w, "it takes the key of the point", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func (a *Agent) sayGlass(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(a.glassState(time.Now())) // who asked may be gone
}

// An OpenGlass asks to open a point.
type OpenGlass struct {
	First   string `json:"first"` // a half, as it was typed
	Second  string `json:"second"`
	Minutes int    `json:"minutes"` // 1 to 60
	Reason  string `json:"reason"`
}

func (a *Agent) openGlass(w http.ResponseWriter, r *http.Request) {
	var in OpenGlass
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOpening))
	body.DisallowUnknownFields()
	if err := body.Decode(&in); err != nil || body.More() {
		// What was sent may hold a half, so it is not repeated.
		http.Error(w, "want a JSON object with first, second, minutes and reason", http.StatusBadRequest)
		return
	}
	o, err := a.breakGlass(in)
	if err != nil {
		slog.Warn("somebody tried to open this point by a break-glass code", "error", err)
		http.Error(w, err.Error(), glassStatus(err))
		return
	}
	slog.Warn("THIS POINT WAS OPENED by a break-glass code: what the policies refuse passes", "code", o.Serial, "until", o.Until().Format(time.RFC3339), "reason", o.Reason)
	a.glass.ring()
	a.sayGlass(w)
}

// breakGlass opens the point.
func (a *Agent) breakGlass(in OpenGlass) (breakglass.Opening, error) {
	g := &a.glass
	if g.box == nil {
		return breakglass.Opening{}, fmt.Errorf("no break-glass code opens this point: %v", g.broken) // not what was asked is wrong
	}
	if in.Minutes < 1 || in.Minutes > int(breakglass.Longest/time.Minute) {
		return breakglass.Opening{}, nhi.Invalidf("open for %d minutes: want 1 to %d", in.Minutes, int(breakglass.Longest/time.Minute))
	}
	reason := strings.TrimSpace(in.Reason)
	if strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return breakglass.Opening{}, nhi.Invalidf("the reason is one line of text")
	}
	p, ok := a.self()
	if !ok || p.Disabled {
		return breakglass.Opening{}, nhi.Invalidf("the point is disabled, or has not heard of itself from its server yet: no code opens it")
	}
	return g.box.Open(slices.Clone(p.Glass), [2]string{in.First, in.Second}, time.Duration(in.Minutes)*time.Minute, g.clean(reason))
}

// glassStatus is the one table from errors to statuses.
func glassStatus(err error) int {
	switch {
	case errors.Is(err, breakglass.ErrSlip), errors.Is(err, nhi.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, breakglass.ErrWrong):
		return http.StatusForbidden
	case errors.Is(err, breakglass.ErrUsed):
		return http.StatusConflict
	case errors.Is(err, breakglass.ErrOften):
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// glassMetrics writes what a monitor can warn by, in the text format of
// Prometheus.
func (a *Agent) glassMetrics(w http.ResponseWriter, _ *http.Request) {
	s := a.glassState(time.Now())
	open := 0
	if s.Open {
		open = 1
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, fmt.Sprintf(`# HELP muster_point_break_glass_open 1 while the point is open by a break-glass code.
# TYPE muster_point_break_glass_open gauge
muster_point_break_glass_open %d
# HELP muster_point_break_glass_seconds_left For how long it is open.
# TYPE muster_point_break_glass_seconds_left gauge
muster_point_break_glass_seconds_left %d
# HELP muster_point_break_glass_allowed Requests that only the code which is on has let pass.
# TYPE muster_point_break_glass_allowed gauge
muster_point_break_glass_allowed %d
# HELP muster_point_break_glass_codes Codes that would open the point.
# TYPE muster_point_break_glass_codes gauge
muster_point_break_glass_codes %d
`, open, s.Left, s.Allowed, s.Codes))
}
