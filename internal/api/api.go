// Package api is the management interface: REST under /v1 with an OpenAPI 3.1
// description, live streams by server-sent events, and the receivers that take
// logs and texts in.
//
// A request passes three doors. The gate says who calls: an operator (token or
// session), a source, or nobody (401). The rule of the route says which right it
// needs and where: who lacks it is refused (403), and what lies
// outside a caller's scope does not exist for it (404). The handler then calls
// one domain and maps what comes back to the types of package client; nothing
// else in the product knows HTTP status codes or those types. What all routes
// share is in package frame.
//
// Standards keep their own shapes and are not served here: AuthZEN and
// forward-auth by enforce, OAuth by issuer.
package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/muster-id/muster/internal/api/export"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/glass"
	"github.com/muster-id/muster/internal/api/library"
	"github.com/muster-id/muster/internal/api/rehearse"
)

// A server has a method for each route.
type server struct {
	*frame.Frame
	tails tails
}

// New returns the handler of /v1, /receive and /openapi.json, and what writes the
// description it serves as YAML, which takes long.
func New(d frame.Deps) (handler http.Handler, description func() ([]byte, error), err error) {
	s := &server{Frame: frame.New(d)}
	mux := &frame.Gated{ServeMux: http.NewServeMux(), Frame: s.Frame}
	cfg := huma.DefaultConfig("Muster", "1")
	cfg.Info.Description = "The management interface of Muster: zero trust for non-human identities. Errors are problem details (RFC 9457). Lists have an order, a limit and a page_token."
	cfg.DocsPath = ""    // the framework's page loads scripts from elsewhere
	cfg.SchemasPath = "" // and its schema links would add a field to every body
	cfg.CreateHooks = nil
	cfg.OpenAPIPath = "/openapi"
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "an operator token, or the key of a source"},
		"session": {Type: "apiKey", In: "cookie", Name: "muster"},
	}
	cfg.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	cfg.Transformers = append(cfg.Transformers, s.WithoutValues)
	h := humago.New(mux, cfg)
	s.identities(h)
	s.credentials(h)
	s.minds(h)
	s.health(h)
	s.channels(h)
	s.signals(h)
	s.findings(h)
	s.decisions(h)
	export.Register(h, s.Frame)
	s.explanation(h)
	s.approvals(h)
	s.enrolment(h)
	s.people(h)
	s.intake(h)
	s.documents(h)
	s.overview(h)
	s.lineages(h)
	s.search(h)
	s.views(h)
	s.usage(h)
	rehearse.Register(h, mux, s.Frame)
	glass.Register(h, s.Frame)
	library.Register(h, s.Frame)
	mux.HandleFunc("GET /v1/stream", s.stream)
	mux.HandleFunc("POST /v1/backup", s.backup)
	mux.HandleFunc("POST /v1/inventory/imports/aws", s.importAWS)
	mux.HandleFunc("POST /v1/inventory/imports/aws/preview", s.previewAWS)
	mux.HandleFunc("POST /receive/logs/{format}", s.receiveLogs)
	mux.HandleFunc("POST /receive/text", s.receiveText)
	if err := mux.Check(); err != nil {
		return nil, nil, err
	}
	s.Describe(h.OpenAPI())
	return s.Guard(mux), h.OpenAPI().YAML, nil
}
