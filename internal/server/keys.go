package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/store/vault"
)

// KeyFile is the name of the key file in the data folder.
const KeyFile = "keys.json"

// openKeys opens the key file and makes sure that it belongs to the database.
// A database with sealed rows and no key file is a loss to repair, not a reason
// to make new keys: with those, nothing that was sealed would ever open.
func (s *Server) openKeys(ctx context.Context) error {
	path := filepath.Join(s.settings.Data, KeyFile)
	wrappers, err := s.settings.Config.Keys.Unlock.Wrappers()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		sealed, err := vault.InUse(ctx, s.db)
		if err != nil {
			return fmt.Errorf("look whether the database needs the key file: %w", err)
		}
		if sealed {
			return fmt.Errorf("the key file %s is missing, and the database holds what only it opens: put it back from a backup, or from another server on the same database", path)
		}
	}
	if s.keys, err = seal.Open(ctx, path, wrappers...); err != nil {
		return err
	}
	if s.auditor, err = vault.New(s.db, s.keys).Signer(ctx, "audit"); err != nil {
		if errors.Is(err, seal.ErrBox) || errors.Is(err, seal.ErrKeyVersion) {
			return fmt.Errorf("the key file %s does not belong to this database: put the right one back from a backup; the one that is there was not changed: %w", path, err)
		}
		return err
	}
	s.health.Add(health.Check{Name: "keys", State: func(context.Context) health.State { return s.keyState(path) }})
	return nil
}

// keyState looks at the file, because people change and lose files.
func (s *Server) keyState(path string) health.State {
	on, err := seal.Inspect(path)
	switch {
	case err != nil:
		return health.Failed(err.Error(), "the server has its keys in memory and goes on, but will not start again: put the file back before it stops")
	case !on.Sealed && s.settings.Config.Keys.Unlock.Set():
		return health.Degraded("keys.unlock is set, and the key file lies in clear", "stop the server and seal it: muster config keys seal --data "+s.settings.Data)
	}
	return health.OK()
}
