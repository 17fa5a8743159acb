package proxy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/token"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/enforce/forwardauth"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// below is the part of each guide that these tests put up.
const below = "## Callers with certificates"

// An authority signs certificates, as a trust domain's does.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	made := a.sign(t, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.URIs = true, x509.KeyUsageCertSign, nil, []*url.URL{{Scheme: "spiffe", Host: "prod.example"}}
		c.Subject.CommonName = "prod.example"
	})
	return &authority{made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)}
}

func (a *authority) sign(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	edit(c)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// workload is an X.509-SVID.
func (a *authority) workload(t *testing.T, path string) tls.Certificate {
	return a.sign(t, func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "prod.example", Path: path}} })
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// A front is how a proxy ends TLS: by its own certificate, and with the lines of
// its guide by which it asks clients for theirs.
type front struct {
	domain         *authority
	cert, key, all string // files: certificate, its key, both
	ca             string // file of the authority
}

func newFront(t *testing.T) *front {
	t.Helper()
	f, dir := &front{domain: newAuthority(t)}, t.TempDir()
	own := f.domain.sign(t, func(c *x509.Certificate) { c.DNSNames = []string{"payments.example"} })
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Leaf.Raw}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.cert, f.key, f.all, f.ca = write(t, dir, "tls.crt", cert), write(t, dir, "tls.key", key), write(t, dir, "tls.pem", cert+key), write(t, dir, "ca.pem", f.domain.pem())
	return f
}

func (f *front) nginx(t *testing.T, s site, guide string) string {
	t.Helper()
	write(t, s.dir, "edge.key", s.key+"\n")
	shell := exec.Command("sh", "-c", fenceBelow(t, "nginx.md", "`muster-point.conf` so:", ""))
	shell.Dir = s.dir
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("the guide's command: %v: %s", err, out)
	}
	return fill(t, guide, "443 ssl;", s.address+" ssl;", "    # ssl_certificate ...\n",
		fmt.Sprintf("    ssl_certificate %s;\n    ssl_certificate_key %s;\n%s", f.cert, f.key, fenceBelow(t, "nginx.md", below, "nginx")))
}

func (f *front) caddy(t *testing.T, port, guide string) string {
	t.Helper()
	const plain = "\t\t\theader_up Muster-Point-Authorization \"Bearer {$MUSTER_POINT_KEY}\"\n"
	asks := fill(t, fenceBelow(t, "caddy.md", below, "caddyfile"), "tls {", "tls "+f.cert+" "+f.key+" {")
	return fill(t, guide, "payments.example {\n", "https://payments.example:"+port+" {\n\tbind 127.0.0.1\n"+asks, plain, fenceBelow(t, "caddy.md", "`header_up` of `forward_auth` is", "caddyfile"))
}

func (f *front) haproxy(t *testing.T, s site, action, guide string) (string, string) {
	t.Helper()
	binds := fill(t, fenceBelow(t, "haproxy.md", below, "haproxy"), ":443", s.address, "/etc/haproxy/payments.pem", f.all, "/etc/haproxy/prod.example.pem", f.ca)
	action = fill(t, action, "  ask[\"muster-point-authorization\"] = {key}\n", fenceBelow(t, "haproxy.md", below, "lua"))
	return action, fill(t, guide, "    bind :443 ssl crt /etc/haproxy/payments.pem\n", binds)
}

// client is how a client speaks TLS to the proxy that shows these certificates,
// and no other whatever the proxy asks for.
func (f *front) client(shown ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(f.domain.cert)
	return &tls.Config{RootCAs: roots, ServerName: "payments.example", MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(shown) == 0 {
			return &tls.Certificate{}, nil
		}
		return &shown[0], nil
	}}
}

// sendTLS is send over TLS. A handshake that the proxy breaks off is status 0. It
// says whether the session was one of before.
func sendTLS(t *testing.T, address string, config *tls.Config, request string) (got answer, resumed bool) {
	t.Helper()
	raw, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, config)
	got = sendOn(conn, request)
	return got, conn.ConnectionState().DidResume
}

// forgeries are all the headers by which proxies of some make tell a certificate,
// as a client would write them that is not asked.
func forgeries(victim *x509.Certificate) []string {
	escaped, plain := enforcetest.Escaped(victim), base64.StdEncoding.EncodeToString(victim.Raw)
	var out []string
	for _, name := range []string{
		"X-Forwarded-Tls-Client-Cert", "X-Forwarded-Client-Cert", "Ssl-Client-Cert", "X-Ssl-Client-Cert", "X-Client-Cert", "Client-Cert", "X-Ssl-Client-Escaped-Cert",
		"Muster-Point-Authorization", "muster_point_authorization",
	} {
		for _, value := range []string{escaped, plain, ":" + plain + ":", `Cert="` + escaped + `"`, "Bearer x;cert=" + escaped, "Bearer x;cert=" + plain, ";cert=" + plain} {
			out = append(out, name+": "+value)
		}
	}
	return out
}

// TestACallersCertificateComesThroughRealProxies has workloads show X.509-SVIDs to
// each proxy, and thieves show what they have.
func TestACallersCertificateComesThroughRealProxies(t *testing.T) {
	f := newFront(t)
	m := newMuster(t, fmt.Sprintf("svid: {trust_domains: [{name: prod.example, bundle: %q, attests: true}], points: [edge-nginx, edge-caddy, edge-haproxy]}\n", f.ca))
	m.put(t, "trust.yaml", fmt.Sprintf("- {name: settler, spiffe_id: \"spiffe://prod.example/settler\", identity: %s}\n", m.identity))
	settler, stranger := f.domain.workload(t, "/settler"), f.domain.workload(t, "/other")
	foreign := newAuthority(t).workload(t, "/settler")
	expired := f.domain.sign(t, func(c *x509.Certificate) {
		c.URIs, c.NotAfter = []*url.URL{{Scheme: "spiffe", Host: "prod.example", Path: "/settler"}}, time.Now().Add(-time.Minute)
	})
	a := newApp(t)
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			s := p.put(t, site{muster: m.address, app: a.address, key: m.point(t, p.name), tls: f})
			asks := func(config *tls.Config, headers ...string) answer {
				t.Helper()
				got, _ := sendTLS(t, s.address, config, request("GET /payments/17", headers...))
				return got
			}
			known := func(what string, got answer) {
				t.Helper()
				seen := a.take()
				if got.status != http.StatusOK || len(seen) != 1 || !slices.Equal(seen[0].Header["Muster-Identity"], []string{m.identity}) {
					t.Errorf("%s: %d %.200q, %d requests reached the application", what, got.status, got.body, len(seen))
					return
				}
				for name, values := range seen[0].Header {
					if strings.Contains(strings.Join(values, " "), s.key) {
						t.Errorf("%s: the application is shown the point's key in %s", what, name)
					}
				}
			}
			refused := func(what string, got answer) {
				t.Helper()
				if seen := a.take(); len(seen) != 0 || got.status == http.StatusOK {
					t.Errorf("%s: %d, %d requests reached the application", what, got.status, len(seen))
				}
			}
			known("an SVID", asks(f.client(settler)))
			if got := asks(f.client()); got.status != http.StatusUnauthorized || len(a.take()) != 0 {
				t.Errorf("no certificate: %d", got.status)
			}
			if got := asks(f.client(stranger)); got.status != http.StatusUnauthorized || len(a.take()) != 0 {
				t.Errorf("the SVID of a workload that no rule names: %d", got.status)
			}
			refused("the same SPIFFE ID by an authority that nobody trusts", asks(f.client(foreign)))
			refused("an SVID whose time is over", asks(f.client(expired)))
			for _, forged := range forgeries(settler.Leaf) {
				refused("without a certificate, but with "+forged[:40], asks(f.client(), forged))
				refused("with another's certificate, and with "+forged[:40], asks(f.client(stranger), forged))
			}
			known("an SVID beside a forged header", asks(f.client(settler), forgeries(stranger.Leaf)[0]))
			known("a key without a certificate", asks(f.client(), "Authorization: Bearer "+m.key))
			known("a key beside another's certificate: Authorization goes first", asks(f.client(stranger), "Authorization: Bearer "+m.key))
			resumes(t, s, a, f.client(settler), known)
		})
	}
}

// resumes asks twice in one session of TLS: the second handshake shows no
// certificate, and is by whoever showed it in the first.
func resumes(t *testing.T, s site, a *app, config *tls.Config, known func(string, answer)) {
	t.Helper()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	first, _ := sendTLS(t, s.address, config, request("GET /payments/17"))
	known("the first of a session", first)
	again, resumed := sendTLS(t, s.address, config, request("GET /payments/17"))
	if !resumed { // nothing obliges a proxy to
		t.Logf("the session was not resumed")
	}
	known("the second of a session", again)
	a.take()
}

// TestATokenBoundToACertificateNeedsItsConnectionBehindRealProxies has a token of
// Muster that is bound to a certificate (RFC 8705, section 3) come through each
// proxy: from the connection that shows it, and from a thief's.
func TestATokenBoundToACertificateNeedsItsConnectionBehindRealProxies(t *testing.T) {
	f, a := newFront(t), newApp(t)
	mine, other := f.domain.workload(t, "/settler"), f.domain.workload(t, "/other")
	signer := jose.NewES256Signer(jose.GenerateES256(), token.Type)
	keys, err := jose.NewKeySet(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	const issuer = "https://muster.example"
	sum, now := sha256.Sum256(mine.Leaf.Raw), time.Now()
	bound, err := signer.Sign(map[string]any{
		"iss": issuer, "sub": "spiffe://muster.example/nhi/" + string(enforcetest.Robot), "aud": issuer, "iat": now.Unix(), "nbf": now.Add(-30 * time.Second).Unix(),
		"exp": now.Add(10 * time.Minute).Unix(), "jti": "jti-1", "cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])},
		"nhi": map[string]any{"id": string(enforcetest.Robot), "method": "oidc", "rule": "r"},
	})
	if err != nil {
		t.Fatal(err)
	}
	points, enrolled := enforcetest.Points{}, map[string]string{}
	for _, p := range proxies {
		enrolled[p.name] = points.Enroll(nhi.Dialect(p.name), nil)
	}
	decider := &enforcetest.Decider{Answer: nhi.Decision{ID: "dec-1", Outcome: nhi.Allow}}
	muster := httptest.NewServer(forwardauth.New(forwardauth.Config{
		Points: enforce.NewPoints(points), Decider: decider, Tells: func(*nhi.Point) bool { return true },
		Routes:   enforce.NewRoutes(enforcetest.Routes{{Host: "payments.example", Path: "/payments/{id}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "payments/api"}}),
		Verifier: attest.New(attest.Deps{Keys: keys, Issuer: issuer}, token.Method),
	}))
	t.Cleanup(muster.Close)
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			s := p.put(t, site{muster: strings.TrimPrefix(muster.URL, "http://"), app: a.address, key: enrolled[p.name], tls: f})
			for _, tt := range []struct {
				name, header string
				shown        []tls.Certificate
				passes       bool
			}{
				{"on its connection", "Authorization: Bearer " + bound, []tls.Certificate{mine}, true},
				{"stolen, on a connection without a certificate", "Authorization: Bearer " + bound, nil, false},
				{"stolen, on a connection with another", "Authorization: Bearer " + bound, []tls.Certificate{other}, false},
				{"as if it were bound by DPoP", "Authorization: DPoP " + bound, []tls.Certificate{mine}, false},
			} {
				got, _ := sendTLS(t, s.address, f.client(tt.shown...), request("GET /payments/17", tt.header))
				seen := a.take()
				if passed := got.status == http.StatusOK && len(seen) == 1; passed != tt.passes || !passed && (got.status != http.StatusUnauthorized || len(seen) != 0) {
					t.Errorf("%s: %d %.200q, %d requests reached the application", tt.name, got.status, got.body, len(seen))
				}
				if tt.passes && len(seen) == 1 && (seen[0].Header.Get("Muster-Identity") != string(enforcetest.Robot) || seen[0].Header.Get("Authorization") != "") {
					t.Errorf("%s: the application is told %v", tt.name, seen[0].Header)
				}
			}
		})
	}
}
