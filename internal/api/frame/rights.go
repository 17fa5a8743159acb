package frame

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/nhi"
)

// A reach says where a caller must hold a route's right.
type reach int

const (
	// whole: without a scope, because what the route touches belongs to no
	// identity.
	whole reach = iota
	// narrowed: anywhere; the handler shows and touches only what lies within
	// Caller.Within of the right.
	narrowed
	// one: where the identity lies that the path is about. Outside it the
	// answer is the one for what does not exist.
	one
)

// A rule says who may use a route.
type rule struct {
	right access.Right
	reach reach
	of    func(*Frame, context.Context, string) (nhi.ID, error) // with one: whom the path's {id} is about
	open  bool                                                  // nobody needs to sign in
	own   bool                                                  // everybody who may do anything at all
	named bool                                                  // only a source: what it sends speaks in its name
}

// rules is the one table of what each route asks for. A route that is not here
// is not served: New refuses it.
var rules = map[string]rule{
	"GET /openapi.json":     {open: true},
	"GET /openapi.yaml":     {open: true},
	"GET /openapi-3.0.json": {open: true},
	"GET /openapi-3.0.yaml": {open: true},
	"GET /v1/signin":        {open: true},

	"GET /v1/me":               {own: true},
	"POST /v1/links":           {right: access.Read, reach: narrowed},
	"GET /v1/sessions":         {own: true},
	"DELETE /v1/sessions/{id}": {own: true},
	"GET /v1/people":           {right: access.Administer},
	"PUT /v1/people/{id}":      {right: access.Administer},
	"GET /v1/tokens":           {right: access.Administer},
	"POST /v1/tokens":          {right: access.Administer},
	"DELETE /v1/tokens/{id}":   {right: access.Administer},

	"GET /v1/overview": {right: access.Read, reach: narrowed},
	"GET /v1/stream":   {right: access.Read, reach: narrowed},

	"GET /v1/identities":                            {right: access.Read, reach: narrowed},
	"GET /v1/identities/facets":                     {right: access.Read, reach: narrowed},
	"POST /v1/identities":                           {right: access.Administer, reach: narrowed},
	"GET /v1/identities/{id}":                       {right: access.Read, reach: one, of: byIdentity},
	"GET /v1/identities/{id}/normal":                {right: access.Read, reach: one, of: byIdentity},
	"GET /v1/identities/{id}/risk":                  {right: access.Read, reach: one, of: byIdentity},
	"PUT /v1/identities/{id}/owner":                 {right: access.Triage, reach: one, of: byIdentity},
	"POST /v1/identities/{id}/credentials":          {right: access.Administer, reach: one, of: byIdentity},
	"POST /v1/identities/{id}/credentials/register": {right: access.Administer, reach: one, of: byIdentity},
	"GET /v1/credentials":                           {right: access.Read, reach: narrowed},
	"GET /v1/credentials/{id}":                      {right: access.Read, reach: one, of: byCredential},
	"PUT /v1/credentials/{id}/pin":                  {right: access.Respond, reach: one, of: byCredential},

	"GET /v1/identities/{id}/lineage": {right: access.Read, reach: one, of: byIdentity},
	"GET /v1/identities/{id}/changes": {right: access.Read, reach: one, of: byIdentity},

	"POST /v1/search":       {right: access.Read, reach: narrowed},
	"GET /v1/views":         {right: access.Read, reach: narrowed}, // the caller's own
	"PUT /v1/views/{id}":    {right: access.Triage, reach: narrowed},
	"DELETE /v1/views/{id}": {right: access.Triage, reach: narrowed},

	"GET /v1/findings":                {right: access.Read, reach: narrowed},
	"GET /v1/findings/{id}":           {right: access.Read, reach: one, of: byFinding},
	"PATCH /v1/findings/{id}":         {right: access.Triage, reach: one, of: byFinding},
	"GET /v1/actions":                 {right: access.Read, reach: narrowed},
	"POST /v1/actions/{id}/undo":      {right: access.Respond, reach: one, of: byAction},
	"POST /v1/actions/{id}/approve":   {right: access.Respond, reach: one, of: byAction},
	"GET /v1/approvals":               {right: access.Read, reach: narrowed},
	"GET /v1/approvals/{id}":          {right: access.Read, reach: one, of: byApproval},
	"POST /v1/approvals/{id}/approve": {right: access.Respond, reach: one, of: byApproval}, // and only people
	"POST /v1/approvals/{id}/deny":    {right: access.Respond, reach: one, of: byApproval}, // and only people
	"POST /v1/approvals/{id}/cancel":  {right: access.Respond, reach: one, of: byApproval},
	"GET /v1/usage":                   {right: access.Read, reach: narrowed},
	"GET /v1/refusals":                {right: access.Read, reach: narrowed},
	"GET /v1/decisions":               {right: access.Read, reach: narrowed},
	"GET /v1/decisions/export":        {right: access.Read, reach: narrowed},
	"GET /v1/decisions/{id}":          {right: access.Read, reach: one, of: byDecision},

	"GET /v1/decisions/{id}/explanation": {right: access.Read, reach: one, of: byDecision},

	"GET /v1/points":                              {right: access.Read, reach: narrowed}, // the same for everybody: what is guarded, and how
	"POST /v1/points":                             {right: access.Administer},
	"PATCH /v1/points/{id}":                       {right: access.Administer},
	"POST /v1/points/{id}/probe":                  {right: access.Administer},
	"GET /v1/points/{id}/break-glass":             {right: access.Read},
	"POST /v1/points/{id}/break-glass":            {right: access.Administer}, // and only people
	"DELETE /v1/points/{id}/break-glass/{serial}": {right: access.Administer},
	"GET /v1/sources":                             {right: access.Read},
	"POST /v1/sources":                            {right: access.Administer},
	"GET /v1/signals/streams":                     {right: access.Read},
	"GET /v1/signals/peers":                       {right: access.Read},
	"GET /v1/health":                              {right: access.Read},
	"GET /v1/channels":                            {right: access.Read},
	"POST /v1/channels/{name}/test":               {right: access.Administer},
	"GET /v1/documents/{name}":                    {right: access.Read},
	"PUT /v1/documents/{name}":                    {right: access.Administer},

	"GET /v1/snapshots":                    {right: access.Read},
	"POST /v1/snapshots":                   {right: access.Administer},
	"GET /v1/snapshots/{digest}":           {right: access.Read},
	"GET /v1/snapshots/{digest}/bundle":    {right: access.Read},
	"POST /v1/snapshots/{digest}/activate": {right: access.Administer},
	"POST /v1/snapshots/{digest}/confirm":  {right: access.Administer}, // and only people
	"POST /v1/snapshots/{digest}/withdraw": {right: access.Administer},
	"GET /v1/policies":                     {right: access.Read},
	"GET /v1/policies/key":                 {right: access.Read},

	"GET /v1/policies/promotion":                   {right: access.Read},
	"POST /v1/policies/promotion/{step}":           {right: access.Administer},
	"POST /v1/policies/promotion/acknowledgements": {right: access.Administer},

	"POST /v1/inventory/imports/aws": {right: access.Administer},

	"POST /v1/inventory/imports/aws/preview": {right: access.Administer}, // other writes wait while it runs

	"POST /v1/backup": {right: access.Administer},

	"POST /v1/policies/simulate": {right: access.Administer},
	"POST /v1/policies/learn":    {right: access.Administer},
	"GET /v1/policies/shadow":    {right: access.Read},
	"PUT /v1/policies/shadow":    {right: access.Administer},
	"DELETE /v1/policies/shadow": {right: access.Administer},

	"GET /v1/audit":             {right: access.Audit},
	"POST /v1/audit/checkpoint": {right: access.Audit},

	"POST /v1/sightings":             {right: access.Report},
	"POST /v1/fingerprints/evaluate": {right: access.Report},
	"POST /receive/logs/{format}":    {right: access.Report, named: true},
	"POST /receive/text":             {right: access.Report, named: true},
}

func byIdentity(s *Frame, ctx context.Context, id string) (nhi.ID, error) {
	i, err := s.Inventory.Identity(ctx, nhi.ID(id))
	return i.ID, err
}

func byCredential(s *Frame, ctx context.Context, id string) (nhi.ID, error) {
	c, err := s.Inventory.Credential(ctx, nhi.CredentialID(id))
	return c.Identity, err
}

func byFinding(s *Frame, ctx context.Context, id string) (nhi.ID, error) {
	f, err := s.Findings.Finding(ctx, id)
	return f.Identity, err
}

func byAction(s *Frame, ctx context.Context, id string) (nhi.ID, error) {
	a, err := s.Findings.Action(ctx, id)
	return a.Identity, err
}

func byApproval(s *Frame, ctx context.Context, id string) (nhi.ID, error) {
	a, err := s.Approvals.Approval(ctx, id)
	return a.Identity, err
}

func byDecision(s *Frame, ctx context.Context, id string) (nhi.ID, error) {
	d, err := s.Decisions.Decision(ctx, id)
	return d.Identity, err
}

// Visible reports whether an identity lies where the caller holds a right. An
// identity that is not known lies nowhere.
func (s *Frame) Visible(ctx context.Context, right access.Right, id nhi.ID) bool {
	within := CallerOf(ctx).Permits.Within(right)
	if within == nil {
		return true
	}
	if id == "" || len(within) == 0 {
		return false
	}
	if i, ok := s.Known.Identity(id); ok {
		return within.Holds(&i)
	}
	i, err := s.Inventory.Identity(ctx, id)
	return err == nil && within.Holds(&i)
}

// Within is where the caller may read: what lists show.
func Within(ctx context.Context) nhi.Scopes { return CallerOf(ctx).Permits.Within(access.Read) }

// Creates reports whether the caller may make such an identity: only where it
// administers already.
func (s *Frame) Creates(ctx context.Context, c client.CreateIdentity) bool {
	made := nhi.Identity{Owner: nhi.Owner{Ref: c.Owner}, Environment: nhi.Environment{Name: c.Environment}}
	return CallerOf(ctx).Permits.Within(access.Administer).Holds(&made)
}

// may says whether the caller of a request may use the route of a rule.
func (s *Frame) may(r *http.Request, rule rule) error {
	ctx := r.Context()
	permits := CallerOf(ctx).Permits
	switch {
	case rule.own && len(permits) > 0:
		return nil
	case rule.own || rule.right == "" || !permits.May(rule.right):
		return fmt.Errorf("this needs the right to %s: %w", rule.right, nhi.ErrDenied)
	case rule.named && CallerOf(ctx).Kind != string(access.Source):
		return fmt.Errorf("only a source may report here: %w", nhi.ErrDenied)
	case permits.MayEverywhere(rule.right) || rule.reach == narrowed:
		return nil
	case rule.reach == whole || rule.of == nil:
		return fmt.Errorf("this needs the right to %s without a scope: %w", rule.right, nhi.ErrDenied)
	}
	id, err := rule.of(s, ctx, r.PathValue("id"))
	if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return err
	}
	if err != nil || !s.Visible(ctx, rule.right, id) {
		// What exists elsewhere and what does not exist are answered alike.
		if err == nil && rule.right != access.Read && s.Visible(ctx, access.Read, id) {
			return fmt.Errorf("this needs the right to %s on this identity: %w", rule.right, nhi.ErrDenied)
		}
		return fmt.Errorf("nothing with this id: %w", nhi.ErrNotFound)
	}
	return nil
}

// A Gated mux serves a route only to whom its rule lets in.
type Gated struct {
	*http.ServeMux
	Frame  *Frame
	served []string
}

// HandleFunc implements the framework's mux.
func (g *Gated) HandleFunc(pattern string, handle func(http.ResponseWriter, *http.Request)) {
	g.served = append(g.served, pattern)
	rule := rules[pattern] // the zero rule lets nobody in
	if rule.open {
		g.ServeMux.HandleFunc(pattern, handle)
		return
	}
	handle = g.Frame.keyed(pattern, handle)
	g.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := g.Frame.may(r, rule); err != nil {
			g.Frame.Refuse(w, Problem(err, http.StatusForbidden))
			return
		}
		handle(w, r)
	})
}

// Check returns an error that names a route without a rule or a rule without a
// route: what nobody decided about must not be served.
func (g *Gated) Check() error {
	for _, pattern := range g.served {
		if _, ok := rules[pattern]; !ok {
			return fmt.Errorf("route %s has no rule in internal/api/frame/rights.go", pattern)
		}
	}
	for pattern := range rules {
		if !slices.Contains(g.served, pattern) {
			return fmt.Errorf("rule %s has no route: remove it from internal/api/frame/rights.go", pattern)
		}
	}
	return nil
}

// open reports whether nobody needs to sign in for a request.
func (g *Gated) open(r *http.Request) bool {
	_, pattern := g.Handler(r)
	return rules[pattern].open
}

// Guard says who calls before anything else is looked at, the question
// whether such a route exists included.
func (s *Frame) Guard(next *Gated) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if next.open(r) {
			next.ServeHTTP(w, r)
			return
		}
		caller, err := s.Gate.Authenticate(r)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="muster"`)
			s.Refuse(w, Problem(err, http.StatusUnauthorized))
			return
		}
		if len(caller.Permits) == 0 {
			s.Refuse(w, &huma.ErrorModel{Status: http.StatusForbidden, Title: "Forbidden", Detail: "a " + caller.Kind + " may do nothing here"})
			return
		}
		if _, pattern := next.Handler(r); pattern == "" {
			s.unrouted(w, r, next)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), caller)))
	})
}

// Routes lists every route that is served, such as "GET /v1/identities", in
// order.
func Routes() []string { return slices.Sorted(maps.Keys(rules)) }
