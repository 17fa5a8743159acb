package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEveryMistakeIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "muster.yaml")
	in := "gards: {}\nguards:\n  risk_denny: 3\n  risk_deny: 101\n"
	if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	problems, err := Problems(path, []string{"MUSTER_LISTNE=x"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ where, what string }{
		{path + ":1:1", `did you mean "guards"?`},
		{path + ":3:3", `did you mean "risk_deny"?`},
		{"environment", "did you mean MUSTER_LISTEN?"},
	} {
		if !holds(problems, want.where, want.what) {
			t.Errorf("no problem at %s with %q in %+v", want.where, want.what, problems)
		}
	}
}

func holds(problems []Problem, where, what string) bool {
	for _, p := range problems {
		if p.Where() == where && strings.Contains(p.What, what) {
			return true
		}
	}
	return false
}

func TestAValueThatDoesNotFitHasItsPlace(t *testing.T) {
	for _, tt := range []struct{ name, in, where, what string }{
		{"out of range", "\nguards:\n  risk_deny: 101\n", ":3:3", "risk_deny is 101, want 0 to 100"},
		{"wrong type", "guards:\n  risk_deny: high\n", ":2:14", ""},
		{"in a list", "notify:\n  - {name: ops, url: 'http://x.example/h', secret_file: s}\n", ":2:6", "plain HTTP"},
		{"missing file", "tls:\n  cert: no.pem\n  key: no.key\n", ":2:3", "there is no file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "muster.yaml")
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			problems, err := Problems(path, nil, time.Now())
			if err != nil || !holds(problems, path+tt.where, tt.what) {
				t.Errorf("got %+v, %v; want %s with %q", problems, err, tt.where, tt.what)
			}
		})
	}
}

func TestAGoodFileHasNoProblems(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	writeCertificate(t, dir, now.Add(-time.Hour), now.Add(90*24*time.Hour))
	path := filepath.Join(dir, "muster.yaml")
	if err := os.WriteFile(path, []byte("tls: {cert: c.pem, key: k.pem}\nlisten: 0.0.0.0:443\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if problems, err := Problems(path, nil, now); err != nil || len(problems) > 0 {
		t.Errorf("got %+v, %v", problems, err)
	}
}

func TestCertificatesThatWillNotDo(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name        string
		from, until time.Time
		want        string
	}{
		{"good", now.Add(-time.Hour), now.Add(90 * 24 * time.Hour), ""},
		{"expired", now.Add(-48 * time.Hour), now.Add(-time.Hour), "expired on"},
		{"soon", now.Add(-time.Hour), now.Add(time.Hour), "expires on"},
		{"not yet", now.Add(time.Hour), now.Add(48 * time.Hour), "not valid before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			writeCertificate(t, dir, tt.from, tt.until)
			got := CertificateProblem(filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"), now)
			if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	a, b := t.TempDir(), t.TempDir()
	writeCertificate(t, a, now, now.Add(time.Hour))
	writeCertificate(t, b, now, now.Add(time.Hour))
	if got := CertificateProblem(filepath.Join(a, "c.pem"), filepath.Join(b, "k.pem"), now); !strings.Contains(got, "cannot be used") {
		t.Errorf("a key of another certificate: %q", got)
	}
}

func TestASecretFileThatOthersReadIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte("whsec_"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "muster.yaml")
	if err := os.WriteFile(path, []byte("notify: [{name: ops, url: 'https://x.example/h', secret_file: s}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	problems, err := Problems(path, nil, time.Now())
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].What, "mode 0644") || problems[0].Key != "notify[0].secret_file" {
		t.Errorf("got %+v, %v", problems, err)
	}
}

func writeCertificate(t *testing.T, dir string, from, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"c.pem": {Type: "CERTIFICATE", Bytes: der}, "k.pem": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
