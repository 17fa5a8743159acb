package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/notify/slack"
	"github.com/muster-id/muster/internal/notify/webhook"
	storeaccess "github.com/muster-id/muster/internal/store/access"
)

// A household is a server with one of everything that a route can be about.
type household struct {
	*running
	point              string // key of the point edge
	key                client.NewCredential
	leaked             client.SightingReply // a key that was contained
	proposed           client.SightingReply // a claim that waits for a person
	person             string
	ada                *client.Client // that person's token
	chat, trail, count *client.Client // sources
	decision           string
}

func newHousehold(t *testing.T) *household {
	t.Helper()
	h := &household{running: start(t, t.TempDir(), furnishRoom(t))}
	h.point, h.key = h.furnish()
	h.imported()
	h.chat, h.trail, h.count = h.source("chat", "text"), h.source("trail", "cloudtrail", account), h.source("ci", "scanner")
	if got := h.ask(h.point, "Bearer "+h.key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("a good key: %d", got)
	}
	var made client.Page[client.Decision]
	h.get("/v1/decisions", &made)
	h.decision = made.Items[0].ID
	h.leaked = h.post(h.chat, "oops "+h.key.Key)[0]
	h.proposed = h.report(h.count, client.ReportSighting{Rule: "aws-access-key-id", Provider: "aws", PublicID: accessKey, Place: client.Place{Kind: "file", Name: "deploy.sh"}})
	h.person, h.ada = h.administrator("ada")
	return h
}

// furnishRoom configures a channel of chat that takes everything.
func furnishRoom(t *testing.T) func(*config.Config) {
	t.Helper()
	room := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(room.Close)
	file := filepath.Join(t.TempDir(), "slack.url")
	if err := os.WriteFile(file, []byte(room.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		c.Notify = []config.Receiver{{Settings: webhook.Settings{Name: "room"}, Slack: slack.Settings{URLFile: file}}}
	}
}

// administrator is a person who signed in, with a token.
func (r *running) administrator(subject string) (string, *client.Client) {
	r.t.Helper()
	who := r.signed(subject)
	grants := []access.Grant{{Role: access.Admin}}
	if _, err := r.access.SetPerson(r.t.Context(), who, access.PersonChange{Grants: &grants}); err != nil {
		r.t.Fatal(err)
	}
	_, minted, err := r.access.MintToken(r.t.Context(), access.Caller{Kind: access.Session, Person: who, Grants: grants, Permits: access.PermitsOf(grants)}, access.NewToken{Name: subject})
	if err != nil {
		r.t.Fatal(err)
	}
	return who, r.as(minted.Reveal())
}

// signed is a person who signed in with a provider.
func (r *running) signed(subject string) string {
	r.t.Helper()
	const issuer = "https://id.example.com"
	id := access.PersonID(issuer, subject)
	_, err := storeaccess.New(r.db).SaveSignIn(r.t.Context(), access.Person{ID: id, Issuer: issuer, Subject: subject, Name: subject, Created: time.Now(), SignedIn: time.Now()})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// browser signs a person in and returns the session's id.
func (r *running) browser(person string) string {
	r.t.Helper()
	grants := []access.Grant{{Role: access.Admin}}
	link, err := r.access.NewLink(r.t.Context(), access.Caller{Kind: access.Session, Person: person, Permits: access.PermitsOf(grants)})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.access.SignIn(r.t.Context(), httptest.NewRequest("GET", "/signin", nil), link); err != nil {
		r.t.Fatal(err)
	}
	all, err := r.access.SessionsOf(r.t.Context(), person)
	if err != nil || len(all) == 0 {
		r.t.Fatalf("no session: %v", err)
	}
	return all[0].ID()
}

// An operation is what the tests read of one in the description.
type operation struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Name string `json:"name"`
	} `json:"parameters"`
}

// operations are those that the server describes, by route.
func (r *running) operations() map[string]operation {
	r.t.Helper()
	var doc struct {
		Paths map[string]map[string]operation `json:"paths"`
	}
	r.get("/openapi.json", &doc)
	out := map[string]operation{}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			out[strings.ToUpper(method)+" "+path] = o
		}
	}
	return out
}

// An ear hears which routes requests go to.
type ear struct {
	mux *http.ServeMux
	mu  sync.Mutex // guards all
	all []string
}

func (e *ear) RoundTrip(r *http.Request) (*http.Response, error) {
	_, pattern := e.mux.Handler(r)
	e.mu.Lock()
	e.all = append(e.all, pattern)
	e.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.all
	e.all = nil
	return out
}

// TestTheClientHasAMethodForEveryRoute calls the method of every operation of
// the description at a running server. A method is called as its operationId;
// a new route without one fails here.
func TestTheClientHasAMethodForEveryRoute(t *testing.T) {
	h := newHousehold(t)
	e := &ear{mux: http.NewServeMux()}
	operations := h.operations()
	for route := range operations {
		e.mux.HandleFunc(route, func(http.ResponseWriter, *http.Request) {})
	}
	calls := h.calls(t.Context(), func(c *client.Client) *client.Client { return c.WithTransport(e) })
	methods := map[string]bool{}
	for m := range reflect.TypeFor[*client.Client]().Methods() {
		methods[strings.ToLower(m.Name)] = true
	}
	for route, o := range operations {
		name := strings.ReplaceAll(o.ID, "-", "")
		call := calls[o.ID]
		if !methods[name] || call == nil {
			t.Errorf("%s (%s): the client has a method %v, and this test calls it %v", route, o.ID, methods[name], call != nil)
			continue
		}
		if err := call(); err != nil {
			t.Errorf("%s: %v", o.ID, err)
		}
		if heard := e.heard(); len(heard) != 1 || heard[0] != route {
			t.Errorf("%s asks %q, want once %s", o.ID, heard, route)
		}
		delete(calls, o.ID)
	}
	for id := range calls {
		t.Errorf("%s is called and not described", id)
	}
}

// only leaves of a method's answer whether it worked.
func only[T any](_ T, err error) error { return err }

// calls has a call for every operation, by its id.
func (h *household) calls(ctx context.Context, through func(*client.Client) *client.Client) map[string]func() error {
	api, ada, chat, trail, scan := through(h.api), through(h.ada), through(h.chat), through(h.trail), through(h.count)
	list := client.ListQuery{Limit: 5}
	session, view := h.browser(h.person), client.PutView{Name: "Mine", Page: "identities"}
	var token client.NewToken
	h.send(http.MethodPost, "/v1/tokens", client.CreateToken{Name: "doomed"}, &token)
	h.send(http.MethodPut, "/v1/views/gone", view, nil)
	out := map[string]func() error{
		"get-me":        func() error { return only(api.GetMe(ctx)) },
		"get-signin":    func() error { return only(api.GetSignIn(ctx)) },
		"create-link":   func() error { return only(api.CreateLink(ctx)) },
		"list-sessions": func() error { return only(ada.ListSessions(ctx, list)) },
		"end-session":   func() error { return ada.EndSession(ctx, session) },
		"list-people":   func() error { return only(api.ListPeople(ctx, list)) },
		"set-person": func() error {
			return only(api.SetPerson(ctx, h.person, client.SetPerson{Roles: &[]client.Role{{Role: "admin"}, {Role: "viewer"}}}))
		},
		"list-tokens":     func() error { return only(api.ListTokens(ctx, list)) },
		"create-token":    func() error { return only(api.CreateToken(ctx, client.CreateToken{Name: "robot"})) },
		"revoke-token":    func() error { return api.RevokeToken(ctx, token.ID, client.IfMatch(token.ETag)) },
		"get-overview":    func() error { return only(api.GetOverview(ctx)) },
		"get-health":      func() error { return only(api.GetHealth(ctx)) },
		"search":          func() error { return only(api.Search(ctx, client.Search{Text: "settler"})) },
		"list-views":      func() error { return only(api.ListViews(ctx, list)) },
		"put-view":        func() error { return only(api.PutView(ctx, "mine", view)) },
		"delete-view":     func() error { return api.DeleteView(ctx, "gone") },
		"get-break-glass": func() error { return only(api.GetBreakGlass(ctx, "edge")) },
		"take-break-glass": func() error {
			if _, err := api.TakeBreakGlass(ctx, "edge"); status(err) != http.StatusForbidden {
				return fmt.Errorf("a token takes a half: %w", err)
			}
			return nil
		},
		"withdraw-break-glass": func() error { return only(api.WithdrawBreakGlass(ctx, "edge", h.glassHalf("edge"))) },
		"list-points":          func() error { return only(api.ListPoints(ctx, list)) },
		"enroll-point":         func() error { return only(api.EnrollPoint(ctx, client.EnrollPoint{Name: "gate"})) },
		"probe-point": func() error {
			return only(api.ProbePoint(ctx, "edge", client.ProbePoint{Host: "payments.internal", Target: "/"}))
		},
		"set-point":           func() error { return only(api.SetPoint(ctx, "edge", client.SetPoint{Percent: new(50)})) },
		"list-signal-streams": func() error { return only(api.ListSignalStreams(ctx, list)) },
		"list-signal-peers":   func() error { return only(api.ListSignalPeers(ctx, list)) },
		"list-channels":       func() error { return only(api.ListChannels(ctx, list)) },
		"test-channel": func() error {
			got, err := api.TestChannel(ctx, "room")
			if err == nil && !got.Delivered {
				err = errors.New(got.Error)
			}
			return err
		},
		"list-sources": func() error { return only(api.ListSources(ctx, list)) },
		"add-source":   func() error { return only(api.AddSource(ctx, client.AddSource{Name: "more", Format: "text"})) },
		"step-promotion": func() error {
			h.promoting("")
			return only(api.StepPromotion(ctx, "abort", client.ActOn{Reason: "a drill"}))
		},
		"acknowledge-promotion": func() error {
			h.promoting("")
			_, err := api.AcknowledgePromotion(ctx, client.Acknowledge{Policy: "promoted", Reason: "meant"})
			return errors.Join(err, only(h.api.StepPromotion(ctx, "abort", client.ActOn{})))
		},
		"get-promotion":       func() error { return only(api.GetPromotion(ctx)) },
		"list-snapshots":      func() error { return only(api.ListSnapshots(ctx, list)) },
		"get-snapshot":        func() error { return only(api.GetSnapshot(ctx, h.inForce().Digest)) },
		"get-snapshot-bundle": func() error { return api.GetSnapshotBundle(ctx, h.inForce().Digest, io.Discard) },
		"list-policies":       func() error { return only(api.ListPolicies(ctx, list)) },
		"get-policy-key":      func() error { return only(api.GetPolicyKey(ctx)) },
		"put-snapshot": func() error {
			return only(api.PutSnapshot(ctx, client.PutSnapshot{Files: []client.LibraryFile{{Name: "policies/a.cedar", Text: narrow("a")}}}))
		},
		"activate-snapshot": func() error { return only(api.ActivateSnapshot(ctx, h.pastSnapshot(), client.ActOn{})) },
		"withdraw-snapshot": func() error { return only(api.WithdrawSnapshot(ctx, h.waitingSnapshot(), client.ActOn{})) },
		"confirm-snapshot": func() error {
			if _, err := api.ConfirmSnapshot(ctx, h.waitingSnapshot()); status(err) != http.StatusForbidden {
				return fmt.Errorf("a token confirms: %w", err)
			}
			return nil
		},
		"get-document":    func() error { return only(api.GetDocument(ctx, "routes.yaml")) },
		"apply-document":  func() error { return only(api.ApplyDocument(ctx, "routes.yaml", []byte(testRoutes))) },
		"list-audit":      func() error { return only(api.ListAudit(ctx, client.AuditQuery{ListQuery: list})) },
		"make-checkpoint": func() error { return only(api.MakeCheckpoint(ctx)) },
		"get-usage":       func() error { return only(api.GetUsage(ctx, client.UsageQuery{By: "identity,outcome", Limit: 5})) },
		"list-refusals":   func() error { return only(api.ListRefusals(ctx, list)) },
		"list-decisions": func() error {
			return only(api.ListDecisions(ctx, client.DecisionQuery{ListQuery: list, Outcome: "allow"}))
		},
		"export-decisions": func() error {
			return only(api.ExportDecisions(ctx, "csv", client.DecisionQuery{Since: time.Now().Add(-time.Hour)}, io.Discard))
		},
		"get-decision":     func() error { return only(api.GetDecision(ctx, h.decision)) },
		"explain-decision": func() error { return only(api.ExplainDecision(ctx, h.decision)) },
		"list-actions":     func() error { return only(api.ListActions(ctx, list)) },
		"undo-action":      func() error { return only(api.UndoAction(ctx, h.leaked.Action.ID, client.ActOn{Reason: "a drill"})) },
		"approve-action":   func() error { return only(api.ApproveAction(ctx, h.proposed.Action.ID, client.ActOn{})) },
		"list-approvals":   func() error { return only(api.ListApprovals(ctx, list)) },
		"get-approval":     func() error { return only(api.GetApproval(ctx, h.asked("apr_1", h.key.Identity))) },
		"approve": func() error {
			return only(api.Approve(ctx, h.asked("apr_2", h.key.Identity), client.Answer{Comment: "seen"}))
		},
		"deny":            func() error { return only(api.Deny(ctx, h.asked("apr_3", h.key.Identity), client.Answer{})) },
		"cancel-approval": func() error { return only(api.CancelApproval(ctx, h.asked("apr_4", h.key.Identity))) },
		"list-findings":   func() error { return only(api.ListFindings(ctx, client.FindingQuery{ListQuery: list, Status: "open"})) },
		"get-finding":     func() error { return only(api.GetFinding(ctx, h.leaked.Finding)) },
		"set-finding": func() error {
			return only(api.SetFinding(ctx, h.leaked.Finding, client.SetFinding{Status: "acknowledged"}))
		},
		"evaluate-fingerprints": func() error {
			err := only(scan.EvaluateFingerprints(ctx, client.EvaluateFingerprints{Blinded: [][]byte{{1}}}))
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity {
				return errors.New("one byte is no blinded element, and it is taken")
			}
			return nil
		},
		"report-sighting": func() error {
			return only(scan.ReportSighting(ctx, client.ReportSighting{Rule: "x", Provider: "aws", PublicID: "AKIAQ3EGRZ4KZZZZZZZ9", Place: client.Place{Kind: "file", Name: "x"}}))
		},
		"receive-logs": func() error { return only(trail.ReceiveLogs(ctx, "cloudtrail", trail1())) },
		"receive-text": func() error { return only(chat.ReceiveText(ctx, "text/plain", strings.NewReader("nothing"))) },
		"import-aws": func() error {
			return only(api.ImportAWS(ctx, map[string]io.Reader{"authorization-details": strings.NewReader(details("settlement", "mailer"))}))
		},
		"preview-aws": func() error {
			return only(api.PreviewAWS(ctx, map[string]io.Reader{"authorization-details": strings.NewReader(details("settlement", "mailer"))}))
		},
		"stream": func() error {
			enough := errors.New("enough")
			err := api.Stream(ctx, client.StreamQuery{Topics: []string{"finding"}, Filter: "outcome:deny", Rate: 5}, func(client.Event) error { return enough })
			if errors.Is(err, enough) {
				return nil
			}
			return err
		},
		"simulate-policies": func() error {
			return only(api.SimulatePolicies(ctx, client.SimulateRequest{Files: map[string]string{"x.cedar": `@id("x") forbid (principal, action, resource);`}}, nil))
		},
		"learn-policies": func() error { return only(api.LearnPolicies(ctx, client.LearnRequest{Owner: "team:payments"}, nil)) },
		"start-shadow": func() error {
			return only(api.StartShadow(ctx, client.StartShadow{Files: map[string]string{"x.cedar": `@id("x") forbid (principal, action, resource);`}}))
		},
		"get-shadow":  func() error { return only(api.GetShadow(ctx, client.ShadowQuery{Limit: 1})) },
		"stop-shadow": func() error { return only(api.StopShadow(ctx)) },
		"make-backup": func() error {
			id, err := age.GenerateX25519Identity()
			if err != nil {
				return err
			}
			var to bytes.Buffer
			return only(api.MakeBackup(ctx, client.BackupRequest{Recipients: []string{id.Recipient().String()}}, &to))
		},
	}
	h.identityCalls(ctx, api, list, out)
	return out
}

func trail1() io.Reader { return trail(event{id: "walk", user: "settlement"}) }

// identityCalls are those about identities and credentials.
func (h *household) identityCalls(ctx context.Context, api *client.Client, list client.ListQuery, out map[string]func() error) {
	id := h.key.Identity
	for name, call := range map[string]func() error{
		"list-identities": func() error {
			return only(api.ListIdentities(ctx, client.IdentityQuery{ListQuery: list, Owner: "team:payments"}))
		},
		"list-identity-facets": func() error { return only(api.ListIdentityFacets(ctx, client.IdentityQuery{})) },
		"create-identity": func() error {
			return only(api.CreateIdentity(ctx, client.CreateIdentity{Name: "walker", Environment: "production"}))
		},
		"get-identity":          func() error { return only(api.GetIdentity(ctx, id)) },
		"get-normal":            func() error { return only(api.GetNormal(ctx, id)) },
		"get-risk":              func() error { return only(api.GetRisk(ctx, id)) },
		"get-lineage":           func() error { return only(api.GetLineage(ctx, id)) },
		"list-identity-changes": func() error { return only(api.ListIdentityChanges(ctx, id, list)) },
		"set-owner":             func() error { return only(api.SetOwner(ctx, id, client.SetOwner{Owner: "team:a"})) },
		"create-credential":     func() error { return only(api.CreateCredential(ctx, id, client.CreateCredential{})) },
		"register-credential": func() error {
			return only(api.RegisterCredential(ctx, id, client.RegisterCredential{Kind: "registered-key", Value: "pt-live-1122334455667788990011223344"}))
		},
		"list-credentials": func() error { return only(api.ListCredentials(ctx, list)) },
		"get-credential":   func() error { return only(api.GetCredential(ctx, h.key.ID)) },
		"pin-credential":   func() error { return only(api.PinCredential(ctx, h.key.ID, client.PinCredential{Consumer: id})) },
	} {
		out[name] = call
	}
}

// TestAPersonAndATokenAreChangedOnlyByWhoReadThem is the lost update of roles.
func TestAPersonAndATokenAreChangedOnlyByWhoReadThem(t *testing.T) {
	r := start(t, t.TempDir())
	who := r.signed("bob")
	set := func(tag string, roles ...string) (client.Person, error) {
		var given []client.Role
		for _, role := range roles {
			given = append(given, client.Role{Role: role})
		}
		return r.api.SetPerson(t.Context(), who, client.SetPerson{Roles: &given}, client.IfMatch(tag))
	}
	var read client.Person
	for p, err := range r.api.People(t.Context(), client.ListQuery{Filter: "id:" + who}) {
		if err != nil {
			t.Fatal(err)
		}
		read = p
	}
	if read.ID != who || read.ETag == "" {
		t.Fatalf("read %+v", read)
	}
	now, err := set(read.ETag, "viewer")
	if err != nil || now.ETag == read.ETag {
		t.Fatalf("with the tag that was read: %+v, %v", now, err)
	}
	if _, err := set(read.ETag, "admin"); !client.IsStale(err) {
		t.Errorf("with an old tag: %v", err)
	}
	if _, err := set(now.ETag, "analyst"); err != nil {
		t.Errorf("with the tag of the answer: %v", err)
	}
	if _, err := r.api.SetPerson(t.Context(), "per_nobody", client.SetPerson{}, client.IfMatch(now.ETag)); !client.IsNotFound(err) {
		t.Errorf("nobody: %v", err)
	}
	made, err := r.api.CreateToken(t.Context(), client.CreateToken{Name: "robot"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.api.ListTokens(t.Context(), client.ListQuery{Filter: "name:robot"})
	if err != nil || page.Total != 1 || page.Items[0].ETag != made.ETag || made.ETag == "" {
		t.Fatalf("listed %+v, %v; made %+v", page, err, made.Token)
	}
	if err := r.api.RevokeToken(t.Context(), made.ID, client.IfMatch(`"other"`)); !client.IsStale(err) {
		t.Errorf("with another tag: %v", err)
	}
	if err := r.api.RevokeToken(t.Context(), made.ID, client.IfMatch(made.ETag)); err != nil {
		t.Errorf("with the tag: %v", err)
	}
	if page, err := r.api.ListTokens(t.Context(), client.ListQuery{Filter: "revoked:*", Order: "name"}); err != nil || len(page.Items) != 1 || page.Items[0].ETag == made.ETag {
		t.Errorf("revoked are %+v, %v", page, err)
	}
}
