package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/nhi"
)

// glazed is a point that knows one code, and the halves of that.
func glazed(t *testing.T, data string) (*Agent, OpenGlass) {
	t.Helper()
	h := newHub(t, 1)
	a, first := breakglass.Mint()
	b, second := breakglass.Mint()
	h.point.Glass = []nhi.GlassCode{{Serial: "code-1", First: first[:], Second: second[:], Expires: time.Now().Add(time.Hour)}}
	if err := h.facts.Load(10, facts.State{Points: []nhi.Point{h.point}}); err != nil {
		t.Fatal(err)
	}
	p := open(t, h.URL, "branch", data)
	tell(t, p)
	return p, OpenGlass{First: a, Second: b, Minutes: 30, Reason: "the rack burns"}
}

// asked sends a request as from an address of this machine.
func asked(a *Agent, method, from, key string, body any) (int, string) {
	text, ok := body.(string)
	if !ok {
		encoded, _ := json.Marshal(body)
		text = string(encoded)
	}
	req := httptest.NewRequest(method, GlassPath, strings.NewReader(text))
	req.RemoteAddr = from
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	rec := httptest.NewRecorder()
	a.operations().ServeHTTP(rec, req)
	got, _ := io.ReadAll(rec.Body)
	return rec.Code, string(got)
}

const here = "127.0.0.1:4000"

func TestOnlyWhoHasThePointsKeyOnItsMachineOpensIt(t *testing.T) {
	a, in := glazed(t, t.TempDir())
	for name, c := range map[string]struct {
		from, key string
		want      int
	}{
		"another machine":           {"192.0.2.7:4000", pointKey.Reveal(), http.StatusForbidden},
		"another program, no key":   {here, "", http.StatusUnauthorized},
		"another program, some key": {here, pointKey.Reveal() + "x", http.StatusUnauthorized},
	} {
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			if got, _ := asked(a, method, c.from, c.key, in); got != c.want {
				t.Errorf("%s, %s: %d, want %d", name, method, got, c.want)
			}
		}
	}
	if a.glassState(time.Now()).Open {
		t.Error("it is open")
	}
	if got, text := asked(a, http.MethodPost, "[::1]:4000", pointKey.Reveal(), in); got != http.StatusOK || !strings.Contains(text, `"open":true`) {
		t.Errorf("the right one: %d %s", got, text)
	}
}

func TestWhatDoesNotOpenAPoint(t *testing.T) {
	a, in := glazed(t, t.TempDir())
	other, _ := breakglass.Mint()
	edit := func(change func(*OpenGlass)) OpenGlass {
		out := in
		change(&out)
		return out
	}
	for _, c := range []struct {
		name string
		body any
		want int
	}{
		{"one half twice", edit(func(o *OpenGlass) { o.Second = o.First }), http.StatusForbidden},
		{"a half of another point", edit(func(o *OpenGlass) { o.Second = other }), http.StatusForbidden},
		{"a slip", edit(func(o *OpenGlass) { o.First = o.First[1:] }), http.StatusBadRequest},
		{"over an hour", edit(func(o *OpenGlass) { o.Minutes = 61 }), http.StatusBadRequest},
		{"no time at all", edit(func(o *OpenGlass) { o.Minutes = 0 }), http.StatusBadRequest},
		{"no reason", edit(func(o *OpenGlass) { o.Reason = " " }), http.StatusBadRequest},
		{"a reason of two lines", edit(func(o *OpenGlass) { o.Reason = "a\nb" }), http.StatusBadRequest},
		{"no JSON", "first=a", http.StatusBadRequest},
		{"a field that nobody knows", `{"half":"` + in.First + `"}`, http.StatusBadRequest},
		{"more than a request holds", strings.Repeat(" ", maxOpening) + "{}", http.StatusBadRequest},
	} {
		got, text := asked(a, http.MethodPost, here, pointKey.Reveal(), c.body)
		if got != c.want || strings.Contains(text, in.First[:9]) {
			t.Errorf("%s: %d %s, want %d and no half", c.name, got, text, c.want)
		}
	}
	// Two of these were wrong tries; guessing ends after five.
	for range 3 {
		asked(a, http.MethodPost, here, pointKey.Reveal(), edit(func(o *OpenGlass) { o.First = other }))
	}
	if got, _ := asked(a, http.MethodPost, here, pointKey.Reveal(), in); got != http.StatusTooManyRequests {
		t.Errorf("after five wrong tries: %d", got)
	}
	if a.glassState(time.Now()).Open {
		t.Error("it is open")
	}
}

func TestAnOpenPointSaysSoEverywhere(t *testing.T) {
	a, in := glazed(t, t.TempDir())
	if s := a.glassHealth(time.Now()); s.Why != "" {
		t.Errorf("before: %+v", s)
	}
	if got, text := asked(a, http.MethodPost, here, pointKey.Reveal(), in); got != http.StatusOK {
		t.Fatal(got, text)
	}
	a.glass.count(&nhi.Decision{Outcome: nhi.Allow, Glass: "code-1"})
	a.glass.count(&nhi.Decision{Outcome: nhi.Allow})
	if a.glass.code("", time.Now()) != "code-1" || !strings.Contains(a.glassHealth(time.Now()).Why, "OPEN by break-glass code code-1") {
		t.Errorf("open by %q; health %+v", a.glass.code("", time.Now()), a.glassHealth(time.Now()))
	}
	rec := httptest.NewRecorder()
	a.operations().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{"muster_point_break_glass_open 1\n", "muster_point_break_glass_allowed 1\n", "muster_point_break_glass_codes 0\n"} {
		if !bytes.Contains(rec.Body.Bytes(), []byte(line)) {
			t.Errorf("the metrics lack %q:\n%s", line, rec.Body)
		}
	}
	if got, text := asked(a, http.MethodGet, here, "", ""); got != http.StatusOK || !strings.Contains(text, "the rack burns") {
		t.Errorf("state: %d %s", got, text)
	}
	if got, text := asked(a, http.MethodDelete, here, pointKey.Reveal(), ""); got != http.StatusOK || !strings.Contains(text, `"open":false`) {
		t.Errorf("close: %d %s", got, text)
	}
	if a.glass.code("", time.Now()) != "" {
		t.Error("open after it was closed")
	}
}

// A file that says which codes were used, and cannot be read, may hold this one.
func TestADamagedFileOfUsedCodesOpensNothingAndStopsNothing(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "break-glass.json"), []byte(`{"version":1,"used":[{"ser`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, in := glazed(t, data)
	if got, _ := asked(a, http.MethodPost, here, pointKey.Reveal(), in); got != http.StatusServiceUnavailable {
		t.Errorf("open: %d", got)
	}
	if got, _ := asked(a, http.MethodDelete, here, pointKey.Reveal(), ""); got != http.StatusServiceUnavailable {
		t.Errorf("close: %d", got)
	}
	if a.glass.code("", time.Now()) != "" || !strings.Contains(a.glassHealth(time.Now()).Why, "no break-glass code opens this point") {
		t.Errorf("health %+v", a.glassHealth(time.Now()))
	}
}

// TestAnOpeningThatTheServerRefusesHidesNoOther has the clock of a point tell nonsense
// when it is opened first: people must hear of the second opening nevertheless.
func TestAnOpeningThatTheServerRefusesHidesNoOther(t *testing.T) {
	var told []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var o breakglass.Opening
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			t.Error(err)
		}
		if told = append(told, o.Serial); o.Serial == "first" {
			http.Error(w, "that is not how a point says that it was opened", http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	data := t.TempDir()
	over := time.Now().UTC()
	used, err := json.Marshal(map[string]any{"version": 1, "used": []breakglass.Opening{
		{Serial: "first", Reason: "r", Opened: over.Add(-time.Hour), For: time.Minute, Closed: over},
		{Serial: "second", Reason: "r", Opened: over.Add(-time.Hour), For: time.Minute, Closed: over},
	}})
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "break-glass.json"), used, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, server.URL, "branch", data)
	a.tellGlass(t.Context())
	left := a.glass.box.Untold()
	if strings.Join(told, " ") != "first second" || len(left) != 1 || left[0].Serial != "first" {
		t.Errorf("told of %v, still to be told %+v", told, left)
	}
}
