package server

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/server/proxies"
)

// proxies makes the proxies of the configuration, and what signs assertions of
// decisions, for them and for every other point that is to.
func (s *Server) proxies(ctx context.Context, mux *http.ServeMux, verifier enforce.Verifier) (*enforce.Asserter, error) {
	keys, asserter, err := proxies.OpenAssertions(ctx, s.db, s.keys, s.url)
	if err != nil {
		return nil, err
	}
	s.asserting = keys
	s.documents.Trust.OnChange(s.changed.Ring) // streams of whom nobody believes any more
	s.documents.SVIDs.OnChange(s.changed.Ring)
	mux.HandleFunc("GET "+enforce.JWKSPath, proxies.Published(keys))
	err = s.gates.Open(ctx, proxies.Deps{
		Judge: enforce.Judge{Routes: s.routes, Verifier: verifier, Decider: s.decider}, Trier: s.decider, Facts: s.facts, Changed: s.changed.Next,
		Asserter: asserter, Log: slog.Default(),
	})
	if err != nil {
		return nil, err
	}
	s.reloader.Parts = append(s.reloader.Parts, s.gates.Take)
	s.health.Add(s.gates.Checks()...)
	return asserter, nil
}

// Proxies is where each proxy listens, by the name of its point.
func (s *Server) Proxies() map[string]string { return s.gates.Addrs() }
