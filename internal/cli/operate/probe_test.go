package operate

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client/guard"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

func TestAProbeTellsWhetherAnApplicationAnswersWithoutItsPoint(t *testing.T) {
	keys := httptest.NewServer(http.NotFoundHandler())
	defer keys.Close()
	g, err := guard.New(guard.Settings{Server: keys.URL, Point: "gate"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []http.Header
	served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Clone())
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	signer := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	set, err := jose.NewKeySet(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	asserter := &enforce.Asserter{Issuer: keys.URL, Signer: func() *jose.Signer { return signer }}
	over, err := asserter.Over(&nhi.Point{Name: "gate"}, &enforce.Original{Method: "GET", Host: "shop.example", Target: "/payments/1?a=b"})
	if err != nil {
		t.Fatal(err)
	}
	// It checks who signed, and for which point and host. It does not look at a clock.
	timeless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := jose.Verify(r.Header.Get("Muster-Decision"), set, jose.Options{
			Algs: []string{jose.ES256}, Types: []string{enforce.AssertionType}, Issuer: keys.URL, Audience: "gate", Leeway: 24 * time.Hour,
		})
		if host, _ := got.Text("host"); err != nil || host != r.Host {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	believer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Muster-Decision") == "" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	for name, tt := range map[string]struct {
		application http.Handler
		want        string
	}{
		"one that checks":                         {g.Handler(served), probeProtected},
		"one that does not":                       {served, probeOpen},
		"one that checks all but the time":        {timeless, probeOpen},
		"one that believes in any assertion":      {believer, probeOpen},
		"one that has nothing there, but answers": {http.NotFoundHandler(), probeOpen},
	} {
		srv := httptest.NewServer(tt.application)
		p, err := newProber("gate", srv.URL, "/payments/1?a=b", "shop.example", "")
		if err != nil {
			t.Fatal(err)
		}
		p.over = over
		trials, err := p.probe(t.Context())
		if err != nil || verdict(trials) != tt.want || len(trials) != 15 {
			t.Errorf("%s: %q, %v: %+v", name, verdict(trials), err, trials)
		}
		p.http.CloseIdleConnections()
		srv.Close()
	}
	for _, h := range seen {
		if h.Get("Authorization") != "" || h.Get("Cookie") != "" || h.Get("Referer") != "" {
			t.Errorf("a probe carries %v", h)
		}
	}
	if len(seen) != 15 {
		t.Errorf("%d requests, want 15: a redirect is not followed", len(seen))
	}
}

func TestAProbeSaysWhenItDoesNotTrustTheApplication(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	p, err := newProber("gate", srv.URL, "/", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if trials, err := p.probe(t.Context()); err == nil || !strings.Contains(err.Error(), "--ca") {
		t.Errorf("%v: %+v", err, trials)
	}
}

func TestAProbeOfNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	p, err := newProber("gate", "http://"+l.Addr().String(), "/", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if trials, err := p.probe(t.Context()); err != nil || verdict(trials) != probeUnreachable || len(trials) != 1 {
		t.Errorf("%v: %+v", err, trials)
	}
	for _, bad := range [][2]string{{"", "/"}, {"ftp://a", "/"}, {"http://u:p@a", "/"}, {"http://a/b", "/"}, {"http://a?b", "/"}, {"http://a", "b"}, {"http://a", "//b/c"}, {"http://a", ""}} {
		if _, err := newProber("gate", bad[0], bad[1], "", ""); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
