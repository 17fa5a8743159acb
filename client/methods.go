package client

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"time"
)

// The methods of a Client are the operations of the server's description
// (/openapi.json), each called as its operationId. A list has two: ListFindings
// reads one page, Findings goes through all of them. What a caller may not see
// is answered as if it did not exist; [IsNotFound] tells.

// GetMe says who the caller is and what it may do.
func (c *Client) GetMe(ctx context.Context) (Me, error) { return read[Me](ctx, c, "/v1/me", nil) }

// GetSignIn says how a person can sign in. It needs no token.
func (c *Client) GetSignIn(ctx context.Context) (SignIn, error) {
	return read[SignIn](ctx, c, "/v1/signin", nil)
}

// CreateLink makes a one-time sign-in link for the caller. It is shown once.
func (c *Client) CreateLink(ctx context.Context, options ...Option) (Link, error) {
	return write[Link](ctx, c, http.MethodPost, "/v1/links", nil, options)
}

// GetOverview answers whether anything is wrong, and whether one is protected.
func (c *Client) GetOverview(ctx context.Context) (Overview, error) {
	return read[Overview](ctx, c, "/v1/overview", nil)
}

// GetHealth says how each part of the server does.
func (c *Client) GetHealth(ctx context.Context) (Health, error) {
	return read[Health](ctx, c, "/v1/health", nil)
}

// An IdentityQuery says which identities are wanted. What is beside the filter
// is short for terms of it.
type IdentityQuery struct {
	ListQuery
	Words       string `query:"q"` // each must begin a word of name, path, native id, account or owner
	Kind        string `query:"kind"`
	Environment string `query:"environment"`
	Owner       string `query:"owner"`
	State       string `query:"state"`
	Unowned     bool   `query:"unowned"`
	Shadow      bool   `query:"shadow"`
}

// ListIdentities reads one page of identities.
func (c *Client) ListIdentities(ctx context.Context, q IdentityQuery) (Page[Identity], error) {
	return read[Page[Identity]](ctx, c, "/v1/identities", values(q))
}

// Identities goes through identities to the end of the list.
func (c *Client) Identities(ctx context.Context, q IdentityQuery) iter.Seq2[Identity, error] {
	return pages[Identity](ctx, c, "/v1/identities", values(q))
}

// ListIdentityFacets counts identities by the values of their fields. Of the
// query's list only the filter counts.
func (c *Client) ListIdentityFacets(ctx context.Context, q IdentityQuery) (Facets, error) {
	q.ListQuery = ListQuery{Filter: q.Filter}
	return read[Facets](ctx, c, "/v1/identities/facets", values(q))
}

// CreateIdentity makes an identity of Muster's own.
func (c *Client) CreateIdentity(ctx context.Context, request CreateIdentity, options ...Option) (Identity, error) {
	return write[Identity](ctx, c, http.MethodPost, "/v1/identities", request, options)
}

// GetIdentity reads one identity with what belongs to it. Its entity tag is
// that of its owner and state.
func (c *Client) GetIdentity(ctx context.Context, id string, options ...Option) (IdentityDetail, error) {
	return read[IdentityDetail](ctx, c, at("/v1/identities/", id, ""), nil, options...)
}

// SetOwner names the owner of an identity by hand. It honours [IfMatch].
func (c *Client) SetOwner(ctx context.Context, id string, request SetOwner, options ...Option) (Identity, error) {
	return write[Identity](ctx, c, http.MethodPut, at("/v1/identities/", id, "/owner"), request, options)
}

// GetNormal reads what was learned about how an identity behaves.
func (c *Client) GetNormal(ctx context.Context, id string) (Learned, error) {
	return read[Learned](ctx, c, at("/v1/identities/", id, "/normal"), nil)
}

// GetRisk explains the risk of an identity term by term.
func (c *Client) GetRisk(ctx context.Context, id string) (Risk, error) {
	return read[Risk](ctx, c, at("/v1/identities/", id, "/risk"), nil)
}

// GetLineage follows an identity from its origin to what it reaches.
func (c *Client) GetLineage(ctx context.Context, id string) (Lineage, error) {
	return read[Lineage](ctx, c, at("/v1/identities/", id, "/lineage"), nil)
}

// ListIdentityChanges reads one page of the acts about an identity and its
// credentials, the newest first.
func (c *Client) ListIdentityChanges(ctx context.Context, id string, q ListQuery) (Page[Entry], error) {
	return read[Page[Entry]](ctx, c, at("/v1/identities/", id, "/changes"), values(q))
}

// IdentityChanges goes through all of them.
func (c *Client) IdentityChanges(ctx context.Context, id string, q ListQuery) iter.Seq2[Entry, error] {
	return pages[Entry](ctx, c, at("/v1/identities/", id, "/changes"), values(q))
}

// CreateCredential makes an API key of an identity. The key is shown once.
func (c *Client) CreateCredential(ctx context.Context, identity string, request CreateCredential, options ...Option) (NewCredential, error) {
	return write[NewCredential](ctx, c, http.MethodPost, at("/v1/identities/", identity, "/credentials"), request, options)
}

// RegisterCredential makes an existing key known. Its value is not kept.
func (c *Client) RegisterCredential(ctx context.Context, identity string, request RegisterCredential, options ...Option) (Credential, error) {
	return write[Credential](ctx, c, http.MethodPost, at("/v1/identities/", identity, "/credentials/register"), request, options)
}

// ListCredentials reads one page of credentials; never their values.
func (c *Client) ListCredentials(ctx context.Context, q ListQuery) (Page[Credential], error) {
	return read[Page[Credential]](ctx, c, "/v1/credentials", values(q))
}

// Credentials goes through credentials to the end of the list.
func (c *Client) Credentials(ctx context.Context, q ListQuery) iter.Seq2[Credential, error] {
	return pages[Credential](ctx, c, "/v1/credentials", values(q))
}

// GetCredential reads one credential.
func (c *Client) GetCredential(ctx context.Context, id string) (Credential, error) {
	return read[Credential](ctx, c, at("/v1/credentials/", id, ""), nil)
}

// PinCredential binds a credential to one consumer, or lifts the pin.
func (c *Client) PinCredential(ctx context.Context, id string, request PinCredential, options ...Option) (Credential, error) {
	return write[Credential](ctx, c, http.MethodPut, at("/v1/credentials/", id, "/pin"), request, options)
}

// Search finds what a text names. The text may be a secret: it is neither kept
// nor logged.
func (c *Client) Search(ctx context.Context, request Search) (SearchResult, error) {
	return write[SearchResult](ctx, c, http.MethodPost, "/v1/search", request, nil)
}

// ListViews reads one page of the caller's saved views.
func (c *Client) ListViews(ctx context.Context, q ListQuery) (Page[View], error) {
	return read[Page[View]](ctx, c, "/v1/views", values(q))
}

// Views goes through the caller's saved views.
func (c *Client) Views(ctx context.Context, q ListQuery) iter.Seq2[View, error] {
	return pages[View](ctx, c, "/v1/views", values(q))
}

// PutView saves a view under an id of the caller's choice. It honours
// [IfMatch].
func (c *Client) PutView(ctx context.Context, id string, request PutView, options ...Option) (View, error) {
	return write[View](ctx, c, http.MethodPut, at("/v1/views/", id, ""), request, options)
}

// DeleteView removes a saved view. It honours [IfMatch].
func (c *Client) DeleteView(ctx context.Context, id string, options ...Option) error {
	return c.Send(ctx, http.MethodDelete, at("/v1/views/", id, ""), nil, nil, options...)
}

// A FindingQuery says which findings are wanted. What is beside the filter is
// short for terms of it.
type FindingQuery struct {
	ListQuery
	Status     string `query:"status"`
	Identity   string `query:"identity"`
	Credential string `query:"credential"`
}

// ListFindings reads one page of findings, the worst and newest first.
func (c *Client) ListFindings(ctx context.Context, q FindingQuery) (Page[Finding], error) {
	return read[Page[Finding]](ctx, c, "/v1/findings", values(q))
}

// Findings goes through findings to the end of the list.
func (c *Client) Findings(ctx context.Context, q FindingQuery) iter.Seq2[Finding, error] {
	return pages[Finding](ctx, c, "/v1/findings", values(q))
}

// GetFinding reads one finding. Its entity tag is that of its status.
func (c *Client) GetFinding(ctx context.Context, id string, options ...Option) (Finding, error) {
	return read[Finding](ctx, c, at("/v1/findings/", id, ""), nil, options...)
}

// SetFinding says what one thinks of a finding. It honours [IfMatch].
func (c *Client) SetFinding(ctx context.Context, id string, request SetFinding, options ...Option) (Finding, error) {
	return write[Finding](ctx, c, http.MethodPatch, at("/v1/findings/", id, ""), request, options)
}

// ListActions reads one page of what was done, the newest first.
func (c *Client) ListActions(ctx context.Context, q ListQuery) (Page[Action], error) {
	return read[Page[Action]](ctx, c, "/v1/actions", values(q))
}

// Actions goes through what was done, the newest first.
func (c *Client) Actions(ctx context.Context, q ListQuery) iter.Seq2[Action, error] {
	return pages[Action](ctx, c, "/v1/actions", values(q))
}

// UndoAction undoes an action.
func (c *Client) UndoAction(ctx context.Context, id string, request ActOn, options ...Option) (Action, error) {
	return write[Action](ctx, c, http.MethodPost, at("/v1/actions/", id, "/undo"), request, options)
}

// ApproveAction carries out a proposed action.
func (c *Client) ApproveAction(ctx context.Context, id string, request ActOn, options ...Option) (Action, error) {
	return write[Action](ctx, c, http.MethodPost, at("/v1/actions/", id, "/approve"), request, options)
}

// A DecisionQuery says which of the recent decisions are wanted. What is beside
// the filter is short for terms of it.
type DecisionQuery struct {
	ListQuery
	Outcome  string    `query:"outcome"`
	Identity string    `query:"identity"`
	Point    string    `query:"point"`
	Before   time.Time `query:"before"`
	Since    time.Time `query:"since"` // reads the record, as far back as it is kept
}

// ListDecisions reads one page of recent decisions, the newest first.
func (c *Client) ListDecisions(ctx context.Context, q DecisionQuery) (Page[Decision], error) {
	return read[Page[Decision]](ctx, c, "/v1/decisions", values(q))
}

// Decisions goes through recent decisions, the newest first.
func (c *Client) Decisions(ctx context.Context, q DecisionQuery) iter.Seq2[Decision, error] {
	return pages[Decision](ctx, c, "/v1/decisions", values(q))
}

// GetDecision reads one decision with its reasons.
func (c *Client) GetDecision(ctx context.Context, id string) (Decision, error) {
	return read[Decision](ctx, c, at("/v1/decisions/", id, ""), nil)
}

// A UsageQuery says what is counted. Zero fields do not narrow.
type UsageQuery struct {
	From         time.Time `query:"from"`   // zero: 24 hours before To, or 30 days by day
	To           time.Time `query:"to"`     // not included; zero: now
	Bucket       string    `query:"bucket"` // hour or day
	By           string    `query:"by"`     // some of identity, environment, service, region, jurisdiction and outcome, with commas between
	Identity     string    `query:"identity"`
	Environment  string    `query:"environment"`
	Service      string    `query:"service"`
	Region       string    `query:"region"`
	Jurisdiction string    `query:"jurisdiction"`
	Basis        string    `query:"jurisdiction_basis"`
	Outcome      string    `query:"outcome"`
	Limit        int       `query:"limit"` // rows of a page, up to 1,000; 0: 500
	PageToken    string    `query:"page_token"`
}

// GetUsage reads one page of counts, the oldest bucket first.
func (c *Client) GetUsage(ctx context.Context, q UsageQuery) (Usage, error) {
	return read[Usage](ctx, c, "/v1/usage", values(q))
}

// Usage goes through counts to their end.
func (c *Client) Usage(ctx context.Context, q UsageQuery) iter.Seq2[UsageRow, error] {
	return func(yield func(UsageRow, error) bool) {
		for {
			page, err := c.GetUsage(ctx, q)
			if err == nil && page.Next != "" && page.Next == q.PageToken {
				err = errEndless
			}
			if err != nil {
				yield(UsageRow{}, err)
				return
			}
			for _, row := range page.Rows {
				if !yield(row, nil) {
					return
				}
			}
			if q.PageToken = page.Next; q.PageToken == "" {
				return
			}
		}
	}
}

// ListRefusals reads one page of those who were not let in, the newest first.
func (c *Client) ListRefusals(ctx context.Context, q ListQuery) (Page[Refusal], error) {
	return read[Page[Refusal]](ctx, c, "/v1/refusals", values(q))
}

// Refusals goes through those who were not let in, the newest first.
func (c *Client) Refusals(ctx context.Context, q ListQuery) iter.Seq2[Refusal, error] {
	return pages[Refusal](ctx, c, "/v1/refusals", values(q))
}

// ListPoints reads one page of enforcement points.
func (c *Client) ListPoints(ctx context.Context, q ListQuery) (Page[Point], error) {
	return read[Page[Point]](ctx, c, "/v1/points", values(q))
}

// Points goes through enforcement points.
func (c *Client) Points(ctx context.Context, q ListQuery) iter.Seq2[Point, error] {
	return pages[Point](ctx, c, "/v1/points", values(q))
}

// EnrollPoint enrolls an enforcement point, which starts observing. Its key is
// shown once.
func (c *Client) EnrollPoint(ctx context.Context, request EnrollPoint, options ...Option) (Enrolled, error) {
	return write[Enrolled](ctx, c, http.MethodPost, "/v1/points", request, options)
}

// SetPoint changes a point, by id or name. It honours [IfMatch].
func (c *Client) SetPoint(ctx context.Context, id string, request SetPoint, options ...Option) (Point, error) {
	return write[Point](ctx, c, http.MethodPatch, at("/v1/points/", id, ""), request, options)
}

// ListSources reads one page of sources of logs and sightings.
func (c *Client) ListSources(ctx context.Context, q ListQuery) (Page[Source], error) {
	return read[Page[Source]](ctx, c, "/v1/sources", values(q))
}

// Sources goes through sources of logs and sightings.
func (c *Client) Sources(ctx context.Context, q ListQuery) iter.Seq2[Source, error] {
	return pages[Source](ctx, c, "/v1/sources", values(q))
}

// AddSource adds a source, which may speak only about its accounts. Its key is
// shown once.
func (c *Client) AddSource(ctx context.Context, request AddSource, options ...Option) (Enrolled, error) {
	return write[Enrolled](ctx, c, http.MethodPost, "/v1/sources", request, options)
}

// GetDocument reads routes.yaml, resources.yaml, trust.yaml or policies.cedar
// as it is in force.
func (c *Client) GetDocument(ctx context.Context, name string, options ...Option) (Document, error) {
	return read[Document](ctx, c, at("/v1/documents/", name, ""), nil, options...)
}

// ApplyDocument puts a document into force as a whole. A wrong one changes
// nothing, and the error names the line. It honours [IfMatch].
func (c *Client) ApplyDocument(ctx context.Context, name string, body []byte, options ...Option) (out Document, err error) {
	err = c.Do(ctx, http.MethodPut, at("/v1/documents/", name, ""), "text/plain", bytes.NewReader(body), &out, options...)
	return out, err
}

// An AuditQuery says which entries of the audit log are wanted.
type AuditQuery struct {
	ListQuery
	Before uint64 `query:"before"` // only entries with a smaller number; 0: from the newest on
}

// ListAudit reads one page of the audit log, the newest entry first.
func (c *Client) ListAudit(ctx context.Context, q AuditQuery) (Page[Entry], error) {
	return read[Page[Entry]](ctx, c, "/v1/audit", values(q))
}

// Audit goes through the audit log, the newest entry first.
func (c *Client) Audit(ctx context.Context, q AuditQuery) iter.Seq2[Entry, error] {
	return pages[Entry](ctx, c, "/v1/audit", values(q))
}

// MakeCheckpoint has the server sign where the audit log stands now. Keep the
// answer elsewhere: it proves later that nothing was taken out.
func (c *Client) MakeCheckpoint(ctx context.Context, options ...Option) (json.RawMessage, error) {
	return write[json.RawMessage](ctx, c, http.MethodPost, "/v1/audit/checkpoint", nil, options)
}

// ReportSighting tells, as a source, that a secret was seen.
func (c *Client) ReportSighting(ctx context.Context, request ReportSighting, options ...Option) (SightingReply, error) {
	return write[SightingReply](ctx, c, http.MethodPost, "/v1/sightings", request, options)
}

// EvaluateFingerprints evaluates blinded elements (RFC 9497), at most 100.
func (c *Client) EvaluateFingerprints(ctx context.Context, request EvaluateFingerprints) (EvaluatedFingerprints, error) {
	return write[EvaluatedFingerprints](ctx, c, http.MethodPost, "/v1/fingerprints/evaluate", request, nil)
}

// ListPeople reads one page of everybody who ever signed in.
func (c *Client) ListPeople(ctx context.Context, q ListQuery) (Page[Person], error) {
	return read[Page[Person]](ctx, c, "/v1/people", values(q))
}

// People goes through everybody who ever signed in.
func (c *Client) People(ctx context.Context, q ListQuery) iter.Seq2[Person, error] {
	return pages[Person](ctx, c, "/v1/people", values(q))
}

// SetPerson assigns roles to a person, or disables them. It honours [IfMatch].
func (c *Client) SetPerson(ctx context.Context, id string, request SetPerson, options ...Option) (Person, error) {
	return write[Person](ctx, c, http.MethodPut, at("/v1/people/", id, ""), request, options)
}

// ListTokens reads one page of operator tokens, the newest first.
func (c *Client) ListTokens(ctx context.Context, q ListQuery) (Page[Token], error) {
	return read[Page[Token]](ctx, c, "/v1/tokens", values(q))
}

// Tokens goes through operator tokens, the newest first.
func (c *Client) Tokens(ctx context.Context, q ListQuery) iter.Seq2[Token, error] {
	return pages[Token](ctx, c, "/v1/tokens", values(q))
}

// CreateToken makes an operator token. Its key is shown once.
func (c *Client) CreateToken(ctx context.Context, request CreateToken, options ...Option) (NewToken, error) {
	return write[NewToken](ctx, c, http.MethodPost, "/v1/tokens", request, options)
}

// RevokeToken revokes an operator token, at once. It honours [IfMatch].
func (c *Client) RevokeToken(ctx context.Context, id string, options ...Option) error {
	return c.Send(ctx, http.MethodDelete, at("/v1/tokens/", id, ""), nil, nil, options...)
}

// ListSessions reads one page of the browsers that are signed in as the caller.
func (c *Client) ListSessions(ctx context.Context, q ListQuery) (Page[Session], error) {
	return read[Page[Session]](ctx, c, "/v1/sessions", values(q))
}

// Sessions goes through the browsers that are signed in as the caller.
func (c *Client) Sessions(ctx context.Context, q ListQuery) iter.Seq2[Session, error] {
	return pages[Session](ctx, c, "/v1/sessions", values(q))
}

// EndSession signs one of the caller's browsers out.
func (c *Client) EndSession(ctx context.Context, id string, options ...Option) error {
	return c.Send(ctx, http.MethodDelete, at("/v1/sessions/", id, ""), nil, nil, options...)
}
