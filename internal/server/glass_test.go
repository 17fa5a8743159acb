package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/agent"
	"github.com/muster-id/muster/internal/config"
)

// glassHalf has nils take a half of a code, and returns its serial.
func (r *running) glassHalf(point string) string {
	r.t.Helper()
	half, err := r.browsing("nils").TakeBreakGlass(r.t.Context(), point)
	if err != nil {
		r.t.Fatal(err)
	}
	return half.ID
}

// breakGlass asks a point to open by two halves.
func (e *outpost) breakGlass(method, key string, in agent.OpenGlass) (int, agent.GlassState) {
	e.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		e.t.Fatal(err)
	}
	req, err := http.NewRequest(method, e.OpsURL()+agent.GlassPath, bytes.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	var state agent.GlassState
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return res.StatusCode, state
}

func (r *running) glassCodes(point string) []client.GlassCode {
	r.t.Helper()
	all, err := r.api.GetBreakGlass(r.t.Context(), point)
	if err != nil {
		r.t.Fatal(err)
	}
	return all.Codes
}

// TestTwoPeopleOpenAPointWhoseServerIsGone is the whole of it: two people take a
// half each, the server goes, they open the point, and it tells when the server is
// back.
func TestTwoPeopleOpenAPointWhoseServerIsGone(t *testing.T) {
	data, folder := t.TempDir(), t.TempDir()
	r := start(t, data)
	point, key := r.outfit()
	dead, door := r.another(key), r.source("chat", "text")
	r.suspend(door, dead)
	mara, nils := r.browsing("mara"), r.browsing("nils")
	first, err := mara.TakeBreakGlass(t.Context(), "edge")
	if err != nil || first.Code.State != "half" {
		t.Fatalf("%+v, %v", first.Code, err)
	}
	if _, err := mara.TakeBreakGlass(t.Context(), "edge"); status(err) != http.StatusConflict {
		t.Errorf("one person takes both halves: %v", err)
	}
	second, err := nils.TakeBreakGlass(t.Context(), "edge")
	if err != nil || second.Code.State != "ready" || second.ID != first.ID || len(second.Code.Holders) != 2 {
		t.Fatalf("%+v, %v", second.Code, err)
	}
	address := strings.TrimPrefix(r.URL(), "http://")
	e := pointAt(t, r.URL(), "edge", point, folder)
	e.leased(point, key.Key)
	eventually(t, "the code at the point", func() bool { _, s := e.breakGlass(http.MethodGet, "", agent.OpenGlass{}); return s.Codes == 1 })
	r.halt()
	e.finally("without a lease, what is sensitive", point, key.Key, "/secrets/1", http.StatusForbidden, "lease-none")

	in := agent.OpenGlass{First: second.Half, Second: strings.ToLower(first.Half), Minutes: 60, Reason: "the rack burns"}
	if got, _ := e.breakGlass(http.MethodPost, point, in); got != http.StatusOK {
		t.Fatalf("open: %d", got)
	}
	e.must("what is sensitive, at an open point", point, key.Key, "/secrets/1", http.StatusOK, "")
	e.must("what is suspended, at an open point", point, dead.Key, "/secrets/1", http.StatusForbidden, "credential")
	e.must("a key that nobody has, at an open point", point, key.Key[:len(key.Key)-7]+"000000", "/secrets/1", http.StatusUnauthorized, "")
	e.must("no route, at an open point", point, key.Key, "/elsewhere", http.StatusForbidden, "route-none")
	if text := e.report(); !strings.Contains(text, "OPEN by break-glass code "+first.ID) {
		t.Errorf("an open point says\n%s", text)
	}
	if got, _ := e.breakGlass(http.MethodPost, point, in); got != http.StatusConflict {
		t.Errorf("a code used twice: %d", got)
	}
	if got, s := e.breakGlass(http.MethodDelete, point, agent.OpenGlass{}); got != http.StatusOK || s.Open || s.Untold != 1 {
		t.Errorf("close: %d, %+v", got, s)
	}
	e.must("what is sensitive, at a point that was closed", point, key.Key, "/secrets/1", http.StatusForbidden, "lease-none")
	e.halt()
	e = pointAt(t, "http://"+address, "edge", point, folder)
	if got, _ := e.breakGlass(http.MethodPost, point, in); got != http.StatusConflict {
		t.Errorf("a code used again after a restart: %d", got)
	}

	r = start(t, data, func(c *config.Config) { c.Listen = address })
	r.heard(first.ID)
}

// heard waits until a server knows all of what a code did.
func (r *running) heard(serial string) {
	r.t.Helper()
	eventually(r.t, "the report of the point", func() bool {
		c := r.glassCodes("edge")[0]
		return c.State == "used" && c.Ended != nil
	})
	if c := r.glassCodes("edge")[0]; c.Serial != serial || c.Reason != "the rack burns" || c.Allowed != 1 || len(c.Holders) != 2 {
		r.t.Errorf("the server knows %+v", c)
	}
	var page client.Page[client.Decision]
	eventually(r.t, "what the code let pass", func() bool {
		r.get("/v1/decisions?filter=glass:"+serial, &page)
		return len(page.Items) > 0
	})
	if d := page.Items[0]; len(page.Items) != 1 || d.Outcome != "allow" || d.Glass != serial || !d.Reported || d.Resource != "secrets/api" || len(d.Reasons) == 0 {
		r.t.Errorf("%d decisions, the first %+v", len(page.Items), d)
	}
	eventually(r.t, "a finding", func() bool { // the code is noted first
		return slices.ContainsFunc(r.findings("status=open"), func(f client.Finding) bool {
			return f.Rule == "break-glass" && f.Severity == "high" && strings.Contains(f.Sentence, serial)
		})
	})
	eventually(r.t, "the audit", func() bool {
		acts := r.acts()
		return acts["break-glass.take"] == 2 && acts["break-glass.open"] == 1 && acts["break-glass.close"] == 1
	})
}

// A thief with a token of the server asks for halves, under several names.
func TestNoTokenTakesAHalf(t *testing.T) {
	r := start(t, t.TempDir())
	r.furnish()
	var robot client.NewToken
	r.send(http.MethodPost, "/v1/tokens", client.CreateToken{Name: "robot", Roles: []client.Role{{Role: "admin"}}}, &robot)
	for name, api := range map[string]*client.Client{"the first administrator": r.api, "an administrator's token": r.as(robot.Key)} {
		if _, err := api.TakeBreakGlass(t.Context(), "edge"); status(err) != http.StatusForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
	if codes := r.glassCodes("edge"); len(codes) != 0 {
		t.Errorf("there are %+v", codes)
	}
}

func TestAWithdrawnCodeOpensNoPointThatIsReached(t *testing.T) {
	r := start(t, t.TempDir())
	point, _ := r.outfit()
	first, err := r.browsing("mara").TakeBreakGlass(t.Context(), "edge")
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.browsing("nils").TakeBreakGlass(t.Context(), "edge")
	if err != nil {
		t.Fatal(err)
	}
	e := pointAt(t, r.URL(), "edge", point, t.TempDir())
	eventually(t, "the code at the point", func() bool { _, s := e.breakGlass(http.MethodGet, "", agent.OpenGlass{}); return s.Codes == 1 })
	if c, err := r.api.WithdrawBreakGlass(t.Context(), "edge", first.ID); err != nil || c.State != "withdrawn" {
		t.Fatalf("%+v, %v", c, err)
	}
	eventually(t, "the point to hear of it", func() bool { _, s := e.breakGlass(http.MethodGet, "", agent.OpenGlass{}); return s.Codes == 0 })
	if got, _ := e.breakGlass(http.MethodPost, point, agent.OpenGlass{First: first.Half, Second: second.Half, Minutes: 5, Reason: "r"}); got != http.StatusForbidden {
		t.Errorf("a withdrawn code: %d", got)
	}
	if c := r.acts(); c["break-glass.withdraw"] != 1 {
		t.Errorf("the audit log has %v", c)
	}
}
