package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/seal"
)

// issue writes a self-signed pair for host that is valid in the given time.
func issue(t *testing.T, dir, host string, from, until time.Time) FileSettings {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s := FileSettings{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Host: host}
	for path, block := range map[string]*pem.Block{s.Cert: {Type: "CERTIFICATE", Bytes: der}, s.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		// As a careful writer does it: a new file under the old name.
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func open(t *testing.T, s FileSettings) *Files {
	t.Helper()
	f, err := OpenFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func serial(t *testing.T, s Source) string {
	t.Helper()
	c, err := s.Certificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestTheStateOfACertificate(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := open(t, issue(t, t.TempDir(), "muster.example.com", start, start.Add(90*24*time.Hour)))
	for _, tt := range []struct {
		name string
		at   time.Duration
		want string
	}{
		{"fresh", time.Hour, "ok"},
		{"two weeks before the end", 77 * 24 * time.Hour, "degraded: the certificate expires on 2026-04-01"},
		{"expired", 91 * 24 * time.Hour, "failed: the certificate expired on 2026-04-01"},
		{"from the future", -time.Hour, "failed: the certificate is valid only from 2026-01-01"},
	} {
		if got := f.State(start.Add(tt.at)).String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	short := open(t, issue(t, t.TempDir(), "muster.example.com", start, start.Add(24*time.Hour)))
	if got := short.State(start.Add(time.Hour)); got.Level != health.LevelOK {
		t.Errorf("a certificate of a day, one hour old: %v", got)
	}
	other := issue(t, t.TempDir(), "other.example.com", start, start.Add(90*24*time.Hour))
	other.Host = "muster.example.com"
	if got := open(t, other).State(start.Add(time.Hour)).String(); !strings.Contains(got, "not for muster.example.com") {
		t.Errorf("another host's certificate: %q", got)
	}
}

func TestAPairThatCannotBeUsedNeverReplacesOneThatCan(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	set := issue(t, dir, "muster.example.com", now.Add(-time.Hour), now.Add(1000*time.Hour))
	f := open(t, set)
	before := serial(t, f)
	good, err := os.ReadFile(set.Cert)
	if err != nil {
		t.Fatal(err)
	}
	other := issue(t, t.TempDir(), "x", now.Add(-time.Hour), now.Add(1000*time.Hour))
	foreign, err := os.ReadFile(other.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"half written": good[:len(good)/2], "empty": nil, "another key's": foreign, "no certificate": []byte("hello"), "far too large": make([]byte, maxFile+1),
	} {
		if err := os.WriteFile(set.Cert, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Reload(); err == nil || !strings.Contains(err.Error(), "stays in use") {
			t.Errorf("%s: Reload = %v", name, err)
		}
		if got := serial(t, f); got != before {
			t.Errorf("%s: the certificate changed", name)
		}
		if s := f.State(now); s.Level != health.LevelDegraded || !strings.Contains(s.String(), set.Cert) {
			t.Errorf("%s: state %v, want degraded naming the file", name, s)
		}
	}
	issue(t, dir, "muster.example.com", now.Add(-48*time.Hour), now.Add(-24*time.Hour))
	if err := f.Reload(); err == nil || serial(t, f) != before {
		t.Errorf("an expired pair replaced one that is not: %v", err)
	}
	if err := os.Remove(set.Cert); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || !strings.Contains(f.State(now).String(), "are gone") {
		t.Errorf("missing files: %v, %v", err, f.State(now))
	}
	issue(t, dir, "muster.example.com", now.Add(-time.Minute), now.Add(1000*time.Hour))
	if err := f.Reload(); err != nil || serial(t, f) == before {
		t.Errorf("a good pair was not taken: %v", err)
	}
	if s := f.State(now); s.Level != health.LevelOK {
		t.Errorf("repaired: %v", s)
	}
	if f.Failures() != 7 {
		t.Errorf("%d failures counted, want 7", f.Failures())
	}
}

func TestChangedFilesAreNoticedWithoutASignal(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	set := issue(t, dir, "muster.example.com", now.Add(-time.Hour), now.Add(1000*time.Hour))
	synctest.Test(t, func(t *testing.T) {
		f := open(t, set)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		before := serial(t, f)
		time.Sleep(3*look + look/2) // of the bubble: no time passes outside
		if serial(t, f) != before {
			t.Error("the certificate changed by itself")
		}
		if err := os.WriteFile(set.Cert, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * look)
		synctest.Wait()
		if f.Failures() != 1 {
			t.Errorf("a broken file was tried %d times, want once", f.Failures())
		}
		issue(t, dir, "muster.example.com", now.Add(-2*time.Hour), now.Add(1000*time.Hour))
		time.Sleep(2 * look)
		synctest.Wait()
		if serial(t, f) == before || f.State(now).Level != health.LevelOK {
			t.Errorf("the new pair was not taken: %v", f.State(now))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAPrivateKeyThatEverybodyReadsIsTold(t *testing.T) {
	now := time.Now()
	set := issue(t, t.TempDir(), "muster.example.com", now.Add(-time.Hour), now.Add(1000*time.Hour))
	if err := os.Chmod(set.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	if s := open(t, set).State(now); s.Level != health.LevelDegraded || !strings.Contains(s.String(), set.Key) {
		t.Errorf("state %v, want degraded naming the key", s)
	}
}

func TestFilesThatAreNoPairAreRefusedAtTheStart(t *testing.T) {
	now := time.Now()
	set := issue(t, t.TempDir(), "x", now, now.Add(time.Hour))
	for name, s := range map[string]FileSettings{
		"swapped": {Cert: set.Key, Key: set.Cert}, "missing": {Cert: set.Cert, Key: set.Key + ".missing"}, "a folder": {Cert: t.TempDir(), Key: set.Key},
	} {
		if _, err := OpenFiles(s); err == nil || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v, want an error without the file's text", name, err)
		}
	}
}

func TestOldProtocolsAreRefused(t *testing.T) {
	now := time.Now()
	f := open(t, issue(t, t.TempDir(), "muster.example.com", now.Add(-time.Hour), now.Add(time.Hour)))
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		if err := handshake(t, f, &tls.Config{MinVersion: version, MaxVersion: version, InsecureSkipVerify: true}); (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
	weak := &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}
	if err := handshake(t, f, weak); err == nil {
		t.Error("a cipher without authenticated encryption or forward secrecy was accepted")
	}
}

func handshake(t *testing.T, s Source, client *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(io.Discard, tls.Server(c, Config(s)))
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return err
	}
	return c.Close()
}

func TestACMESettingsThatCannotWork(t *testing.T) {
	good := ACMESettings{Domains: []string{"muster.example.com"}, AcceptTerms: true}
	if _, err := NewACME(good, t.TempDir(), seal.New()); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*ACMESettings){
		"domains: want":   func(s *ACMESettings) { s.Domains = nil },
		`"*.example.com"`: func(s *ACMESettings) { s.Domains = []string{"*.example.com"} },
		`"localhost"`:     func(s *ACMESettings) { s.Domains = []string{"localhost"} },
		`"A.example.com"`: func(s *ACMESettings) { s.Domains = []string{"A.example.com"} },
		"accept_terms":    func(s *ACMESettings) { s.AcceptTerms = false },
		"https URL":       func(s *ACMESettings) { s.DirectoryURL = "http://ca.example.com/" },
		"http_listen":     func(s *ACMESettings) { s.HTTPListen = "80" },
		"no such file":    func(s *ACMESettings) { s.CAFile = "/missing" },
	} {
		s := good
		change(&s)
		if _, err := NewACME(s, t.TempDir(), seal.New()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestWhatACMEKeepsIsSealedAndBoundToItsName(t *testing.T) {
	dir := t.TempDir()
	c := cache{dir, seal.New()}
	secret := []byte("-----BEGIN EC PRIVATE KEY-----")
	if err := c.Put(t.Context(), "../../etc/passwd", secret); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the folder holds %v, %v: a name must not lead out of it", entries, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, entries[0].Name()))
	if err != nil || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("the key lies in clear (%v)", err)
	}
	if got, err := c.Get(t.Context(), "../../etc/passwd"); err != nil || string(got) != string(secret) {
		t.Errorf("Get = %q, %v", got, err)
	}
	if err := os.Rename(c.path("../../etc/passwd"), c.path("other")); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "other"); err == nil {
		t.Errorf("a file moved to another name opened as %q", got)
	}
	if err := c.Delete(t.Context(), "other"); err != nil {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), "other"); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
}
