package operate

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/cli/command"
)

func inFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHalvesAreReadFromFilesOrALineEach(t *testing.T) {
	first, _ := breakglass.Mint()
	second, _ := breakglass.Mint()
	for name, tt := range map[string]struct {
		b    breaking
		in   string
		good bool
	}{
		"files":                  {breaking{first: inFile(t, "a", first+"\n"), second: inFile(t, "b", " "+second)}, "", true},
		"a line each":            {breaking{}, first + "\n\n" + strings.ToLower(second) + "\n", true},
		"one line":               {breaking{}, first + "\n", false},
		"three lines":            {breaking{}, first + "\n" + second + "\n" + first + "\n", false},
		"nothing":                {breaking{}, "", false},
		"a slip":                 {breaking{}, first + "\n" + second[1:] + "\n", false},
		"a file that is missing": {breaking{first: "/nowhere", second: "/nowhere"}, "", false},
	} {
		b := tt.b
		b.reason, b.lasts = "r", time.Minute
		method, body, err := b.request(&command.App{Std: command.Std{In: strings.NewReader(tt.in)}})
		if (err == nil) != tt.good || tt.good && (method != http.MethodPost || !strings.Contains(string(body), first)) {
			t.Errorf("%s: %s, %v", name, method, err)
		}
		if err != nil && strings.Contains(err.Error(), first[:9]) {
			t.Errorf("%s: the error holds a half: %v", name, err)
		}
	}
	for _, lasts := range []time.Duration{0, -time.Minute, 90 * time.Second, 61 * time.Minute} {
		b := breaking{reason: "r", lasts: lasts}
		if _, _, err := b.request(&command.App{}); err == nil {
			t.Errorf("for %v: no error", lasts)
		}
	}
}

// Who names another machine, or has a name lead there, gets neither the key nor a
// half.
func TestHalvesAreSentToThisMachineOnly(t *testing.T) {
	for _, ops := range []string{"http://192.0.2.7:8711", "http://localhost:8711", "https://127.0.0.1:8711", "http://127.0.0.1.example.com", "http://", "%"} {
		b := breaking{ops: ops, keyFile: inFile(t, "key", "muster_pnt_x")}
		if _, err := b.ask(t.Context(), http.MethodDelete, nil); err == nil || !strings.Contains(err.Error(), "--ops") {
			t.Errorf("%s: %v", ops, err)
		}
	}
	elsewhere := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere = true }))
	defer other.Close()
	leads := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer leads.Close()
	b := breaking{ops: leads.URL, keyFile: inFile(t, "key", "muster_pnt_x\n")}
	if _, err := b.ask(t.Context(), http.MethodPost, []byte("{}")); err == nil || elsewhere {
		t.Errorf("a redirect is followed: %v, %v", elsewhere, err)
	}
}

func TestThePointsAnswerIsShownAsItIs(t *testing.T) {
	point := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			_, _ = w.Write([]byte(`{"open":true,"serial":"s","codes":1}`))
		case r.Header.Get("Authorization") != "Bearer muster_pnt_x":
			http.Error(w, "no", http.StatusUnauthorized)
		default:
			http.Error(w, "this code was used before", http.StatusConflict)
		}
	}))
	defer point.Close()
	b := breaking{ops: point.URL}
	if s, err := b.ask(t.Context(), http.MethodGet, nil); err != nil || !s.Open || s.Serial != "s" || s.Codes != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := b.ask(t.Context(), http.MethodPost, nil); err == nil || !strings.Contains(err.Error(), "--key-file") {
		t.Errorf("without a key: %v", err)
	}
	b.keyFile = inFile(t, "key", "muster_pnt_x\n")
	if _, err := b.ask(t.Context(), http.MethodPost, nil); err == nil || !strings.Contains(err.Error(), "used before") {
		t.Errorf("refused: %v", err)
	}
}

// TestWhoListsCodesLearnsWhereAHalfIsTaken has no code, one that lacks its second half,
// and one that is ready.
func TestWhoListsCodesLearnsWhereAHalfIsTaken(t *testing.T) {
	code := func(state string) client.GlassCode { return client.GlassCode{State: state, Point: "pt_1"} }
	for name, tt := range map[string]struct {
		codes []client.GlassCode
		want  string
	}{
		"none":             {nil, "two administrators"},
		"all are over":     {[]client.GlassCode{code("used"), code("expired"), code("withdrawn")}, "two administrators"},
		"half of one":      {[]client.GlassCode{code("half"), code("used")}, "a second administrator"},
		"one is ready":     {[]client.GlassCode{code("half"), code("ready")}, ""},
		"an old one lacks": {[]client.GlassCode{code("used"), code("half")}, "/points?point=pt_1"},
	} {
		got := prepares(tt.codes, "https://muster.example.com/")
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") || got != "" && !strings.Contains(got, "https://muster.example.com/points") {
			t.Errorf("%s: %q", name, got)
		}
	}
}
