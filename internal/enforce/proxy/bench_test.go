package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// spent is the CPU time of this process.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOverReverseProxy sends the same requests through the standard
// library's reverse proxy and through ours, in turns, and reports the CPU time
// that ours takes more: hygiene, the question, the watch, the headers. The
// decision itself is a stand-in.
func BenchmarkOverReverseProxy(b *testing.B) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "served") }))
	defer origin.Close()
	u, err := url.Parse(origin.URL)
	if err != nil {
		b.Fatal(err)
	}
	signer := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	for _, assert := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "asserting"}[assert]
		b.Run(name, func(b *testing.B) {
			bare := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u); p.SetXForwarded() }, BufferPool: &buffers, Transport: &http.Transport{MaxIdleConnsPerHost: 256}})
			defer bare.Close()
			h, err := New(Settings{Point: "edge", Listen: "127.0.0.1:0", Upstream: Upstream{URLs: []string{origin.URL}}}, Config{
				Judge: enforce.Judge{Routes: enforce.NewRoutes(enforcetest.Shop), Decider: forgetful{},
					Verifier: &enforcetest.Verifier{Known: map[string]nhi.Attested{"Bearer good": {Identity: enforcetest.Robot}}}},
				Point: func() (nhi.Point, bool) {
					return nhi.Point{Name: "edge", Dialect: nhi.DialectProxy, Assert: assert}, true
				},
				Standing: &standing{withdrawn: map[nhi.ID]bool{}, changed: make(chan struct{})},
				Asserter: &enforce.Asserter{Issuer: "https://muster.example", Signer: func() *jose.Signer { return signer }},
			})
			if err != nil {
				b.Fatal(err)
			}
			ours := httptest.NewServer(h)
			defer ours.Close()
			var cost [2]time.Duration
			const turn = 100
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
			send := func(n int, base string) {
				for range n {
					r, err := http.NewRequest("GET", base+"/payments/17", nil)
					if err != nil {
						b.Fatal(err)
					}
					r.Host = "shop.example"
					r.Header.Set("Authorization", "Bearer good")
					res, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if res.StatusCode != 200 {
						b.Fatal(res.Status)
					}
				}
			}
			send(turn, bare.URL)
			send(turn, ours.URL)
			sent := 0
			for sent < b.N {
				for i, base := range []string{bare.URL, ours.URL} {
					before := spent(b)
					send(turn, base)
					cost[i] += spent(b) - before
				}
				sent += turn
			}
			each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(sent) }
			b.ReportMetric(each(cost[0]), "bare-us/op")
			b.ReportMetric(each(cost[1]), "ours-us/op")
			b.ReportMetric(each(cost[1]-cost[0]), "over-us/op")
		})
	}
}

// forgetful allows everything and remembers nothing.
type forgetful struct{}

func (forgetful) Decide(context.Context, *nhi.Question) nhi.Decision {
	return nhi.Decision{ID: "0198c0de-0000-7000-8000-000000000000", Outcome: nhi.Allow}
}

// BenchmarkAssertion is what one assertion costs; the yardstick is the signature
// alone, in package jose.
func BenchmarkAssertion(b *testing.B) {
	signer := jose.NewES256Signer(jose.GenerateES256(), enforce.AssertionType)
	a := &enforce.Asserter{Issuer: "https://muster.example", Signer: func() *jose.Signer { return signer }}
	point := &nhi.Point{Name: "edge", Assert: true}
	o := &enforce.Original{Method: "GET", Host: "shop.example", Target: "/payments/17?a=b"}
	v := &enforce.Verdict{Decision: "0198c0de-0000-7000-8000-000000000000", Outcome: nhi.Allow, Identity: enforcetest.Robot}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Tell(point, o, v, enforce.Body{None: true}); err != nil {
			b.Fatal(err)
		}
	}
}
