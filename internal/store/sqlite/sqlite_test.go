package sqlite_test

import (
	"context"
	"testing"

	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/store/storetest"
)

func TestSQLiteIsAStore(t *testing.T) {
	storetest.Run(t, storetest.Kit{
		Open: func(ctx context.Context, dir string) (*store.DB, error) {
			return sqlite.Open(ctx, sqlite.Settings{Dir: dir})
		},
		Small: func(ctx context.Context, dir string) (*store.DB, error) {
			return sqlite.Open(ctx, sqlite.Settings{Dir: dir, MaxBytes: 1 << 20})
		},
	})
}
