package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/document"
	"github.com/muster-id/muster/internal/server/recall"
	"github.com/muster-id/muster/internal/server/view"
	"github.com/muster-id/muster/internal/store"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storeissuer "github.com/muster-id/muster/internal/store/issuer"
)

// recalls makes the keeper of the image of facts and fills the facts.
func (s *Server) recalls(ctx context.Context, settings *inventory.Settings, inv *inventory.Service) error {
	s.recall = &recall.Keeper{
		DB: s.db, Facts: s.facts, Path: filepath.Join(s.settings.Data, "facts.image"), Key: s.keys.Derive("facts image", 32),
		Basis:  func() [32]byte { return sha256.Sum256(view.Encode(inv.Settings())) },
		Tables: func(ctx context.Context) error { return loadFacts(ctx, s.db, settings, s.facts) },
	}
	began := time.Now()
	how, err := s.recall.Load(ctx)
	if err != nil {
		return err
	}
	slog.Debug("the facts are complete", "from", how, "generation", s.facts.Generation(), "took", time.Since(began))
	s.health.Add(health.Check{Name: "facts image", State: s.recall.State})
	return nil
}

// loadFacts fills into from one snapshot of the store. The hook that applies
// later changes must be registered before the first write after it.
func loadFacts(ctx context.Context, db *store.DB, settings *inventory.Settings, into *facts.Facts) error {
	l := into.Begin()
	defer l.Abandon()
	var generation nhi.Generation
	// Nothing writes yet, so these lists and the snapshot agree.
	kept := storeaccess.New(db)
	points, err := kept.Points(ctx)
	if err != nil {
		return fmt.Errorf("load the facts: %w", err)
	}
	sources, err := kept.Sources(ctx)
	if err != nil {
		return fmt.Errorf("load the facts: %w", err)
	}
	revoked, err := storeissuer.New(db).Revocations(ctx, time.Now().Add(-facts.Pruned))
	if err != nil {
		return fmt.Errorf("load the facts: %w", err)
	}
	for i := range revoked {
		l.Revocation(&revoked[i])
	}
	for i := range points {
		l.Point(&points[i])
	}
	for i := range sources {
		l.Source(&sources[i])
	}
	err = db.Read(ctx, func(tx *store.Tx) error {
		generation = tx.Generation()
		for i, err := range storeinventory.EachIdentity(ctx, tx) {
			if err != nil {
				return err
			}
			l.Identity(&i)
		}
		for c, err := range storeinventory.EachCredential(ctx, tx) {
			if err != nil {
				return err
			}
			l.Credential(&c)
		}
		if err := loadDocuments(ctx, tx, settings, l); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load the facts: %w", err)
	}
	return l.Commit(generation)
}

func loadDocuments(ctx context.Context, tx *store.Tx, settings *inventory.Settings, l *facts.Loading) error {
	read := func(name string) ([]byte, error) {
		d, err := tx.Document(ctx, name)
		if errors.Is(err, nhi.ErrNotFound) {
			return nil, nil
		}
		return d.Body, err
	}
	body, err := read(document.RoutesFile)
	if err != nil {
		return err
	}
	routes, err := document.ParseRoutes(body)
	if err != nil {
		return err
	}
	l.Routes(routes, max(tx.Generation(), 1))
	if body, err = read(document.ResourcesFile); err != nil {
		return err
	}
	resources, err := document.ParseResources(body, settings)
	if err != nil {
		return err
	}
	for _, r := range resources {
		l.Resource(&r)
	}
	return nil
}

// Generation is the number of the last change that decisions know.
func (s *Server) Generation() nhi.Generation { return s.facts.Generation() }
