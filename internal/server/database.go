package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/view"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/store/sqlite"
)

// OpenStore opens the store that a configuration names: the PostgreSQL
// database, or SQLite in the data folder. The data folder belongs to the caller
// until the store is closed, in both cases. It is what offline commands, such
// as backup and restore, work on too.
func OpenStore(ctx context.Context, data string, c config.Store, version string) (*store.DB, error) {
	common := store.Settings{Program: version}
	if c.URL == "" {
		return sqlite.Open(ctx, sqlite.Settings{Dir: data, Settings: common})
	}
	release, err := sqlite.Lock(data)
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, postgres.Settings{URL: c.URL, PasswordFile: c.PasswordFile, Release: release, Settings: common})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return db, nil
}

func (s *Server) openStore(ctx context.Context) error {
	db, err := OpenStore(ctx, s.settings.Data, s.settings.Config.Store, s.settings.Version)
	if err != nil {
		return err
	}
	s.db = db
	s.onClose(db.Close)
	return nil
}

// databaseState is how the store is doing.
func (s *Server) databaseState(ctx context.Context) health.State {
	h := s.db.Health()
	switch {
	case errors.Is(h.Err, nhi.ErrConflict):
		return health.Failed(h.Err.Error(), "restart this server; if another one is meant to use the database, stop this one")
	case h.Err != nil:
		return health.Failed(h.Err.Error(), "decisions go on from memory, and nothing can be changed; bring the database back, the server finds it by itself")
	}
	if err := s.db.Read(ctx, func(*store.Tx) error { return nil }); err != nil {
		return health.Failed(err.Error(), "decisions go on from memory, and nothing can be changed; bring the database back")
	}
	if h.Warning != "" {
		return health.Degraded(h.Warning, "what was acknowledged may be lost with the database's machine")
	}
	return health.OK()
}

// keepChanges is how many changes are kept however old they are, so that an
// image of the facts can be followed up from where it was made.
const keepChanges = 100_000

// forgetChanges keeps the changes of the retention, for streams that come back.
func (s *Server) forgetChanges(ctx context.Context, now time.Time) {
	n, err := s.db.Forget(ctx, now.Add(-s.reloader.Current().Retention.Age), nhi.Generation(max(0, int64(s.db.Generation())-keepChanges)))
	if err != nil {
		slog.Warn("old changes could not be forgotten; tried again in an hour", "error", err)
	}
	if n > 0 {
		slog.Info("forgot old changes", "count", n, "first", s.db.First())
	}
}

// stale says when the requests of other processes count as dead: at once in a
// data folder, which one process uses at a time.
func (s *Server) stale() time.Duration {
	if s.settings.Config.Store.URL == "" {
		return 0
	}
	return view.OthersDead
}
