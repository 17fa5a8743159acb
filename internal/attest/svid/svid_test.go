package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/attesttest"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	here  = "prod.example"
	there = "other.example"
	who   = "spiffe://prod.example/ns/pay/sa/settler"
)

var settler = nhi.IdentityID("muster", "test", "settler")

// An authority signs certificates, as a trust domain's does.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func generate(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func uri(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var serial int64

// sign makes a certificate; by nil it signs itself.
func sign(t testing.TB, by *authority, edit func(*x509.Certificate)) *authority {
	t.Helper()
	serial++
	now, key := time.Now(), generate(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Minute).Truncate(time.Second), NotAfter: now.Add(time.Hour).Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if edit != nil {
		edit(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{made, key}
}

func ca(t testing.TB, by *authority, domain string) *authority {
	return sign(t, by, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.URIs = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil, []*url.URL{uri(t, "spiffe://"+domain)}
		c.Subject.CommonName = domain
		c.NotAfter = time.Now().AddDate(1, 0, 0)
	})
}

func (a *authority) svid(t testing.TB, id string, edit func(*x509.Certificate)) *x509.Certificate {
	return sign(t, a, func(c *x509.Certificate) {
		c.URIs = []*url.URL{uri(t, id)}
		if edit != nil {
			edit(c)
		}
	}).cert
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) file(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.pem")
	write(t, path, a.pem())
	return path
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func bound() []Binding {
	return []Binding{{ID: who, Identity: settler, Location: nhi.Location{Cluster: "c1"}}}
}

// trusting trusts two domains, and knows one workload in the first.
func trusting(t testing.TB, first, second *authority) *Trust {
	t.Helper()
	tr, err := New(Settings{TrustDomains: []Domain{{Name: here, Bundle: first.file(t), Attests: true}, {Name: there, Bundle: second.file(t)}}, Points: []string{"edge"}}, bound())
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestAnX509SVIDIsWhomItsRuleNames(t *testing.T) {
	root, other := ca(t, nil, here), ca(t, nil, there)
	leaf := root.svid(t, who, nil)
	tr := trusting(t, root, other)
	want := nhi.Attested{
		Identity: settler, Method: "x509-svid", Assurance: nhi.AssuranceAttested, SenderBound: true, IssuedAt: leaf.NotBefore, Expires: leaf.NotAfter,
		Attestation: &nhi.Attestation{Method: "x509-svid", At: leaf.NotBefore, Level: nhi.EvidencePlatform, Selectors: []string{"spiffe_id:" + who}, Location: nhi.Location{Cluster: "c1"}},
	}
	v := attest.New(attest.Deps{Issuer: "https://muster.example", Credentials: attesttest.Credentials{}, Certificates: tr}, Method)
	for range 2 { // once verified, once remembered
		got, err := v.Verify(t.Context(), nhi.Evidence{Certificate: leaf, At: time.Now()})
		if err != nil || got.KeyID == "" || got.Thumbprint != got.KeyID {
			t.Fatal(got, err)
		}
		got.KeyID, got.Thumbprint = "", ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := v.Verify(t.Context(), nhi.Evidence{Certificate: leaf, Authorization: "Bearer nothing", At: time.Now()}); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("a credential that proves nothing is made good by a certificate: %v", err)
	}
	between := ca(t, root, here)
	far := between.svid(t, who, nil)
	if _, err := tr.VerifyCertificate(far, nil, time.Now()); !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("without what lies between: %v", err)
	}
	if got, err := tr.VerifyCertificate(far, []*x509.Certificate{between.cert}, time.Now()); err != nil || got.Identity != settler {
		t.Errorf("with what lies between: %v", err)
	}
	plain, err := New(Settings{TrustDomains: []Domain{{Name: here, Bundle: root.file(t)}}}, bound())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := plain.VerifyCertificate(leaf, nil, time.Now()); err != nil || got.Assurance != nhi.AssuranceBound || got.Attestation != nil {
		t.Errorf("a domain that attests nothing: %+v, %v", got, err)
	}
}

func TestForgedAndForeignCertificatesAreRefused(t *testing.T) {
	root, other, unknown := ca(t, nil, here), ca(t, nil, there), ca(t, nil, here)
	tr := trusting(t, root, other)
	leafCA := sign(t, root, func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, who)} }) // no CA, and signs all the same
	for name, tt := range map[string]struct {
		leaf    *x509.Certificate
		between []*x509.Certificate
	}{
		"SVID of another trust domain, signed by our bundle": {leaf: root.svid(t, "spiffe://other.example/ns/pay/sa/settler", nil)},
		"SVID of ours, signed by another trusted domain":     {leaf: other.svid(t, who, nil)},
		"SVID of ours, by an authority nobody trusts":        {leaf: unknown.svid(t, who, nil)},
		"that, with its authority shown along":               {leaf: unknown.svid(t, who, nil), between: []*x509.Certificate{unknown.cert}},
		"a domain nobody trusts":                             {leaf: root.svid(t, "spiffe://third.example/x", nil)},
		"two URI SANs":                                       {leaf: root.svid(t, who, func(c *x509.Certificate) { c.URIs = append(c.URIs, uri(t, "spiffe://prod.example/admin")) })},
		"two URI SANs, one of the web":                       {leaf: root.svid(t, who, func(c *x509.Certificate) { c.URIs = append(c.URIs, uri(t, "https://prod.example/")) })},
		"no URI SAN":                                         {leaf: root.svid(t, who, func(c *x509.Certificate) { c.URIs = nil })},
		"a name of DNS in place of a URI":                    {leaf: root.svid(t, who, func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"settler.prod.example"} })},
		"a URI of the web":                                   {leaf: root.svid(t, "https://prod.example/ns/pay/sa/settler", nil)},
		"a workload nobody knows":                            {leaf: root.svid(t, "spiffe://prod.example/ns/pay/sa/other", nil)},
		"a longer path":                                      {leaf: root.svid(t, who+"/x", nil)},
		"a path with dots":                                   {leaf: root.svid(t, "spiffe://prod.example/ns/pay/sa/x/../settler", nil)},
		"the same in capitals":                               {leaf: root.svid(t, "spiffe://prod.example/ns/PAY/sa/settler", nil)},
		"a query":                                            {leaf: root.svid(t, who+"?x=1", nil)},
		"no path":                                            {leaf: root.svid(t, "spiffe://prod.example", nil)},
		"a user":                                             {leaf: root.svid(t, "spiffe://a@prod.example/ns/pay/sa/settler", nil)},
		"a CA as leaf":                                       {leaf: root.svid(t, who, func(c *x509.Certificate) { c.IsCA = true })},
		"a CA as leaf that may sign certificates":            {leaf: root.svid(t, who, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign })},
		"a leaf that may sign certificates":                  {leaf: root.svid(t, who, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })},
		"a leaf that may sign revocations":                   {leaf: root.svid(t, who, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign })},
		"a leaf that may not sign":                           {leaf: root.svid(t, who, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })},
		"the authority itself":                               {leaf: root.cert},
		"a leaf that signed a leaf":                          {leaf: leafCA.svid(t, who, nil), between: []*x509.Certificate{leafCA.cert}},
		"a certificate for servers only":                     {leaf: root.svid(t, who, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		"a certificate for something else": {leaf: root.svid(t, who, func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3, 4}}
		})},
		"expired": {leaf: root.svid(t, who, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Second)
		})},
		"not yet":                         {leaf: root.svid(t, who, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour / 2) })},
		"a year long":                     {leaf: root.svid(t, who, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(1, 0, 0) })},
		"more between than anybody needs": {leaf: root.svid(t, who, nil), between: make([]*x509.Certificate, maxBetween+1)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tr.VerifyCertificate(tt.leaf, tt.between, time.Now())
			if !errors.Is(err, nhi.ErrDenied) || got.Identity != "" {
				t.Errorf("it is %q, %v", got.Identity, err)
			}
		})
	}
}

func TestWhatACertificateProvedIsForgottenAtOnce(t *testing.T) {
	for name, undo := range map[string]func(t *testing.T, tr *Trust, path string) error{
		"its binding is gone": func(_ *testing.T, tr *Trust, _ string) error { return tr.Bind(nil) },
		"its binding names another": func(_ *testing.T, tr *Trust, _ string) error {
			return tr.Bind([]Binding{{ID: who, Identity: "nhi_v6w2kopezgzwfpmsgulnrizwq4"}})
		},
		"its domain is not trusted": func(_ *testing.T, tr *Trust, _ string) error { return tr.Configure(Settings{}) },
		"its domain has another root": func(t *testing.T, tr *Trust, path string) error {
			write(t, path, ca(t, nil, here).pem())
			return tr.Reload()
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := ca(t, nil, here)
			path, leaf := root.file(t), root.svid(t, who, nil)
			tr, err := New(Settings{TrustDomains: []Domain{{Name: here, Bundle: path}}}, bound())
			if err != nil {
				t.Fatal(err)
			}
			before := tr.Set()
			for range 2 {
				if got, err := tr.VerifyCertificate(leaf, nil, time.Now()); err != nil || got.Identity != settler {
					t.Fatal(err)
				}
			}
			if err := tr.Reload(); err != nil || tr.Set() != before {
				t.Errorf("nothing changed, and all is forgotten (%v)", err)
			}
			if err := undo(t, tr, path); err != nil {
				t.Fatal(err)
			}
			if got, err := tr.VerifyCertificate(leaf, nil, time.Now()); err == nil && got.Identity == settler {
				t.Error("the certificate still proves who it was")
			}
		})
	}
}

func TestARememberedCertificateEndsWithItsChain(t *testing.T) {
	root := ca(t, nil, here)
	between := sign(t, root, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.Subject.CommonName = true, x509.KeyUsageCertSign, nil, "between"
		c.NotAfter = time.Now().Add(10 * time.Minute)
	})
	leaf, now := between.svid(t, who, nil), time.Now()
	tr := trusting(t, root, ca(t, nil, there))
	chain := []*x509.Certificate{between.cert}
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {5 * time.Minute, true}, {11 * time.Minute, false}, {2 * time.Hour, false}} {
		if _, err := tr.VerifyCertificate(leaf, chain, now.Add(tt.after)); (err == nil) != tt.want {
			t.Errorf("after %v: %v", tt.after, err)
		}
	}
}

func TestBundlesAreReadStrictlyAndABadOneChangesNothing(t *testing.T) {
	root := ca(t, nil, here)
	leaf := root.svid(t, who, nil)
	path := root.file(t)
	tr, err := New(Settings{TrustDomains: []Domain{{Name: here, Bundle: path}}}, bound())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := json.Marshal(map[string]any{"keys": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "garbage": []byte("x"), "a leaf": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
		"an authority of another domain": ca(t, nil, there).pem(), "JSON of something else": []byte(`{"a":1}`), "a bundle without an authority": foreign,
		"a key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "too long": make([]byte, MaxBundle+1),
	} {
		if _, err := ParseBundle(here, bad); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		write(t, path, bad)
		if err := tr.Reload(); err == nil {
			t.Errorf("%s is taken up", name)
		}
		if got, err := tr.VerifyCertificate(leaf, nil, time.Now()); err != nil || got.Identity != settler {
			t.Errorf("%s: what was good is gone: %v", name, err)
		}
	}
	if s := tr.State(context.Background()); s.Level != health.LevelDegraded || s.Cure == "" {
		t.Errorf("its health is %+v", s)
	}
	if _, err := New(Settings{TrustDomains: []Domain{{Name: here, Bundle: path + ".gone"}}}, nil); err == nil {
		t.Error("a server starts without the bundle it is told to use")
	}
	key, err := jose.NewKey(root.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.NewKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	doc.Keys[0]["use"], doc.Keys[0]["x5c"] = "x509-svid", [][]byte{root.cert.Raw}
	delete(doc.Keys[0], "kid")
	delete(doc.Keys[0], "alg")
	if text, err = json.Marshal(map[string]any{"keys": doc.Keys, "spiffe_sequence": 1, "spiffe_refresh_hint": 300}); err != nil {
		t.Fatal(err)
	}
	if got, err := ParseBundle(here, text); err != nil || len(got) != 1 || !got[0].Equal(root.cert) {
		t.Errorf("a SPIFFE bundle: %v, %v", got, err)
	}
}

func TestASetIsCarriedAsText(t *testing.T) {
	root := ca(t, nil, here)
	tr, leaf := trusting(t, root, ca(t, nil, there)), root.svid(t, who, nil)
	away, err := ParseSet(tr.Set().Text())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := tr.VerifyCertificate(leaf, nil, time.Now())
	got, err := away.VerifyCertificate(leaf, nil, time.Now())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if !away.Tells(&nhi.Point{Name: "edge"}) || away.Tells(&nhi.Point{Name: "other"}) || away.Tells(&nhi.Point{}) {
		t.Error("another point may tell certificates than the settings say")
	}
	none, err := ParseSet(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.VerifyCertificate(leaf, nil, time.Now()); !errors.Is(err, attest.ErrOther) {
		t.Errorf("the empty one: %v", err)
	}
	for _, bad := range []string{`{`, `{"domains":[{"name":"A","authorities":[]}]}`, `{"domains":[{"name":"a.example"},{"name":"a.example"}]}`, `{"bindings":[{"id":"spiffe://a.example"}]}`,
		`{"domains":[{"name":"a.example","authorities":["AAAA"]}]}`,
		`{"bindings":[{"id":"spiffe://a.example/x","identity":"nhi_v6w2kopezgzwfpmsgulnrizwq4"},{"id":"spiffe://a.example/x","identity":"nhi_sbtgegos6btx2pla36v66sng7e"}]}`} {
		if _, err := ParseSet([]byte(bad)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("ParseSet(%s) = %v", bad, err)
		}
	}
}

func TestUnsoundSettingsAreRefused(t *testing.T) {
	for why, s := range map[string]Settings{
		"no name":       {TrustDomains: []Domain{{Name: "Prod", Bundle: "x"}}},
		"no bundle":     {TrustDomains: []Domain{{Name: here}}},
		"stands twice":  {TrustDomains: []Domain{{Name: here, Bundle: "x"}, {Name: here, Bundle: "y"}}},
		"more than":     {TrustDomains: make([]Domain, maxDomains+1)},
		"name is empty": {Points: []string{""}},
	} {
		if err := s.Check(); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte(`{"keys":[{"use":"x509-svid","kty":"EC","x5c":["AAAA"]}],"spiffe_sequence":1}`))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ParseBundle(here, text)
		if (err == nil) != (len(got) > 0) || err != nil && !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%d authorities, %v", len(got), err)
		}
	})
}

func BenchmarkSVID(b *testing.B) {
	root := ca(b, nil, here)
	tr, leaf, now := trusting(b, root, ca(b, nil, there)), root.svid(b, who, nil), time.Now()
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tr.VerifyCertificate(leaf, nil, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verified", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := tr.Set().prove([32]byte{}, leaf, nil, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}
