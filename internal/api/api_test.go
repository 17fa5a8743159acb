package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// enum returns what the description says a field may be.
func enum(t *testing.T, of any, field string) []string {
	t.Helper()
	f, ok := reflect.TypeOf(of).FieldByName(field)
	if !ok {
		t.Fatalf("%T has no field %s", of, field)
	}
	return slices.Sorted(slices.Values(strings.Split(f.Tag.Get("enum"), ",")))
}

func words[T ~string](list ...T) []string {
	var out []string
	for _, w := range list {
		out = append(out, string(w))
	}
	slices.Sort(out)
	return out
}

func TestTheWordsOfTheClientAreTheWordsOfTheHouse(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want []string
	}{
		{"class", enum(t, client.Environment{}, "Class"), words(nhi.Production, nhi.Nonproduction, nhi.ClassUnknown)},
		{"identity state", enum(t, client.Identity{}, "State"), words(nhi.Active, nhi.Dormant, nhi.Quarantined, nhi.Deprecated, nhi.Retired)},
		{"credential state", enum(t, client.Credential{}, "State"), words(nhi.CredentialActive, nhi.CredentialNarrowed, nhi.CredentialSuspended, nhi.CredentialRevoked)},
		{"severity", enum(t, client.Finding{}, "Severity"), words(nhi.Info, nhi.Low, nhi.Medium, nhi.High, nhi.Critical)},
		{"finding status", enum(t, client.Finding{}, "Status"), words(nhi.Open, nhi.Acknowledged, nhi.Resolved, nhi.Dismissed)},
		{"finding status set", enum(t, client.SetFinding{}, "Status"), words(nhi.Open, nhi.Acknowledged, nhi.Resolved, nhi.Dismissed)},
		{"measure", enum(t, client.Action{}, "Measure"), words(nhi.MeasureNarrow, nhi.MeasureSuspend, nhi.MeasureQuarantine, nhi.MeasureRevoke)},
		{"action status", enum(t, client.Action{}, "Status"), words(nhi.ActionDone, nhi.ActionUndone, nhi.ActionProposed, nhi.ActionRefused)},
		{"outcome", enum(t, client.Decision{}, "Outcome"), words(nhi.Allow, nhi.Deny, nhi.StepUp)},
		{"step-up", enum(t, client.Obligation{}, "Kind"), words(nhi.StepReattest, nhi.StepBind, nhi.StepApprove, nhi.StepNarrow)},
		{"mode", enum(t, client.Point{}, "Mode"), words(nhi.Observe, nhi.Enforce)},
		{"dialect", enum(t, client.Point{}, "Dialect"), words(nhi.DialectAuthZEN, nhi.DialectNginx, nhi.DialectCaddy, nhi.DialectTraefik, nhi.DialectHAProxy, nhi.DialectEnvoy, nhi.DialectProxy, nhi.DialectKubernetes)},
		{"approval state", enum(t, client.Approval{}, "State"), words(nhi.ApprovalPending, nhi.ApprovalApproved, nhi.ApprovalDenied, nhi.ApprovalUsed, nhi.ApprovalCancelled, nhi.ApprovalExpired)},
		{"verdict", enum(t, client.SightingReply{}, "Verdict"), words(nhi.Confirmed, nhi.Forged, nhi.Unproven, nhi.Unknown)},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s: the client says %v, the house %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestTheCommittedDescriptionIsWhatIsServed(t *testing.T) {
	_, describe, err := New(frame.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := describe()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("api/openapi.yaml is not what the server serves: run make generate")
	}
}

var (
	admin    = access.PermitsOf([]access.Grant{{Role: access.Admin}})
	reporter = access.Permits{{Rights: []access.Right{access.Report}}}
)

// door lets everybody in as one caller.
type door struct{ caller frame.Caller }

func (d door) Authenticate(*http.Request) (frame.Caller, error) {
	if d.caller.Kind == "" {
		return frame.Caller{}, nhi.ErrDenied
	}
	return d.caller, nil
}

func same(s string) string { return s }

func TestARefusalNeverEchoesWhatWasSent(t *testing.T) {
	h, _, err := New(frame.Deps{Gate: door{frame.Caller{Kind: "operator", Name: "test", Permits: admin}}, Clean: same})
	if err != nil {
		t.Fatal(err)
	}
	const secret = "this-was-pasted-into-the-wrong-field"
	for _, body := range []string{
		`{"name":"x","environment":"production","kind":"` + secret + `"}`,
		`{"name":` + secret + `}`,
		`{"name":"x","environment":"production","owner":"` + strings.Repeat(secret, 20) + `"}`,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/v1/identities", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		if w.Code < 400 {
			t.Errorf("%s is accepted with %d", body, w.Code)
		}
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("the answer to %.60s echoes it: %s", body, w.Body)
		}
	}
}

func TestASourceMayOnlyReport(t *testing.T) {
	h, _, err := New(frame.Deps{Gate: door{frame.Caller{Kind: "source", Permits: reporter, Source: nhi.Source{Format: "text"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/identities", "/v1/overview", "/v1/points", "/v1/stream", "/v1/audit", "/v1/documents/routes.yaml"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusForbidden {
			t.Errorf("a source reads %s: %d, want 403", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/receive/logs/cloudtrail", strings.NewReader("{}")))
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a text source sends CloudTrail: %d, want 422", w.Code)
	}
}

func TestNobodyIsToldToComeBackWithAKey(t *testing.T) {
	h, _, err := New(frame.Deps{Gate: door{}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/identities", nil))
	if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
}

func TestErrorsMapToTheirStatusAndHideTheInside(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nhi.ErrNotFound, 404}, {nhi.ErrConflict, 409}, {nhi.ErrInvalid, 422}, {nhi.ErrTooLarge, 413}, {nhi.ErrBusy, 429}, {nhi.ErrDenied, 403},
		{errors.New("disk /dev/sda1 is gone"), 500},
	} {
		p := frame.Problem(tt.err, http.StatusForbidden)
		if p.Status != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, p.Status, tt.want)
		}
		if tt.want == 500 && strings.Contains(p.Detail, "/dev") {
			t.Errorf("the inside shows: %s", p.Detail)
		}
	}
}

// swallow takes logs in by reading them.
type swallow struct{ frame.Intake }

func (swallow) Logs(_ context.Context, _ nhi.Source, _ string, body io.Reader) (client.Received, error) {
	_, err := io.Copy(io.Discard, body)
	return client.Received{}, err
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestABodyWithoutEndIsRefusedAsTooLarge(t *testing.T) {
	h, _, err := New(frame.Deps{Gate: door{frame.Caller{Kind: "source", Permits: reporter, Source: nhi.Source{Format: "cloudtrail"}}}, Intake: swallow{}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/receive/logs/cloudtrail", zeros{}))
	if w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestTopicsAreChecked(t *testing.T) {
	if got, err := wanted("decision,finding"); err != nil || len(got) != 2 {
		t.Errorf("wanted = %v, %v", got, err)
	}
	if _, err := wanted("decision,secrets"); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("unknown topic: %v", err)
	}
}

func TestRepliesHaveListsAndNotNull(t *testing.T) {
	for _, v := range []any{frame.ToFinding(nhi.Finding{}), frame.ToDecision(nhi.Decision{}), frame.ToPoint(nhi.Point{}), frame.ToSource(nhi.Source{})} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "null") {
			t.Errorf("%T: %s", v, b)
		}
	}
	if got := frame.ToDecision(nhi.Decision{}).Outcome; got != "deny" {
		t.Errorf("the zero decision is shown as %q", got)
	}
}
