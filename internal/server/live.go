package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/server/document"
	"github.com/muster-id/muster/internal/server/notice"
	"github.com/muster-id/muster/internal/server/reload"
)

// follows lists the parts that take up a changed configuration. Keep
// config.live in step: what is named there needs a part here.
func (s *Server) follows(docs *document.Documents, inv *inventory.Service, decider *decision.Service) {
	r := s.reloader
	r.Load, r.File, r.Again = s.settings.Reload, s.settings.ConfigFile, s.settings.Again
	r.Parts = append(r.Parts,
		reload.Changed(r, func(c *config.Config) policy.Settings { return c.Guards }, func(_ context.Context, next policy.Settings) (func(), error) {
			if _, err := policy.Load(next, nil); err != nil {
				return nil, fmt.Errorf("guards: %w", err)
			}
			return func() { s.told("guards", docs.Policies.Holder().Configure(next)) }, nil
		}),
		reload.Changed(r, func(c *config.Config) decision.Settings { return c.Decisions }, func(_ context.Context, next decision.Settings) (func(), error) {
			return func() { s.told("decisions", decider.Configure(next)) }, next.Validate()
		}),
		reload.Changed(r, inventorySettings, func(ctx context.Context, next inventory.Settings) (func(), error) {
			return func() {
				s.told("environments and owner_tags", inv.Configure(next))
				s.told("environments", docs.Refresh(ctx))
			}, next.Validate()
		}),
		reload.Changed(r, func(c *config.Config) svid.Settings { return c.SVID }, func(_ context.Context, next svid.Settings) (func(), error) {
			_, err := svid.New(next, nil) // it reads the bundles
			return func() { s.told("svid", docs.SVIDs.Configure(next)) }, err
		}),
		reload.Changed(r, func(c *config.Config) config.Retention { return c.Retention }, func(ctx context.Context, next config.Retention) (func(), error) {
			return func() { s.told("retention", s.stream.Bound(ctx, next.Age, next.Bytes)) }, nil
		}),
		// Also when nothing in the file changed: a secret may have.
		func(_ context.Context, next *config.Config) (func(), error) {
			routes, err := notice.Routes(next.Notify, s.url)
			return func() { s.router.Replace(routes) }, err
		},
		// The files are the same ones; what is in them may not be.
		func(context.Context, *config.Config) (func(), error) {
			return func() { s.told("tls", s.ReloadCertificate()) }, nil
		},
	)
	r.Watch()
	s.health.Add(health.Check{Name: "config", State: r.State}, health.Check{Name: "trust_bundles", State: docs.SVIDs.State}, health.Check{Name: "notices", State: notice.Desk{Router: s.router}.State})
}

// told logs what should not happen: a part that agreed could not follow.
func (s *Server) told(key string, err error) {
	if err != nil {
		slog.Error("a part did not take up the configuration; restart the server", "key", key, "error", err)
	}
}

func inventorySettings(c *config.Config) inventory.Settings {
	return inventory.Settings{Environments: c.Environments, OwnerTags: c.OwnerTags}
}

func newReloader(c config.Config) *reload.Reloader { return reload.New(c, time.Now()) }
