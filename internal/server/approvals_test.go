package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeaccess "github.com/muster-id/muster/internal/store/access"
)

// asked keeps a question of an identity and returns its id.
func (r *running) asked(id, identity string) string {
	r.t.Helper()
	now := time.Now()
	err := r.approvals.Put(r.t.Context(), nhi.Approval{
		ID: id, Binding: id, State: nhi.ApprovalPending, Decision: "dec_" + id, Identity: nhi.ID(identity), Action: nhi.Delete, Resource: "x", Needed: 1, Asked: now, Expires: now.Add(time.Hour),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// asking is a server where a person has to say yes to every request, and a key
// that may do nothing without.
func asking(t *testing.T, data string, edit ...func(*config.Config)) (*running, string, client.NewCredential) {
	r := start(t, data, edit...)
	point, key := r.furnish()
	r.put("policies.cedar", "@id(\"a-person\") @stepup(\"approve\")\nforbid (principal, action, resource) unless { context has approval };\n")
	return r, point, key
}

// pending waits until a question is kept and returns it.
func (r *running) pending() client.Approval {
	r.t.Helper()
	var page client.Page[client.Approval]
	r.until("a question for people", func() bool {
		r.get("/v1/approvals?filter=state:pending", &page)
		return len(page.Items) > 0
	})
	return page.Items[0]
}

func (r *running) knock(point string, key client.NewCredential) int {
	return r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7")
}

func TestAnAcknowledgedVoteIsSeenByTheNextDecisionAndLetsOneRequestPass(t *testing.T) {
	r, point, key := asking(t, t.TempDir())
	for range 5 {
		if got := r.knock(point, key); got != http.StatusForbidden {
			t.Fatalf("before anybody said yes: %d", got)
		}
		a := r.pending()
		if a.Identity != key.Identity || a.Needed != 1 || len(a.Reasons) == 0 {
			t.Fatalf("people are asked %+v", a)
		}
		if _, err := r.api.Approve(t.Context(), a.ID, client.Answer{Comment: "seen"}); err != nil {
			t.Fatal(err)
		}
		if got := r.knock(point, key); got != http.StatusOK {
			t.Fatalf("after the vote was acknowledged: %d", got)
		}
		if got := r.knock(point, key); got != http.StatusForbidden {
			t.Fatalf("a second request on the same approval: %d", got)
		}
		used, err := r.api.GetApproval(t.Context(), a.ID)
		if err != nil || used.State != "used" || used.Used == "" || len(used.Votes) != 1 || used.Votes[0].Comment != "seen" {
			t.Fatalf("it is %+v, %v", used, err)
		}
		if d, err := r.api.GetDecision(t.Context(), used.Used); err != nil || d.Approval != a.ID {
			t.Fatalf("the decision that used %s names %q, %v", a.ID, d.Approval, err)
		}
		if _, err := r.api.CancelApproval(t.Context(), r.pending().ID); err != nil { // the question of the third request
			t.Fatal(err)
		}
	}
	if acts := r.acts(); acts["approval.approve"] != 5 || acts["approval.cancel"] != 5 {
		t.Errorf("the audit log has %v", acts)
	}
}

func TestOfManyRequestsAtOnceAnApprovalLetsOnePass(t *testing.T) {
	r, point, key := asking(t, t.TempDir())
	r.knock(point, key)
	if _, err := r.api.Approve(t.Context(), r.pending().ID, client.Answer{}); err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if r.knock(point, key) == http.StatusOK {
				passed.Add(1)
			}
		})
	}
	if wg.Wait(); passed.Load() != 1 {
		t.Errorf("%d requests passed", passed.Load())
	}
}

func TestAVoteOutlivesTheProcessAndIsNotDoubled(t *testing.T) {
	data := t.TempDir()
	r, point, key := asking(t, data)
	r.knock(point, key)
	a := r.pending()
	if _, err := r.api.Approve(t.Context(), a.ID, client.Answer{}); err != nil {
		t.Fatal(err)
	}
	r.halt()
	again := start(t, data)
	if got := again.knock(point, key); got != http.StatusOK {
		t.Fatalf("after a restart: %d", got)
	}
	again.halt()
	third := start(t, data)
	if got := third.knock(point, key); got != http.StatusForbidden {
		t.Errorf("spent before a restart, it passes again: %d", got)
	}
}

// by is a caller who signed in.
func (r *running) by(subject, email string, groups []string, grants ...access.Grant) frame.Caller {
	r.t.Helper()
	id := r.signed(subject)
	if _, err := storeaccess.New(r.db).SaveSignIn(r.t.Context(), access.Person{ID: id, Issuer: "https://id.example.com", Subject: subject, Name: subject, Email: email, Groups: groups, SignedIn: time.Now()}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.access.SetPerson(r.t.Context(), id, access.PersonChange{Grants: &grants}); err != nil {
		r.t.Fatal(err)
	}
	return frame.Caller{Kind: string(access.Session), Name: subject, Person: id, Grants: grants, Permits: access.PermitsOf(grants)}
}

func TestANonHumanIdentityApprovesNoOther(t *testing.T) {
	r := start(t, t.TempDir())
	_, key := r.furnish()
	id := r.asked("apr_1", key.Identity)
	_, ada := r.administrator("ada")
	if _, err := ada.Approve(t.Context(), id, client.Answer{}); err == nil || !strings.Contains(err.Error(), "only people approve") {
		t.Errorf("a token that a person made: %v", err)
	}
	if _, err := ada.Deny(t.Context(), id, client.Answer{}); err == nil {
		t.Error("a token says no")
	}
	var robot client.NewToken
	r.send(http.MethodPost, "/v1/tokens", client.CreateToken{Name: "first-administrator", Roles: []client.Role{{Role: "admin"}}}, &robot)
	if _, err := r.as(robot.Key).Approve(t.Context(), id, client.Answer{}); err == nil || !strings.Contains(err.Error(), "only people approve") {
		t.Errorf("a token that the first administrator made: %v", err)
	}
	if a, err := ada.GetApproval(t.Context(), id); err != nil || a.State != "pending" {
		t.Errorf("it is %s, %v", a.State, err)
	}
	if a, err := ada.CancelApproval(t.Context(), id); err != nil || a.State != "cancelled" || !strings.Contains(a.CancelledBy, "ada") {
		t.Errorf("whoever may respond may close it: %+v, %v", a, err)
	}
}

func TestWhoAnswersForAnIdentityDoesNotApproveIt(t *testing.T) {
	r := start(t, t.TempDir())
	_, key := r.furnish()
	p := r.voting
	all := access.Grant{Role: access.Responder}
	team := access.Grant{Role: access.Responder, Scope: nhi.Scope{Team: "payments"}}
	for _, tt := range []struct {
		name, owner string
		by          frame.Caller
		denied      bool
	}{
		{"the owner by address", "ada@example.com", r.by("ada", "Ada@Example.com", nil, all), true},
		{"a group called after the team", "team:payments", r.by("bob", "", []string{"payments"}, all), true},
		{"a role within the team", "team:payments", r.by("eve", "", nil, team), true},
		{"somebody else", "ada@example.com", r.by("mara", "mara@example.com", []string{"platform"}, all), false},
		{"another team's", "team:payroll", r.by("ada", "ada@example.com", nil, all), false},
	} {
		r.send(http.MethodPut, "/v1/identities/"+key.Identity+"/owner", client.SetOwner{Owner: tt.owner}, nil)
		id := r.asked("apr_"+strings.ReplaceAll(tt.name, " ", "_"), key.Identity)
		_, err := p.Vote(context.Background(), tt.by, id, true, "")
		if denied := errors.Is(err, nhi.ErrDenied); denied != tt.denied || err != nil && !denied {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.denied {
			if a, err := p.Vote(context.Background(), tt.by, id, false, ""); err != nil || a.State != nhi.ApprovalDenied {
				t.Errorf("%s may say no: %v", tt.name, err)
			}
		}
	}
	// Ownership that is given away while the question waits does not help.
	owned := func(id, owner string) {
		r.send(http.MethodPut, "/v1/identities/"+id+"/owner", client.SetOwner{Owner: owner}, nil)
	}
	owned(key.Identity, "ada@example.com")
	given := r.asked("apr_given_away", key.Identity)
	owned(key.Identity, "mara@example.com")
	if _, err := p.Vote(context.Background(), r.by("ada", "ada@example.com", nil, all), given, true, ""); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("who gave the identity away meanwhile: %v", err)
	}
	// Nor is the workload behind a key, or who acts for it, somebody else's.
	var workload client.Identity
	r.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "dev", Owner: "eve@example.com"}, &workload)
	now := time.Now()
	err := r.approvals.Put(t.Context(), nhi.Approval{
		ID: "apr_behind", Binding: "apr_behind", State: nhi.ApprovalPending, Decision: "dec_behind", Identity: nhi.ID(key.Identity), Behind: []nhi.ID{nhi.ID(workload.ID)},
		Action: nhi.Delete, Resource: "x", Needed: 1, Asked: now, Expires: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Vote(context.Background(), r.by("eve", "eve@example.com", nil, all), "apr_behind", true, ""); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("who answers for the workload behind the request: %v", err)
	}
	if a, err := p.Vote(context.Background(), r.by("bob", "bob@example.com", nil, all), "apr_behind", true, ""); err != nil || a.State != nhi.ApprovalApproved {
		t.Errorf("somebody else: %v, %v", a.State, err)
	}
	if _, err := p.Vote(context.Background(), r.by("mara", "", nil, all), r.asked("apr_gone", "nhi_gone"), true, ""); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("of an identity that is gone nobody knows whose it was: %v", err)
	}
}

func TestPeopleAreToldWhenTheyAreAsked(t *testing.T) {
	r, point, key := asking(t, t.TempDir())
	r.knock(point, key)
	a := r.pending()
	notices := r.notices("approval.asked")
	if len(notices) != 1 || !strings.Contains(notices[0], a.ID) || !strings.Contains(notices[0], "can say no, but not yes") || strings.Contains(notices[0], key.Key) {
		t.Errorf("people are told %q", notices)
	}
}

// notices are the bodies of those about a topic.
func (r *running) notices(topic string) (out []string) {
	r.t.Helper()
	err := r.db.Read(r.t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query(r.t.Context(), `SELECT body FROM notice ORDER BY at, id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body string
			if err := rows.Scan(&body); err != nil {
				return err
			}
			if strings.Contains(body, `"`+topic+`"`) {
				out = append(out, body)
			}
		}
		return rows.Err()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func TestARefusedCallerIsToldWhatItCanWaitFor(t *testing.T) {
	r, point, key := asking(t, t.TempDir())
	var body struct {
		Outcome string
		Task    struct{ ID, Status string }
	}
	status, text := r.forward(point, key)
	if err := json.Unmarshal([]byte(text), &body); err != nil || status != http.StatusForbidden || body.Outcome != "step-up" {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	if a := r.pending(); body.Task.ID != a.ID || body.Task.Status != "pending" {
		t.Errorf("the task is %+v, people are asked for %s", body.Task, a.ID)
	}
}

// forward asks as a proxy does and returns what the caller would read.
func (r *running) forward(point string, key client.NewCredential) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.URL()+"/enforce/forward-auth", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Original-Method": "GET", "X-Original-URI": "/payments/1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7",
		"Muster-Point-Authorization": "Bearer " + point, "Authorization": "Bearer " + key.Key,
	} {
		req.Header.Set(name, value)
	}
	return do(r.t, req)
}
