package server

import (
	"context"
	"crypto/ed25519"
	"iter"
	"path/filepath"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/library"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	"github.com/muster-id/muster/internal/store/snapshot"
	"github.com/muster-id/muster/internal/store/vault"
)

// policies opens the library of policies, with the key that it signs by.
func (s *Server) policies(ctx context.Context) (*library.Library, error) {
	seed, err := vault.New(s.db, s.keys).Random(ctx, "policy bundles", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	s.library, err = library.Open(ctx, library.Config{
		DB: s.db, Store: snapshot.New(s.db), Guards: s.settings.Config.Guards, Key: ed25519.NewKeyFromSeed(seed),
		People: storeaccess.New(s.db).People, Grants: func(p access.Person) []access.Grant { return s.access.GrantsOf(p) }, Record: s.respond.Reconcile, Clean: s.scanner.RedactString,
		Gates: func() promotion.Settings { return s.reloader.Current().Promotion }, Tap: s.log.NewTap(), Recorded: s.recorded,
		MaxFactsAge: func() time.Duration { return s.reloader.Current().Decisions.WithDefaults().MaxFactsAge },
	})
	return s.library, err
}

// recorded yields the decisions on record since a time.
func (s *Server) recorded(ctx context.Context, since time.Time) iter.Seq2[nhi.Decision, error] {
	return logbook.Since(ctx, filepath.Join(s.settings.Data, "decisions"), since)
}
