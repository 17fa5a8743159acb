// Package recall fills Facts when a server starts, and keeps the image that
// makes the next start short.
//
// A start takes the image (see package facts) and the tail: the changes that
// were committed after it. The image is used only if it fits: it must be of
// this database (the installation's name), of these settings (labels follow
// from them), of this history (the digest of its last change must be that of
// the change with this number in the database, so that neither a database
// that was restored nor one that went another way is mistaken for ours), and
// unharmed (its HMAC). When anything does not fit, or the tail is no longer
// kept, the tables are read instead; that takes longer and is always right.
//
// While the server runs, [Keeper.Run] writes a new image every minute in which
// something changed, from a snapshot, so that neither decisions nor writers
// wait. Where there is a lot to write it waits until the tail has become
// worth it, for a quarter of an hour at most: an image of a million identities
// has 400 MB, and a disk wears out.
package recall

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A Keeper fills Facts and keeps their image. Fill in the fields before Load.
type Keeper struct {
	DB    *store.DB
	Facts *facts.Facts
	Path  string // of the image
	Key   []byte // nobody else has it
	// Basis returns a digest of the settings that labels follow from.
	Basis func() [32]byte
	// Tables loads the facts from the tables.
	Tables func(context.Context) error
	// Every is how often to look whether an image is due. 0: a minute.
	Every time.Duration

	failing      atomic.Pointer[error]
	mu           sync.Mutex // guards the rest
	installation string
	saved        nhi.Generation
	savedAt      time.Time
}

// How an image of many records waits: until there is a change for every few of
// them, or longest has passed.
const (
	many    = 100_000
	worth   = 64
	longest = 15 * time.Minute
)

// tail is how many changes are applied at a time.
const tail = 1000

// Load fills the facts and returns how: "image", or why the tables were read.
// It blocks until the facts hold everything that is committed; nothing else
// may write to the database meanwhile, or the hook that applies changes must
// be registered.
func (k *Keeper) Load(ctx context.Context) (how string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.installation, err = k.DB.Installation(ctx); err != nil {
		return "", err
	}
	if err = k.restore(ctx); err == nil {
		return "image", nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	how = "no image is there yet"
	if !errors.Is(err, fs.ErrNotExist) {
		how = err.Error()
		slog.Info("the facts are read from the tables", "because", err)
	}
	return how, k.Tables(ctx)
}

// restore takes the image and the tail.
func (k *Keeper) restore(ctx context.Context) error {
	err := k.Facts.Restore(k.Path, k.Key, func(m facts.Mark) error { return k.accept(ctx, m) })
	if err != nil {
		return err
	}
	k.saved, k.savedAt = k.Facts.Generation(), time.Now()
	for {
		changes, err := k.DB.Changes(ctx, k.Facts.Generation(), tail)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return nil
		}
		if err := k.Facts.Apply(changes); err != nil {
			return err
		}
	}
}

func (k *Keeper) accept(ctx context.Context, m facts.Mark) error {
	switch {
	case m.Installation != k.installation:
		return errors.New("the image is of another database")
	case m.Basis != k.Basis():
		return errors.New("the image was made under other settings")
	case m.Generation > k.DB.Generation():
		return errors.New("the image is newer than the database")
	}
	last, err := k.last(ctx, m.Generation)
	if err != nil {
		return err
	}
	if last != m.Last {
		return errors.New("the database has another history than the image")
	}
	return nil
}

// last is the digest of the change with the number generation.
func (k *Keeper) last(ctx context.Context, generation nhi.Generation) ([32]byte, error) {
	if generation == 0 {
		return [32]byte{}, nil
	}
	changes, err := k.DB.Changes(ctx, generation-1, 1)
	if err != nil {
		return [32]byte{}, err
	}
	if len(changes) != 1 || changes[0].Seq != generation {
		return [32]byte{}, errors.New("the change that the image ends with is no longer kept")
	}
	c := &changes[0]
	h := sha256.New()
	var n [8]byte
	for _, part := range [...]string{string(c.Subject), c.Key, c.At.UTC().Format(time.RFC3339Nano), string(c.Payload)} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return [32]byte(h.Sum(nil)), nil
}

// Run writes images until ctx ends, and then a last one.
func (k *Keeper) Run(ctx context.Context) error {
	every := k.Every
	if every <= 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := k.Save(context.WithoutCancel(ctx)); err != nil {
				slog.Warn("the image of facts could not be written; the next start takes longer", "error", err)
			}
			return nil
		case now := <-tick.C:
			if !k.due(now) {
				continue
			}
			if err := k.Save(ctx); err != nil && ctx.Err() == nil {
				slog.Warn("the image of facts could not be written; tried again in a minute", "error", err)
			}
		}
	}
}

// due reports whether the next start would gain by a new image.
func (k *Keeper) due(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.Facts.Snapshot()
	c := s.Counts()
	records := c.Identities + c.Credentials
	return records < many || s.Generation() >= k.saved+nhi.Generation(records/worth) || now.Sub(k.savedAt) >= longest
}

// Save writes an image unless nothing changed since the last one. It takes
// some seconds at a million identities; nobody waits for it but the caller.
// Facts that do not follow the changes any more are not written.
func (k *Keeper) Save(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.Facts.Snapshot()
	if s.Generation() == k.saved || k.Facts.Stale() != "" || k.installation == "" {
		return nil
	}
	last, err := k.last(ctx, s.Generation())
	if err == nil {
		err = s.Save(k.Path, k.Key, facts.Mark{Installation: k.installation, Basis: k.Basis(), Last: last, Generation: s.Generation()})
	}
	if err != nil {
		k.failing.Store(&err)
		return err
	}
	k.failing.Store(nil)
	k.saved, k.savedAt = s.Generation(), time.Now()
	return nil
}

// State is a line of /readyz: an image that cannot be written makes the next
// start longer and nothing else.
func (k *Keeper) State(context.Context) health.State {
	if err := k.failing.Load(); err != nil {
		return health.Degraded((*err).Error(), "make room on the disk; until then a start reads the tables, which takes longer")
	}
	return health.OK()
}
