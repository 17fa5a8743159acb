package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/approval"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/panel"
	"github.com/muster-id/muster/internal/server/reload"
	"github.com/muster-id/muster/internal/server/view"
	storeaccess "github.com/muster-id/muster/internal/store/access"
	storeapproval "github.com/muster-id/muster/internal/store/approval"
)

// asking makes the desk of what people are asked to approve. Its store tells
// people in the transaction that keeps the question.
func (s *Server) asking(ctx context.Context) error {
	s.approvals = storeapproval.New(s.db, storeapproval.Hooks{Acts: panel.Acts, Tells: func(a nhi.Approval, who nhi.Identity) []nhi.Notice {
		return panel.Notices(&a, &who, !s.desk.Settings().OwnersMayApprove)
	}})
	var err error
	s.desk, err = approval.New(ctx, s.approvals, s.settings.Config.Approvals, slog.Default())
	if err != nil {
		return err
	}
	s.reloader.Parts = append(s.reloader.Parts,
		reload.Changed(s.reloader, func(c *config.Config) approval.Settings { return c.Approvals }, func(_ context.Context, next approval.Settings) (func(), error) {
			return func() { s.told("approvals", s.desk.Configure(next)) }, next.Validate()
		}))
	return nil
}

// asks keeps what identities ask, until ctx ends.
func (s *Server) asks(ctx context.Context) error {
	s.desk.Run(ctx)
	return nil
}

// panel puts the desk before people.
func (s *Server) panel(inv *inventory.Service) *panel.Panel {
	s.voting = &panel.Panel{
		Desk: s.desk, Store: s.approvals, Person: storeaccess.New(s.db).Person, Grants: s.access.GrantsOf, Identity: inv.Identity,
		Record: s.respond.Reconcile, Clean: s.scanner.RedactString,
	}
	return s.voting
}

// requests has points ask people in so many words.
func (s *Server) requests(made view.Decisions) *panel.Requests {
	return &panel.Requests{Desk: s.desk, Store: s.approvals, Decision: made.Decision, Record: s.respond.Reconcile, Try: func(q *nhi.Question) {
		s.decider.cleanse(q) // as what was decided was
		tried := []nhi.Question{*q}
		s.decider.Try(tried)
		*q = tried[0]
	}}
}

// forgetApprovals forgets what was asked long ago.
func (s *Server) forgetApprovals(ctx context.Context, now time.Time) {
	if err := storeapproval.Forget(ctx, s.db, now.Add(-storeapproval.Keep)); err != nil {
		slog.Warn("old approvals could not be forgotten; tried again in an hour", "error", err)
	}
}
