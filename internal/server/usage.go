package server

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	storeusage "github.com/muster-id/muster/internal/store/usage"
	"github.com/muster-id/muster/internal/usage"
)

// counter says under which heading an event is counted, from memory.
func (s *Server) counter() *usage.Counter {
	return &usage.Counter{
		Identity: s.facts.Identity, Resource: s.facts.Resource,
		Country: func(a netip.Addr) string { return s.table.Lookup(a).Country },
	}
}

func (s *Server) compactUsage(ctx context.Context, now time.Time) {
	if err := storeusage.Compact(ctx, s.db, now); err != nil {
		slog.Warn("old usage could not be compacted; tried again in an hour", "error", err)
	}
}
