package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/enforce/proxy"
	"github.com/muster-id/muster/internal/nhi"
)

// A spire is a trust domain: its authority, and the file of its bundle.
type spire struct {
	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	bundle string
}

func newSpire(t *testing.T) *spire {
	t.Helper()
	s := &spire{t: t, bundle: filepath.Join(t.TempDir(), "bundle.pem")}
	s.found()
	return s
}

// found makes a new authority, and writes the bundle.
func (s *spire) found() {
	s.t.Helper()
	s.cert, s.key = nil, nil
	s.cert, s.key = s.sign(func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "prod.example"}}
	})
	if err := os.WriteFile(s.bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw}), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *spire) sign(edit func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	edit(c)
	parent, signer := s.cert, s.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return made, key
}

// workload returns an SVID as a client shows it.
func (s *spire) workload(path string) tls.Certificate {
	cert, key := s.sign(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "prod.example", Path: path}} })
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// serve writes a certificate of 127.0.0.1 and its key.
func (s *spire) serve() (certFile, keyFile string) {
	cert, key := s.sign(func(c *x509.Certificate) { c.DNSNames = []string{"api.example.com"} })
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert.Raw}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func escaped(c *x509.Certificate) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
}

// shows asks at a forward-auth as nginx does that saw a certificate.
func shows(t *testing.T, at, point string, leaf *x509.Certificate) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, at+"/enforce/forward-auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Original-Method": "GET", "X-Original-URI": "/payments/1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example.com", "X-Forwarded-For": "203.0.113.7",
		"Muster-Point-Authorization": "Bearer " + point + ";cert=" + escaped(leaf),
	} {
		req.Header.Set(name, value)
	}
	status, _ := do(t, req)
	return status
}

// forwards asks at a forward-auth as Envoy does that saw a certificate.
func forwards(t *testing.T, at, point string, leaf *x509.Certificate) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, at+"/enforce/forward-auth/payments/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "api.example.com"
	for name, value := range map[string]string{
		"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "Muster-Point-Authorization": "Bearer " + point,
		"X-Forwarded-Client-Cert": `Hash=00;Cert="` + escaped(leaf) + `";Subject="CN=test"`,
	} {
		req.Header.Set(name, value)
	}
	status, _ := do(t, req)
	return status
}

// envoyShows asks as Envoy does that saw a certificate.
func (r *running) envoyShows(point string, leaf *x509.Certificate) int {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.ExtAuthz(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	response, err := auth.NewAuthorizationClient(conn).Check(metadata.AppendToOutgoingContext(ctx, "muster-point-authorization", "Bearer "+point), &auth.CheckRequest{
		Attributes: &auth.AttributeContext{
			Source: &auth.AttributeContext_Peer{
				Certificate: escaped(leaf),
				Address:     &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "203.0.113.7"}}},
			},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: "GET", Scheme: "https", Host: "api.example.com", Path: "/payments/1"}},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if response.GetOkResponse() != nil {
		return http.StatusOK
	}
	return int(response.GetDeniedResponse().GetStatus().GetCode())
}

// shown is how a client connects that shows a certificate.
func (s *spire) shown(shown tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.cert)
	return &tls.Config{RootCAs: roots, ServerName: "api.example.com", Certificates: []tls.Certificate{shown}}
}

// dial asks through the server's own proxy over TLS, showing a certificate.
func (r *running) dial(s *spire, shown tls.Certificate) int {
	r.t.Helper()
	transport := &http.Transport{TLSClientConfig: s.shown(shown), DisableKeepAlives: true}
	req, err := http.NewRequest(http.MethodGet, "https://"+r.Proxies()["gate"]+"/payments/1", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = "api.example.com"
	res, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestX509SVIDsAreAcceptedAtEveryPointUntilTheirRuleIsGone(t *testing.T) {
	domain := newSpire(t)
	front := *domain // its certificate stays when the domain gets another authority
	cert, key := domain.serve()
	upstream, _ := application(t)
	settings := svid.Settings{TrustDomains: []svid.Domain{{Name: "prod.example", Bundle: domain.bundle, Attests: true}}, Points: []string{"edge", "mesh"}, ForwardedClientCert: []string{"http-mesh"}}
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.ExtAuthzListen, c.SVID = "127.0.0.1:0", settings
		c.Proxies = []proxy.Settings{{
			Point: "gate", Listen: "127.0.0.1:0", Upstream: proxy.Upstream{URLs: []string{upstream}},
			TLS: proxy.TLS{Cert: cert, Key: key, ClientSVID: true},
		}}
	})
	point, apiKey := r.outfit()
	enforce := "enforce"
	var mesh, gate, other, overHTTP client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "http-mesh", Dialect: "envoy"}, &overHTTP)
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "mesh", Dialect: "envoy"}, &mesh)
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "gate", Dialect: "proxy"}, &gate)
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "other", Dialect: "nginx"}, &other)
	for _, name := range []string{"mesh", "gate", "other", "http-mesh"} {
		r.send(http.MethodPatch, "/v1/points/"+name, client.SetPoint{Mode: &enforce}, nil)
	}
	rule := fmt.Sprintf("- {name: settler, spiffe_id: \"spiffe://prod.example/ns/pay/sa/settler\", identity: %s}\n", apiKey.Identity)
	settler, stranger := domain.workload("/ns/pay/sa/settler"), domain.workload("/ns/pay/sa/other")
	e := pointAt(t, r.URL(), "edge", point, t.TempDir())
	e.leased(point, apiKey.Key)
	asks := map[string]func(tls.Certificate) int{
		"forward-auth": func(c tls.Certificate) int { return shows(t, r.URL(), point, c.Leaf) },
		"ext_authz":    func(c tls.Certificate) int { return r.envoyShows(mesh.Key, c.Leaf) },
		"forwarded":    func(c tls.Certificate) int { return forwards(t, r.URL(), overHTTP.Key, c.Leaf) },
		"proxy":        func(c tls.Certificate) int { return r.dial(&front, c) },
		"away":         func(c tls.Certificate) int { return shows(t, e.URL(), point, c.Leaf) },
	}
	everywhere := func(what string, c tls.Certificate, want int) {
		t.Helper()
		for name, ask := range asks {
			if got := ask(c); got != want {
				t.Errorf("%s at %s: %d, want %d", what, name, got, want)
			}
		}
	}
	everywhere("before a rule names it", settler, http.StatusUnauthorized)
	r.put("trust.yaml", rule)
	for name, ask := range asks {
		eventually(t, "the rule at "+name, func() bool { return ask(settler) == http.StatusOK })
	}
	everywhere("another workload", stranger, http.StatusUnauthorized)
	if got := shows(t, r.URL(), other.Key, settler.Leaf); got != http.StatusUnauthorized {
		t.Errorf("a point that the settings do not name tells a certificate: %d", got)
	}
	if got := r.ask(point, "", "GET", "/payments/1", "203.0.113.7", "Ssl-Client-Cert", escaped(settler.Leaf), "X-Forwarded-Client-Cert", "Cert=\""+escaped(settler.Leaf)+"\""); got != http.StatusUnauthorized {
		t.Errorf("a forged certificate header from outside: %d", got)
	}
	r.recorded("x509-svid", nhi.AssuranceAttested, true)

	streams := func() *websocket {
		conn, err := tls.Dial("tcp", r.Proxies()["gate"], front.shown(settler))
		if err != nil {
			t.Fatal(err)
		}
		return r.upgraded(conn, "")
	}
	t.Run("a rule that is gone bites at once", func(t *testing.T) {
		running := streams()
		r.put("trust.yaml", rule+"# and a word\n")
		r.put("trust.yaml", rule+"# and another\n") // what the first did, it has done when this is in force
		running.echoes()
		r.put("trust.yaml", "")
		running.ends("its rule was acknowledged to be gone")
		everywhere("after its rule was acknowledged to be gone", settler, http.StatusUnauthorized)
		r.put("trust.yaml", rule)
		for name, ask := range asks {
			eventually(t, "the rule again at "+name, func() bool { return ask(settler) == http.StatusOK })
		}
	})
	t.Run("a trust domain with another authority", func(t *testing.T) {
		running := streams()
		domain.found()
		if err := r.documents.SVIDs.Reload(); err != nil { // as its Run does by and by
			t.Fatal(err)
		}
		running.ends("its authority was replaced")
		r.edge.Settle(t.Context())
		everywhere("after its authority was replaced", settler, http.StatusUnauthorized)
		settler = domain.workload("/ns/pay/sa/settler")
		for name, ask := range asks {
			eventually(t, "the new authority at "+name, func() bool { return ask(settler) == http.StatusOK })
		}
	})
	t.Run("what was issued before a revocation", func(t *testing.T) {
		r.cutOffNow(nhi.ID(apiKey.Identity))
		everywhere("after the revocation was acknowledged", settler, http.StatusForbidden)
	})
}
