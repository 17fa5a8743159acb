package authzen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// people are Requests of one approval and one task.
type people struct {
	approval nhi.Approval
	task     string
	err      error
	sent     map[string]Submission
}

func (p *people) Open(id string) (nhi.Approval, bool) { return p.approval, id == p.approval.ID }

func (p *people) Denied(_ context.Context, evaluation string, _ *nhi.Question) (nhi.Approval, error) {
	if evaluation != "dec-1" {
		return nhi.Approval{}, nhi.ErrNotFound
	}
	return p.approval, p.err
}

func (p *people) Sent(_ context.Context, _ nhi.ID, key string) (Submission, error) {
	if s, ok := p.sent[key]; ok {
		return s, nil
	}
	return Submission{}, nhi.ErrNotFound
}

func (p *people) Submit(_ context.Context, s Submission) (Submission, error) {
	p.sent[s.Key], p.task = s, s.Task
	return s, p.err
}

func (p *people) Task(_ context.Context, _ nhi.ID, task string) (Submission, nhi.Approval, error) {
	if task != p.task {
		return Submission{}, nhi.Approval{}, nhi.ErrNotFound
	}
	return Submission{Approval: p.approval.ID}, p.approval, p.err
}

func (p *people) Withdraw(context.Context, nhi.ID, string) (nhi.Approval, error) {
	return p.approval, p.err
}

var wished = strings.TrimSuffix(question, "}") + `,"denial":{"evaluation_id":"dec-1","expires_at":"2999-01-01T00:00:00Z"}}`

func newAsking() (*bench, *people) {
	points, p := enforcetest.Points{}, &people{sent: map[string]Submission{}}
	p.approval = nhi.Approval{ID: "apr_1", State: nhi.ApprovalPending, Needed: 2, Asked: time.Now(), Expires: time.Now().Add(time.Hour)}
	b := &bench{decider: &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.StepUp, Obligations: []nhi.Obligation{{Kind: nhi.StepApprove, Value: "apr_1"}}}}}
	b.key = points.Enroll(nhi.DialectAuthZEN, nil)
	b.Handler = New(Config{Points: enforce.NewPoints(points), Decider: b.decider, PublicURL: "https://muster.example/", Requests: p})
	return b, p
}

func TestBadAccessRequestsAreProblems(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, body, want string
		status                         int
	}{
		{"no denial", "POST", "", question, "invalid_denial_binding", 400},
		{"a binding token that we never made", "POST", "", strings.Replace(wished, "evaluation_id", "binding_token", 1), "invalid_denial_binding", 400},
		{"no end of the denial", "POST", "", strings.Replace(wished, `,"expires_at":"2999-01-01T00:00:00Z"`, "", 1), "about:blank", 400},
		{"an end that is no time", "POST", "", strings.Replace(wished, "2999-01-01T00:00:00Z", "soon", 1), "about:blank", 400},
		{"the point says it is over", "POST", "", strings.Replace(wished, "2999", "1999", 1), "expired_denial", 410},
		{"a bulk request", "POST", "", strings.TrimSuffix(wished, "}") + `,"items":[{}]}`, "about:blank", 400},
		{"no subject", "POST", "", `{"denial":{"evaluation_id":"dec-1"}}`, "about:blank", 400},
		{"a name twice", "POST", "", strings.Replace(wished, `"denial"`, `"denial":{"evaluation_id":"x"},"denial"`, 1), "about:blank", 400},
		{"nested without end", "POST", "", `{"x":` + strings.Repeat("[", 10000), "about:blank", 400},
		{"too large", "POST", "", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, "about:blank", 413},
		{"another method", "PUT", "", wished, "about:blank", 405},
		{"an unknown task", "GET", "/arq_x", "", "unknown_task", 404},
		{"a task below a task", "GET", "/arq_x/y", "", "unknown_task", 404},
		{"no task", "GET", "/", "", "unknown_task", 404},
		{"cancelling by GET", "GET", "/arq_x/cancel", "", "about:blank", 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, p := newAsking()
			r := b.request(tt.body)
			r.Method, r.URL.Path = tt.method, RequestsPath+tt.path
			res := b.do(r)
			got := decoded(t, res)
			if res.StatusCode != tt.status || !strings.HasSuffix(fmt.Sprint(got["type"]), tt.want) || res.Header.Get("Content-Type") != "application/problem+json" || got["status"] != float64(tt.status) {
				t.Errorf("%d %v, want %d and %s", res.StatusCode, got, tt.status, tt.want)
			}
			if len(p.sent) != 0 || len(b.decider.Asked()) != 0 {
				t.Error("it was kept, or decided")
			}
		})
	}
}

func TestAnAccessRequestNeedsAPoint(t *testing.T) {
	b, p := newAsking()
	r := b.request(wished)
	r.URL.Path = RequestsPath
	r.Header.Del("Authorization")
	if res := b.do(r); res.StatusCode != 401 || len(p.sent) != 0 {
		t.Errorf("status %d, %d kept", res.StatusCode, len(p.sent))
	}
}

func TestWhatCannotBeKeptIsNotPromised(t *testing.T) {
	b, p := newAsking()
	p.err = errors.New("the disk is full of secrets")
	r := b.request(wished)
	r.URL.Path = RequestsPath
	res := b.do(r)
	if got := decoded(t, res); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || strings.Contains(fmt.Sprint(got), "secrets") {
		t.Errorf("%d %v", res.StatusCode, got)
	}
}

func TestATaskSaysWhereItStandsAndHowLongToWait(t *testing.T) {
	now := time.Now()
	pending := nhi.Approval{ID: "apr_1", State: nhi.ApprovalPending, Needed: 2, Asked: now, Expires: now.Add(time.Hour)}
	vote := func(yes ...bool) (out []nhi.Vote) {
		for i, y := range yes {
			out = append(out, nhi.Vote{Person: fmt.Sprint(i), Yes: y, At: now})
		}
		return out
	}
	for _, tt := range []struct {
		name string
		edit func(*nhi.Approval)
		want string
	}{
		{"waits", func(*nhi.Approval) {}, taskPending},
		{"one of two said yes", func(a *nhi.Approval) { a.Votes = vote(true) }, taskPending},
		{"one of two said yes in time", func(a *nhi.Approval) { a.Votes, a.Expires = vote(true), now }, taskExpired},
		{"both said yes", func(a *nhi.Approval) { a.State, a.Votes = nhi.ApprovalApproved, vote(true, true) }, taskApproved},
		{"and it was used", func(a *nhi.Approval) { a.State, a.Votes = nhi.ApprovalUsed, vote(true, true) }, taskApproved},
		{"or was not used in time", func(a *nhi.Approval) { a.State, a.Votes, a.Expires = nhi.ApprovalApproved, vote(true, true), now }, taskApproved},
		{"or was taken back", func(a *nhi.Approval) { a.State, a.Votes = nhi.ApprovalCancelled, vote(true, true) }, taskApproved},
		{"one said no", func(a *nhi.Approval) { a.State, a.Votes = nhi.ApprovalDenied, vote(true, false) }, taskDenied},
		{"taken back before", func(a *nhi.Approval) { a.State, a.Votes = nhi.ApprovalCancelled, vote(true) }, taskCancelled},
		{"nobody could be asked", func(a *nhi.Approval) { *a = nhi.Approval{} }, taskFailed},
		{"a state from the future", func(a *nhi.Approval) { a.State = "granted" }, taskFailed},
	} {
		a := pending
		tt.edit(&a)
		var got struct {
			Task   struct{ Status string }
			Result *struct{}
		}
		if err := json.Unmarshal(appendTask(nil, "arq_1", "https://x/arq_1", &a, now), &got); err != nil {
			t.Fatal(err)
		}
		if got.Task.Status != tt.want || (got.Result != nil) != (tt.want == taskApproved) {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.want)
		}
	}
	for _, wait := range []struct{ after, want time.Duration }{{0, 5 * time.Second}, {time.Minute, 15 * time.Second}, {time.Hour, time.Minute}} {
		if got := patience(&pending, now.Add(wait.after)); got != wait.want {
			t.Errorf("after %v it waits %v, want %v", wait.after, got, wait.want)
		}
	}
}

func TestAPointIsHeldToItsPace(t *testing.T) {
	b, _ := newAsking()
	refused := 0
	for range 2 * pagesAtOnce {
		r := b.request("")
		r.Method, r.URL.Path = "GET", RequestsPath+"/arq_x"
		if b.do(r).StatusCode == 429 {
			refused++
		}
	}
	if refused == 0 {
		t.Errorf("%d looks at once, none refused", 2*pagesAtOnce)
	}
	if got := decoded(t, b.do(b.request(question))); got["context"].(map[string]any)["access_request"] == nil {
		t.Error("evaluations wait for it, too")
	}
}

func FuzzAccessRequest(f *testing.F) {
	f.Add(wished)
	f.Add(question)
	f.Add(`{"denial":null,"items":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		b, _ := newAsking()
		r := httptest.NewRequest("POST", RequestsPath, strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:5000"
		r.Header.Set("Authorization", "Bearer "+b.key)
		r.Header.Set("Content-Type", "application/json")
		res := b.do(r)
		if res.StatusCode != 202 && (res.StatusCode < 400 || res.StatusCode > 413) {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}
