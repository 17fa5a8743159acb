package health

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func says(name string, vital bool, s State) Check {
	return Check{Name: name, Vital: vital, State: func(context.Context) State { return s }}
}

func get(r *Register, target, accept string) (int, string) {
	req := httptest.NewRequest(http.MethodGet, target, nil)
	req.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func TestOnlyWhatDecisionsNeedTakesAProcessOutOfService(t *testing.T) {
	for _, tt := range []struct {
		name   string
		checks []Check
		want   int
	}{
		{"all is well", []Check{says("store", false, OK()), says("facts", true, OK())}, 200},
		{"a vital part is degraded", []Check{says("facts", true, Degraded("old", "wait"))}, 200},
		{"a vital part failed", []Check{says("facts", true, Failed("too old", "start the store"))}, 503},
		{"another part failed", []Check{says("store", false, Failed("gone", "start it"))}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Register
			r.Started()
			r.Add(tt.checks...)
			if got, body := get(&r, "/readyz", ""); got != tt.want {
				t.Errorf("status %d, want %d: %s", got, tt.want, body)
			}
		})
	}
}

func TestAProcessIsReadyOnlyBetweenStartAndStop(t *testing.T) {
	var r Register
	if code, body := get(&r, "/readyz?verbose", ""); code != 503 || !strings.Contains(body, "started: failed: the process is still starting") {
		t.Errorf("before the start: %d %s", code, body)
	}
	r.Started()
	if code, _ := get(&r, "/readyz", ""); code != 200 {
		t.Errorf("after the start: %d", code)
	}
	r.Stopping()
	if code, _ := get(&r, "/readyz", ""); code != 503 {
		t.Errorf("while stopping: %d", code)
	}
}

func TestTheListNamesStateReasonAndCure(t *testing.T) {
	var r Register
	r.Started()
	r.Add(says("store", false, OK()), says("stream", false, Failed("no\nquorum", "start the other nodes")))
	_, text := get(&r, "/readyz?verbose", "*/*")
	want := "ready\nstarted: ok\nstore: ok\nstream: failed: no quorum; start the other nodes\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
	var rep Report
	_, body := get(&r, "/readyz?verbose", "application/json")
	if err := json.Unmarshal([]byte(body), &rep); err != nil || rep.Checks[2].Level != LevelFailed || rep.Checks[2].Cure != "start the other nodes" {
		t.Errorf("%s: %v %+v", body, err, rep)
	}
}

func TestALaterCheckSpeaksForThePart(t *testing.T) {
	var r Register
	r.Add(says("keys", false, OK()), says("disk", false, OK()))
	r.Add(says("keys", false, Degraded("in clear", "seal them")))
	if got := r.Report(t.Context()).Checks; len(got) != 3 || got[1].Name != "keys" || got[1].Level != LevelDegraded {
		t.Errorf("checks are %+v", got)
	}
}

func TestACheckThatHangsOrBreaksHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var r Register
		r.Add(
			Check{Name: "hangs", State: func(context.Context) State { <-release; return OK() }},
			Check{Name: "breaks", State: func(context.Context) State { panic("planted") }},
		)
		got := r.Report(t.Context()).Checks
		if got[1].Level != LevelFailed || !strings.Contains(got[1].Why, "no answer within") {
			t.Errorf("a hanging check says %v", got[1].State)
		}
		if got[2].Level != LevelFailed || strings.Contains(got[2].String(), "planted") {
			t.Errorf("a broken check says %v", got[2].State)
		}
		if again := r.Report(t.Context()).Checks[1]; !strings.Contains(again.Why, "earlier question") {
			t.Errorf("asked again, a hanging check says %v", again.State)
		}
		close(release)
		synctest.Wait()
		if later := r.Report(t.Context()).Checks[1]; later.Level != LevelOK {
			t.Errorf("afterwards it says %v", later.State)
		}
	})
}
