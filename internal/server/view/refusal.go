package view

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeusage "github.com/muster-id/muster/internal/store/usage"
	"github.com/muster-id/muster/internal/usage"
)

// Counted implements api.Usage.
type Counted struct{ DB *store.DB }

func (c Counted) Rows(ctx context.Context, q usage.Query) ([]usage.Row, bool, error) {
	return storeusage.Rows(ctx, c.DB, q)
}

func (c Counted) Refusals(ctx context.Context, at int64, id string, limit int) ([]usage.Refusal, error) {
	return storeusage.RefusalsBefore(ctx, c.DB, at, id, limit)
}

// A Doorbook lists those whom our own interface did not let in. They are
// answered at once and written a moment later; what does not fit into memory
// meanwhile is counted.
type Doorbook struct {
	db    *store.DB
	clean func(string) string
	notes chan usage.Refusal
	lost  atomic.Uint64
}

const (
	waitingNotes = 2000
	noteEvery    = 500 * time.Millisecond
)

func NewDoorbook(db *store.DB, clean func(string) string) *Doorbook {
	return &Doorbook{db: db, clean: clean, notes: make(chan usage.Refusal, waitingNotes)}
}

// Note notes a request that could not prove who sends it. One without any proof
// is no attempt.
func (b *Doorbook) Note(r *http.Request, err error) {
	if !errors.Is(err, nhi.ErrDenied) && !errors.Is(err, nhi.ErrBusy) || r.Header.Get("Authorization") == "" && r.Header.Get("Cookie") == "" {
		return
	}
	reason := "not authenticated"
	if errors.Is(err, nhi.ErrBusy) {
		reason = "too many failures from one address"
	}
	b.Refused(r, usage.Refusal{Kind: usage.FailedAuthentication, Claimed: claimed(r.Header.Get("Authorization")), Reason: reason})
}

// Refused notes a request that was refused before any point was asked: why says
// of which kind, who was claimed and the reason, which are never the caller's
// own words. It does not block.
func (b *Doorbook) Refused(r *http.Request, why usage.Refusal) {
	n := why
	n.ID, n.At, n.Count = "rfs_"+rand.Text(), time.Now().UTC(), 1
	n.Operation = activity.Clean(b.clean(limited(r.Method)+" "+limited(r.URL.Path)), mostOperation)
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		n.Address = host
	}
	select {
	case b.notes <- n:
	default:
		b.lost.Add(1)
	}
}

// The method is the caller's own word as much as the path is, and both may be as
// long as a header may be.
const (
	mostOperation = 120
	mostLooked    = 8 << 10 // of each, before secrets are taken out of it
)

func limited(s string) string { return s[:min(len(s), mostLooked)] }

// claimed is the public part of a key of ours, which is no secret. Anything
// else might be one.
func claimed(authorization string) string {
	_, secret, ok := strings.Cut(authorization, " ")
	if !ok {
		return ""
	}
	parsed, err := key.Parse(strings.TrimSpace(secret))
	if err != nil {
		return ""
	}
	return strings.Clone(parsed.ID) // not the header around it
}

// Run writes what is noted until ctx ends, then once more.
func (b *Doorbook) Run(ctx context.Context) error {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.write(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			b.write(ctx)
		}
	}
}

func (b *Doorbook) write(ctx context.Context) {
	var waiting []usage.Refusal
	for len(waiting) < waitingNotes {
		select {
		case n := <-b.notes:
			waiting = append(waiting, n)
			continue
		default:
		}
		break
	}
	if lost := b.lost.Swap(0); lost > 0 {
		waiting = append(waiting, usage.Refusal{
			ID: "rfs_" + rand.Text(), At: time.Now().UTC(), Kind: usage.FailedAuthentication, Count: lost, Reason: "more than could be listed; counted here",
		})
	}
	if len(waiting) == 0 {
		return
	}
	_, err := b.db.Write(ctx, func(tx *store.Tx) error { return storeusage.AddRefusals(ctx, tx, waiting) })
	if err != nil {
		slog.Warn("refusals could not be listed; they are counted in the next entry", "count", len(waiting), "error", err)
		for i := range waiting {
			b.lost.Add(waiting[i].Count)
		}
	}
}
