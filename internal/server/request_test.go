package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

// A zenAnswer is what a point is answered, by evaluation and by request.
type zenAnswer struct {
	Decision bool
	Context  struct {
		ID       string `json:"evaluation_id"`
		Outcome  string
		At       time.Time `json:"evaluated_at"`
		Reason   string
		Next     string `json:"next_action"`
		Approval struct{ ID string }
		Access   *struct {
			Endpoint, Template string
			Expires            time.Time `json:"expires_at"`
		} `json:"access_request"`
		Obligations []struct{ Type string }
	}
	Task struct {
		ID, Status string
		Endpoint   string    `json:"status_endpoint"`
		Expires    time.Time `json:"expires_at"`
		Links      struct{ Cancel string }
	}
	Result *struct {
		Mode     string
		Approval struct {
			ID    string
			At    time.Time `json:"approved_at"`
			Until time.Time `json:"approved_until"`
		}
	}
	Type, Title, Detail string
	Status              int
}

// A zenPoint asks as a point does.
type zenPoint struct {
	*running
	key string
}

func (p zenPoint) call(method, path, body string, header ...string) (int, http.Header, zenAnswer) {
	p.t.Helper()
	res, text := p.raw(method, strings.TrimPrefix(path, p.URL()), body, append([]string{"Authorization", "Bearer " + p.key}, header...)...)
	var got zenAnswer
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		p.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	return res.StatusCode, res.Header, got
}

// zenQuestion is about an identity, with more members of the context.
func zenQuestion(who, action, context string) string {
	return fmt.Sprintf(`{"subject":{"type":"identity","id":%q},"action":{"name":%q},"resource":{"type":"api","id":"payments/api"},"context":{"ip":"203.0.113.7"%s}}`, who, action, context)
}

func (p zenPoint) evaluate(who, action, context string) zenAnswer {
	p.t.Helper()
	_, _, got := p.call(http.MethodPost, "/access/v1/evaluation", zenQuestion(who, action, context))
	return got
}

// request asks for access after a denial.
func (p zenPoint) request(who, action string, denied zenAnswer, header ...string) (int, http.Header, zenAnswer) {
	p.t.Helper()
	expires := time.Now().Add(time.Minute)
	if denied.Context.Access != nil {
		expires = denied.Context.Access.Expires
	}
	body := strings.TrimSuffix(zenQuestion(who, action, ""), "}") +
		fmt.Sprintf(`,"denial":{"evaluation_id":%q,"expires_at":%q}}`, denied.Context.ID, expires.Format(time.RFC3339))
	return p.call(http.MethodPost, "/access/v1/requests", body, header...)
}

// approval waits until the approval of a task is kept, which is after the denial.
func (p zenPoint) approval(denied zenAnswer) client.Approval {
	p.t.Helper()
	d, ok := p.log.Get(denied.Context.ID)
	if !ok || len(d.Obligations) != 1 {
		p.t.Fatalf("the denial %s asked nobody", denied.Context.ID)
	}
	var a client.Approval
	p.until("the question for people", func() bool {
		var err error
		a, err = p.api.GetApproval(p.t.Context(), d.Obligations[0].Value)
		return err == nil
	})
	return a
}

func (p zenPoint) approve(denied zenAnswer) {
	p.t.Helper()
	if _, err := p.api.Approve(p.t.Context(), p.approval(denied).ID, client.Answer{}); err != nil {
		p.t.Fatal(err)
	}
}

func TestAnAccessRequestIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	var found struct {
		Endpoint string   `json:"access_request_endpoint"`
		Can      []string `json:"capabilities"`
	}
	r.get("/.well-known/authzen-configuration", &found)
	if found.Endpoint != r.URL()+"/access/v1/requests" || len(found.Can) != 1 || found.Can[0] != "urn:openid:authzen:capability:access-request" {
		t.Errorf("the metadata says %+v", found)
	}
	denied := p.evaluate(key.Identity, "read", "")
	if a := denied.Context.Access; denied.Decision || a == nil || a.Endpoint != r.URL()+"/access/v1/requests" || !a.Expires.After(time.Now()) || denied.Context.Reason != "approval_required" || denied.Context.At.IsZero() {
		t.Fatalf("the denial is %+v", denied)
	}
	code, header, sent := p.request(key.Identity, "read", denied)
	if code != http.StatusAccepted || sent.Task.Status != "pending" || !strings.HasPrefix(sent.Task.ID, "arq_") || header.Get("Location") != sent.Task.Endpoint || header.Get("Retry-After") == "" || sent.Result != nil {
		t.Fatalf("%d %v %+v", code, header, sent)
	}
	p.approve(denied)
	code, header, done := p.call(http.MethodGet, sent.Task.Endpoint, "")
	if code != http.StatusOK || done.Task.Status != "approved" || done.Result == nil || done.Result.Mode != "reevaluate" || !done.Result.Approval.Until.After(done.Result.Approval.At) || header.Get("Retry-After") != "" {
		t.Fatalf("%d %v %+v", code, header, done)
	}
	presents := fmt.Sprintf(`,"approval":{"id":%q}`, done.Result.Approval.ID)
	if got := p.evaluate(key.Identity, "read", presents); !got.Decision || got.Context.Approval.ID != done.Result.Approval.ID {
		t.Fatalf("asked again after the vote: %+v", got)
	}
	if _, _, again := p.call(http.MethodGet, sent.Task.Endpoint, ""); again.Task.Status != "approved" {
		t.Errorf("a task that has ended is now %s", again.Task.Status)
	}
	if code, _, got := p.request(key.Identity, "read", denied); code != http.StatusGone || got.Type != "urn:openid:authzen:access-request:error:expired_denial" {
		t.Errorf("a denial that was lifted and used: %d %+v", code, got)
	}
}

func TestWhatPeopleSettledAtOnceNeedsNoPolling(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	denied := p.evaluate(key.Identity, "read", "")
	if _, err := r.api.Deny(t.Context(), p.approval(denied).ID, client.Answer{}); err != nil {
		t.Fatal(err)
	}
	if code, _, got := p.request(key.Identity, "read", denied); code != http.StatusCreated || got.Task.Status != "denied" || got.Result != nil {
		t.Errorf("denied before it was requested: %d %+v", code, got)
	}
	// The second denial of a question that waits leads to the same task.
	first := p.evaluate(key.Identity, "write", "")
	second := p.evaluate(key.Identity, "write", "")
	_, _, one := p.request(key.Identity, "write", first)
	_, _, two := p.request(key.Identity, "write", second)
	if one.Task.ID == "" || one.Task.ID != two.Task.ID {
		t.Errorf("tasks %q and %q of one question", one.Task.ID, two.Task.ID)
	}
	a := p.approval(first)
	if _, err := r.approvals.Change(t.Context(), a.ID, func(a *nhi.Approval) error { a.Expires = time.Now().Add(-time.Second); return nil }); err != nil {
		t.Fatal(err)
	}
	if code, _, got := p.call(http.MethodGet, one.Task.Endpoint, ""); code != http.StatusOK || got.Task.Status != "expired" {
		t.Errorf("nobody answered: %d %+v", code, got)
	}
	if _, err := r.approvals.Change(t.Context(), a.ID, func(a *nhi.Approval) error { a.Expires = time.Now().Add(-25 * time.Hour); return nil }); err != nil {
		t.Fatal(err)
	}
	if code, _, got := p.call(http.MethodGet, one.Task.Endpoint, ""); code != http.StatusGone || got.Type != "urn:openid:authzen:access-request:error:task_expired" {
		t.Errorf("a day later: %d %+v", code, got)
	}
}

func TestAnIdempotencyKeyStandsForOneRequest(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	denied := p.evaluate(key.Identity, "read", "")
	_, _, one := p.request(key.Identity, "read", denied, "Idempotency-Key", "k1")
	p.approve(denied)
	if got := p.evaluate(key.Identity, "read", ""); !got.Decision {
		t.Fatal("not allowed after the vote")
	}
	// What the key stands for is found after the task has ended, too.
	if code, _, again := p.request(key.Identity, "read", denied, "Idempotency-Key", "k1"); code != http.StatusCreated || again.Task.ID != one.Task.ID || again.Task.Status != "approved" {
		t.Errorf("the same again: %d %+v", code, again)
	}
	other := p.evaluate(key.Identity, "write", "")
	if code, _, got := p.request(key.Identity, "write", other, "Idempotency-Key", "k1"); code != http.StatusConflict || got.Type != "urn:openid:authzen:access-request:error:duplicate_request" || got.Status != 409 {
		t.Errorf("another request with the key: %d %+v", code, got)
	}
	if code, _, got := p.request(key.Identity, "write", other, "Idempotency-Key", "two words"); code != http.StatusBadRequest {
		t.Errorf("a key that is none: %d %+v", code, got)
	}
}

func TestAPointCancelsWhatStillWaits(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	denied := p.evaluate(key.Identity, "read", "")
	_, _, sent := p.request(key.Identity, "read", denied)
	p.approval(denied)
	if code, _, got := p.call(http.MethodPost, sent.Task.Links.Cancel, ""); code != http.StatusOK || got.Task.Status != "cancelled" {
		t.Fatalf("%d %+v", code, got)
	}
	if code, _, got := p.call(http.MethodPost, sent.Task.Endpoint+"/cancel", ""); code != http.StatusConflict || got.Type != "urn:openid:authzen:access-request:error:invalid_task_state" {
		t.Errorf("cancelled again: %d %+v", code, got)
	}
	if r.acts()["approval.cancel"] != 1 {
		t.Errorf("the audit log has %v", r.acts())
	}
	// What people said yes to is theirs to take back.
	denied = p.evaluate(key.Identity, "read", "")
	_, _, sent = p.request(key.Identity, "read", denied)
	p.approve(denied)
	if code, _, got := p.call(http.MethodPost, sent.Task.Endpoint+"/cancel", ""); code != http.StatusConflict {
		t.Errorf("cancelled after the vote: %d %+v", code, got)
	}
}

// Each of these presents what belongs to something else.
func TestAnApprovalOpensNothingButItsOwnQuestion(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	var enrolled client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "other"}, &enrolled)
	enforce := "enforce"
	r.send(http.MethodPatch, "/v1/points/other", client.SetPoint{Mode: &enforce}, nil)
	other := zenPoint{r, enrolled.Key}
	thief, _ := r.identity("thief")

	denied := p.evaluate(key.Identity, "read", "")
	_, _, sent := p.request(key.Identity, "read", denied)
	p.approve(denied)
	_, _, done := p.call(http.MethodGet, sent.Task.Endpoint, "")
	presents := fmt.Sprintf(`,"approval":{"id":%q,"approved_until":%q}`, done.Result.Approval.ID, time.Now().Add(time.Hour).Format(time.RFC3339))

	refused := func(name string, got zenAnswer, reason string) {
		t.Helper()
		if got.Decision || got.Context.Next != "request" || got.Context.Access == nil || got.Context.Reason != reason {
			t.Errorf("%s: %+v", name, got)
		}
	}
	t.Run("the approval of another subject", func(t *testing.T) {
		refused(t.Name(), p.evaluate(thief.ID, "read", presents), "out_of_scope")
	})
	t.Run("the approval of another action", func(t *testing.T) {
		refused(t.Name(), p.evaluate(key.Identity, "delete", presents), "out_of_scope")
	})
	t.Run("the approval from another network", func(t *testing.T) {
		_, _, got := p.call(http.MethodPost, "/access/v1/evaluation", strings.Replace(zenQuestion(key.Identity, "read", presents), "203.0.113.7", "198.51.100.9", 1))
		refused(t.Name(), got, "out_of_scope")
	})
	t.Run("the approval of another amount", func(t *testing.T) {
		_, _, got := p.call(http.MethodPost, "/access/v1/evaluation", strings.Replace(zenQuestion(key.Identity, "read", presents), `"read"`, `"read","properties":{"amount":1000000}`, 1))
		refused(t.Name(), got, "out_of_scope")
	})
	t.Run("the approval of another point", func(t *testing.T) {
		refused(t.Name(), other.evaluate(key.Identity, "read", presents), "approval_unverifiable")
	})
	t.Run("an approval nobody gave", func(t *testing.T) {
		refused(t.Name(), p.evaluate(thief.ID, "write", `,"approval":{"id":"apr_aaaaaaaaaaaaaaaaaaaaaaaaaa"}`), "approval_unverifiable")
	})
	t.Run("the denial of another point", func(t *testing.T) {
		if code, _, got := other.request(key.Identity, "read", denied); code != http.StatusBadRequest || got.Type != "urn:openid:authzen:access-request:error:invalid_denial_binding" {
			t.Errorf("%d %+v", code, got)
		}
	})
	t.Run("the task of another point", func(t *testing.T) {
		for _, c := range [][2]string{{http.MethodGet, sent.Task.Endpoint}, {http.MethodPost, sent.Task.Endpoint + "/cancel"}} {
			if code, _, got := other.call(c[0], c[1], ""); code != http.StatusNotFound || got.Type != "urn:openid:authzen:access-request:error:unknown_task" {
				t.Errorf("%s: %d %+v", c[0], code, got)
			}
		}
	})
	t.Run("a denial of another subject or action", func(t *testing.T) {
		for _, q := range [][2]string{{thief.ID, "read"}, {key.Identity, "delete"}} {
			if code, _, got := p.request(q[0], q[1], denied); code != http.StatusBadRequest || got.Type != "urn:openid:authzen:access-request:error:invalid_denial_binding" {
				t.Errorf("%v: %d %+v", q, code, got)
			}
		}
	})
	t.Run("an approval used twice", func(t *testing.T) {
		if got := p.evaluate(key.Identity, "read", presents); !got.Decision {
			t.Fatalf("its own question: %+v", got)
		}
		refused(t.Name(), p.evaluate(key.Identity, "read", presents), "approval_unverifiable")
	})
}

func TestAnExpiredDenialCannotBeRequested(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	denied := p.evaluate(key.Identity, "read", "")
	if _, err := r.approvals.Change(t.Context(), p.approval(denied).ID, func(a *nhi.Approval) error { a.Expires = time.Now().Add(-time.Second); return nil }); err != nil {
		t.Fatal(err)
	}
	// The point says that it has not expired; ours is the time.
	if code, _, got := p.request(key.Identity, "read", denied); code != http.StatusGone || got.Type != "urn:openid:authzen:access-request:error:expired_denial" {
		t.Errorf("%d %+v", code, got)
	}
}

func TestADenialThatNobodyCanLiftIsNotRequestable(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	r.put("policies.cedar", "@id(\"never\")\nforbid (principal, action, resource);\n")
	denied := p.evaluate(key.Identity, "read", `,"approval":{"id":"apr_x"}`)
	if denied.Decision || denied.Context.Access != nil || denied.Context.Next != "none" {
		t.Fatalf("the denial is %+v", denied)
	}
	if code, _, got := p.request(key.Identity, "read", denied); code != http.StatusBadRequest || got.Type != "urn:openid:authzen:access-request:error:not_requestable" {
		t.Errorf("%d %+v", code, got)
	}
	denied.Context.ID = "019e0c55-0000-7000-8000-000000000000"
	if code, _, got := p.request(key.Identity, "read", denied); code != http.StatusBadRequest || got.Type != "urn:openid:authzen:access-request:error:invalid_denial_binding" {
		t.Errorf("a decision nobody made: %d %+v", code, got)
	}
}

func TestAStepUpThatAPointCannotMakeIsAPlainDenial(t *testing.T) {
	t.Parallel()
	r, point, key := asking(t, t.TempDir())
	p := zenPoint{r, point}
	for context, plain := range map[string]bool{
		"": false, `,"supported_obligations":null`: false, `,"supported_obligations":["custom","from-the-future"]`: false,
		`,"supported_obligations":["step-up"]`: true, `,"supported_obligations":[]`: true,
	} {
		got := p.evaluate(key.Identity, "read", context)
		if got.Decision || plain != (got.Context.Outcome == "deny" && got.Context.Access == nil && len(got.Context.Obligations) == 0) {
			t.Errorf("%s: %+v", context, got)
		}
	}
}
