package forwardauth

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// showing returns a bench that knows a caller by its certificate alone, and a
// function that asks without any credential.
func showing(t *testing.T, may bool) (*bench, func(d nhi.Dialect, edit func(http.Header, string)) int) {
	t.Helper()
	b := newBench(nil)
	b.judge.Verifier = &enforcetest.Verifier{Known: map[string]nhi.Attested{"certificate settler": {Identity: robot, Method: "x509-svid"}}}
	b.c.Tells = func(*nhi.Point) bool { return may }
	return b, func(d nhi.Dialect, edit func(http.Header, string)) int {
		r := b.request(d)
		r.Header.Del("Authorization")
		edit(r.Header, "Bearer "+b.keys[d])
		return b.do(r).StatusCode
	}
}

func TestAPointTellsWhichCertificateItsCallerShowed(t *testing.T) {
	c := enforcetest.Certificate(t, "settler")
	escaped, plain := enforcetest.Escaped(c), base64.StdEncoding.EncodeToString(c.Raw)
	_, ask := showing(t, true)
	for d, told := range map[nhi.Dialect]string{nhi.DialectNginx: escaped, nhi.DialectCaddy: plain, nhi.DialectHAProxy: plain, nhi.DialectEnvoy: escaped} {
		if got := ask(d, func(h http.Header, key string) { h.Set("Muster-Point-Authorization", key+";cert="+told) }); got != http.StatusOK {
			t.Errorf("%s: %d", d, got)
		}
		if got := ask(d, func(h http.Header, key string) { h.Set("Muster-Point-Authorization", key+";cert=") }); got != http.StatusUnauthorized {
			t.Errorf("%s, a caller without a certificate: %d", d, got)
		}
	}
	if got := ask(nhi.DialectTraefik, func(h http.Header, _ string) { h.Set("X-Forwarded-Tls-Client-Cert", plain) }); got != http.StatusOK {
		t.Errorf("traefik: %d", got)
	}
}

// A header that a client can send must not name a certificate.
func TestAForgedCertificateHeaderFromOutsideIsNotRead(t *testing.T) {
	c, other := enforcetest.Certificate(t, "settler"), enforcetest.Certificate(t, "intruder")
	escaped, plain := enforcetest.Escaped(c), base64.StdEncoding.EncodeToString(c.Raw)
	_, ask := showing(t, true)
	for _, d := range []nhi.Dialect{nhi.DialectNginx, nhi.DialectCaddy, nhi.DialectHAProxy, nhi.DialectEnvoy} {
		for _, name := range []string{"X-Forwarded-Tls-Client-Cert", "X-Forwarded-Client-Cert", "Ssl-Client-Cert", "X-Ssl-Client-Cert", "X-Client-Cert", "Client-Cert", "Muster-Point-Certificate"} {
			for _, value := range []string{escaped, plain, ":" + plain + ":", `Cert="` + escaped + `"`, "cert=" + escaped} {
				if got := ask(d, func(h http.Header, _ string) { h.Set(name, value) }); got != http.StatusUnauthorized {
					t.Errorf("%s: %s from a client: %d", d, name, got)
				}
			}
		}
		for name, edit := range map[string]func(http.Header, string){
			"the point's header, a second time": func(h http.Header, key string) { h.Add("Muster-Point-Authorization", key+";cert="+escaped) },
			"the point's header without a key":  func(h http.Header, _ string) { h.Set("Muster-Point-Authorization", "Bearer x;cert="+escaped) },
			"another certificate of a caller's": func(h http.Header, key string) {
				h.Set("Muster-Point-Authorization", key+";cert="+enforcetest.Escaped(other))
				h.Set("X-Forwarded-Tls-Client-Cert", plain)
			},
		} {
			if got := ask(d, edit); got != http.StatusUnauthorized {
				t.Errorf("%s: %s: %d", d, name, got)
			}
		}
	}
	if got := ask(nhi.DialectTraefik, func(h http.Header, _ string) {
		h.Add("X-Forwarded-Tls-Client-Cert", plain)
		h.Add("X-Forwarded-Tls-Client-Cert", plain)
	}); got == http.StatusOK {
		t.Error("traefik: a certificate beside a client's own")
	}
	_, unlet := showing(t, false)
	for d, edit := range map[nhi.Dialect]func(http.Header, string){
		nhi.DialectNginx:   func(h http.Header, key string) { h.Set("Muster-Point-Authorization", key+";cert="+escaped) },
		nhi.DialectTraefik: func(h http.Header, _ string) { h.Set("X-Forwarded-Tls-Client-Cert", plain) },
	} {
		if got := unlet(d, edit); got != http.StatusUnauthorized {
			t.Errorf("%s: a point that is not let tells a certificate: %d", d, got)
		}
	}
}

func TestACertificateThatCannotBeReadIsNoRequest(t *testing.T) {
	b, _ := showing(t, true)
	r := b.request(nhi.DialectNginx)
	r.Header.Set("Muster-Point-Authorization", "Bearer "+b.keys[nhi.DialectNginx]+";cert=garbage")
	res := b.do(r)
	if got := b.reasons(t, res); res.StatusCode == http.StatusOK || len(got) == 0 || got[0] != "request-unreadable" {
		t.Errorf("%d %v", res.StatusCode, got)
	}
	if _, err := enforce.ParseCertificates("garbage"); err == nil {
		t.Error("garbage is a certificate")
	}
}

// An Envoy that asks over HTTP tells the certificate in a header that it writes
// itself, where the operator says that it does, and nowhere else.
func TestForwardedClientCertIsReadOfAPointThatWritesItAlone(t *testing.T) {
	c, other := enforcetest.Certificate(t, "settler"), enforcetest.Certificate(t, "intruder")
	told := `By=spiffe://prod.example/edge;Hash=00;Cert="` + enforcetest.Escaped(c) + `";Subject="CN=settler";URI=spiffe://prod.example/settler`
	set := func(values ...string) func(http.Header, string) {
		return func(h http.Header, _ string) { h["X-Forwarded-Client-Cert"] = values }
	}
	b, ask := showing(t, true)
	b.c.Forwards = func(p *nhi.Point) bool { return p.Dialect == nhi.DialectEnvoy || p.Dialect == nhi.DialectNginx }
	if got := ask(nhi.DialectEnvoy, set(told)); got != http.StatusOK {
		t.Errorf("envoy: %d", got)
	}
	for name, edit := range map[string]func(http.Header, string){
		"no certificate was shown":   func(http.Header, string) {},
		"a certificate of nobody's":  set(`Cert="` + enforcetest.Escaped(other) + `"`),
		"a name without certificate": set(`Hash=00;Subject="CN=settler";URI=spiffe://prod.example/settler`),
		"a client's own before it":   set(told + `,Hash=00;Cert="` + enforcetest.Escaped(other) + `"`),
		"a client's own behind it":   set(`Hash=00;Cert="` + enforcetest.Escaped(other) + `",` + told),
		"a client's own header":      set(told, `Cert="`+enforcetest.Escaped(other)+`"`),
		"the way of another point": func(h http.Header, key string) {
			h.Set("Muster-Point-Authorization", key+";cert="+enforcetest.Escaped(c))
		},
		"the header of another proxy": func(h http.Header, _ string) { h.Set("X-Forwarded-Tls-Client-Cert", enforcetest.Escaped(c)) },
	} {
		if got := ask(nhi.DialectEnvoy, edit); got == http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := ask(nhi.DialectNginx, set(told)); got != http.StatusUnauthorized {
		t.Errorf("a proxy of another make, which would hand a client's header on: %d", got)
	}
	b.c.Forwards = func(*nhi.Point) bool { return false }
	if got := ask(nhi.DialectEnvoy, set(told)); got != http.StatusUnauthorized {
		t.Errorf("a point that is not said to write it: %d", got)
	}
}
