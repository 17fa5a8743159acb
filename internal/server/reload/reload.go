// Package reload puts a changed configuration into force while the server runs.
// It reads the file again on a signal and when one of the files that the
// configuration consists of changes. Every part prepares first; only when all
// agree is anything changed, so a mistake leaves everything as it was. What
// only a restart takes up is named, and the old value stays.
package reload

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
)

// A Part makes the next configuration its own. It checks and prepares what may
// fail, and returns what puts it into force, which may not.
type Part func(ctx context.Context, next *config.Config) (commit func(), err error)

// A Reloader keeps the configuration in force. Load and Parts are set before
// Run; the rest is its own.
type Reloader struct {
	// Load reads and checks the configuration: file, environment, flags. nil:
	// it never changes.
	Load func() (config.Config, error)
	// File is the configuration file; empty: only the files that it would name
	// are watched.
	File string
	// Again asks for a reload; nil never does.
	Again <-chan os.Signal
	// Parts are asked in their order.
	Parts []Part

	one  sync.Mutex // one reload at a time; guards seen and last
	seen []string   // stamps of the files before they were last read
	last []string   // at the last look

	mu       sync.Mutex // guards the rest
	current  *config.Config
	status   Status
	complain string // why the last one failed
}

// Status is what the metrics show.
type Status struct {
	OK      bool      // the last reload succeeded, or there was none
	At      time.Time // of the last one that succeeded; the start at first
	Restart []string  // keys whose new values wait for a restart
}

// New returns a Reloader with c in force.
func New(c config.Config, now time.Time) *Reloader {
	return &Reloader{current: &c, status: Status{OK: true, At: now}}
}

// Current returns the configuration in force. It must not be changed.
func (r *Reloader) Current() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// Status tells how the last reload went.
func (r *Reloader) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// State is the line of the configuration among the health checks.
func (r *Reloader) State(context.Context) health.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.status.OK:
		return health.Degraded("the changed configuration is not in force, the one before is: "+r.complain, "mend it (muster config check FILE); the server reads it again by itself")
	case len(r.status.Restart) > 0:
		return health.Degraded("changes wait for a restart: "+strings.Join(r.status.Restart, ", "), "restart the server")
	}
	return health.OK()
}

// look is how often files are looked at.
const look = 2 * time.Second

// Run reloads when it is time to, until ctx ends.
func (r *Reloader) Run(ctx context.Context) error {
	if r.Load == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Again:
		case <-tick.C:
			if !r.changed() {
				continue
			}
		}
		r.Reload(ctx, time.Now())
	}
}

// Watch remembers the files as they are. Call it once Load and File are set.
func (r *Reloader) Watch() {
	r.one.Lock()
	defer r.one.Unlock()
	r.seen = r.stamps()
}

// changed tells whether the files are others than were read and have settled
// since the last look: a file that is being written may be empty for a moment,
// and an empty file would mean the defaults.
func (r *Reloader) changed() bool {
	r.one.Lock()
	defer r.one.Unlock()
	now := r.stamps()
	settled := slices.Equal(now, r.last)
	r.last = now
	return settled && !slices.Equal(now, r.seen)
}

// stamps tells whether a file is another than before.
func (r *Reloader) stamps() []string {
	files := r.Current().Files()
	if r.File != "" {
		files = append(files, r.File)
	}
	out := make([]string, 0, len(files))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			out = append(out, f+" "+"missing")
			continue
		}
		out = append(out, fmt.Sprint(f, info.Size(), info.ModTime().UnixNano()))
	}
	return out
}

// Reload reads the configuration again and puts it into force, or keeps the old
// one and says why in the log and in State.
func (r *Reloader) Reload(ctx context.Context, now time.Time) {
	r.one.Lock()
	defer r.one.Unlock()
	r.seen = r.stamps() // before they are read: what changes meanwhile is read again
	next, err := r.Load()
	if err == nil {
		err = r.apply(ctx, &next, now)
	}
	if err != nil {
		slog.Error("the changed configuration is not in force; the one before stays", "error", err)
		r.mu.Lock()
		r.status.OK, r.complain = false, err.Error()
		r.mu.Unlock()
		return
	}
	status := r.Status()
	slog.Info("the configuration was read again", "wait_for_restart", strings.Join(status.Restart, ", "))
}

func (r *Reloader) apply(ctx context.Context, next *config.Config, now time.Time) error {
	merged, restart := r.Current().Merge(next)
	commits := make([]func(), 0, len(r.Parts))
	for _, part := range r.Parts {
		commit, err := part(ctx, merged)
		if err != nil {
			return err
		}
		commits = append(commits, commit)
	}
	for _, commit := range commits {
		commit()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.complain = merged, ""
	r.status = Status{OK: true, At: now, Restart: restart}
	return nil
}

// Changed is a Part that acts only when what pick takes from the configuration
// is another than before.
func Changed[T any](r *Reloader, pick func(*config.Config) T, part func(ctx context.Context, next T) (func(), error)) Part {
	return func(ctx context.Context, next *config.Config) (func(), error) {
		v := pick(next)
		if reflect.DeepEqual(v, pick(r.Current())) {
			return func() {}, nil
		}
		return part(ctx, v)
	}
}
