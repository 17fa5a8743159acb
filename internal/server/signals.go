package server

import (
	"context"
	"net/http"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/document"
	"github.com/muster-id/muster/internal/server/signal"
	"github.com/muster-id/muster/internal/signals"
)

// signalling makes the room of shared signals.
func (s *Server) signalling(inv *inventory.Service, docs *document.Documents, spiffe func(nhi.ID) string) (err error) {
	s.signals, err = signal.New(signal.Deps{
		Settings: s.settings.Config.Signals, URL: s.url, DB: s.db, Keys: s.keys, Signing: s.issuing, SPIFFE: spiffe, Access: s.access, Inventory: inv,
		Respond: s.respond, Rules: docs.Trust.Rules, Judge: func(ctx context.Context, f nhi.Finding) error { return s.learner.Judge(ctx, f) },
	})
	if err != nil {
		return err
	}
	s.health.Add(s.signals.Check())
	s.reloader.Parts = append(s.reloader.Parts, func(_ context.Context, next *config.Config) (func(), error) { return s.signals.Prepare(next.Signals) })
	return nil
}

// serveSignals puts shared signals on the main listener. A poll that waits for
// news ends when the server stops.
func (s *Server) serveSignals(mux *http.ServeMux) {
	h := s.endless(s.signals.Handler())
	mux.Handle(signals.MetadataPath, h)
	mux.Handle(signals.Root, h)
}
