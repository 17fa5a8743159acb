package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/seal"
)

// refuse starts a server that must not start, and returns why it does not.
func refuse(t *testing.T, data string, edit ...func(*config.Config)) error {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.OpsListen, cfg.ExtAuthzListen, cfg.JournalReserve = "127.0.0.1:0", "127.0.0.1:0", config.Off, 1<<20
	for _, e := range edit {
		e(&cfg)
	}
	srv, err := New(t.Context(), Settings{Data: data, Config: cfg, Version: "test"})
	if err == nil {
		_ = srv.Close()
		t.Fatal("the server started")
	}
	return err
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (r *running) line(name string) health.State {
	r.t.Helper()
	for _, l := range r.health.Report(context.Background()).Checks {
		if l.Name == name {
			return l.State
		}
	}
	r.t.Fatalf("there is no check %q", name)
	return health.State{}
}

func TestASealedServerStartsWithItsPassphraseOnly(t *testing.T) {
	t.Parallel()
	data, secrets := t.TempDir(), t.TempDir()
	right := write(t, filepath.Join(secrets, "right"), "six random words are enough here\n")
	wrong := write(t, filepath.Join(secrets, "wrong"), "six other words are not the same\n")
	by := func(file string) func(*config.Config) {
		return func(c *config.Config) { c.Keys.Unlock.PassphraseFile = file }
	}
	r := start(t, data, by(right))
	if s := r.line("keys"); s.Level != health.LevelOK {
		t.Errorf("keys: %v", s)
	}
	r.halt()
	if err := refuse(t, data, by(wrong)); !errors.Is(err, seal.ErrUnwrap) || !strings.Contains(err.Error(), wrong) {
		t.Errorf("a wrong passphrase: %v, want one that names %s", err, wrong)
	}
	if err := refuse(t, data); !errors.Is(err, seal.ErrSealed) || !strings.Contains(err.Error(), "keys.unlock") {
		t.Errorf("no passphrase: %v, want what to set", err)
	}
	if err := refuse(t, data, by(filepath.Join(secrets, "missing"))); !strings.Contains(err.Error(), "missing") {
		t.Errorf("a missing file: %v", err)
	}
	start(t, data, by(right))
}

func TestAKeyFileInClearIsToldWhenItShouldBeSealed(t *testing.T) {
	data := t.TempDir()
	start(t, data).halt()
	phrase := write(t, filepath.Join(t.TempDir(), "p"), "six random words are enough here\n")
	r := start(t, data, func(c *config.Config) { c.Keys.Unlock.PassphraseFile = phrase })
	if s := r.line("keys"); s.Level != health.LevelDegraded || !strings.Contains(s.String(), "muster config keys seal") {
		t.Errorf("keys: %v, want degraded with the cure", s)
	}
	path := filepath.Join(data, KeyFile)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if s := r.line("keys"); s.Level != health.LevelFailed || !strings.Contains(s.String(), "will not start again") {
		t.Errorf("keys gone: %v", s)
	}
}

func TestASwappedOrLostKeyFileIsNotReplacedByANewOne(t *testing.T) {
	t.Parallel()
	mine, other := t.TempDir(), t.TempDir()
	start(t, mine).halt()
	start(t, other).halt()
	path := filepath.Join(mine, KeyFile)
	own, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(foreign))
	if err := refuse(t, mine); !strings.Contains(err.Error(), "does not belong to this database") || !strings.Contains(err.Error(), path) {
		t.Errorf("another installation's keys: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := refuse(t, mine); !strings.Contains(err.Error(), "is missing") {
		t.Errorf("no keys: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key file was made over a database that needs the old one")
	}
	write(t, path, string(own))
	start(t, mine)
}

// certificate writes a pair for 127.0.0.1 and returns the certificate's bytes.
func certificate(t *testing.T, dir string, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: until.Add(-1000 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return der
}

func TestTheCertificateIsReplacedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	first := certificate(t, dir, time.Now().Add(500*time.Hour))
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.TLS.Cert, c.TLS.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	})
	presented := func() []byte {
		t.Helper()
		c, err := tls.Dial("tcp", r.listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("protocol %q, want h2", got)
		}
		return c.ConnectionState().PeerCertificates[0].Raw
	}
	if !strings.HasPrefix(r.URL(), "https://") || string(presented()) != string(first) {
		t.Fatalf("%s does not present the certificate", r.URL())
	}
	if s := r.line("tls"); s.Level != health.LevelOK {
		t.Errorf("tls: %v", s)
	}
	second := certificate(t, dir, time.Now().Add(400*time.Hour))
	if err := r.ReloadCertificate(); err != nil || string(presented()) != string(second) {
		t.Errorf("a new certificate was not taken: %v", err)
	}
	write(t, filepath.Join(dir, "cert.pem"), "garbage")
	if err := r.ReloadCertificate(); err == nil || string(presented()) != string(second) {
		t.Errorf("a bad certificate replaced a good one: %v", err)
	}
	if s := r.line("tls"); s.Level != health.LevelDegraded {
		t.Errorf("tls with a bad file: %v", s)
	}
	if r.reloadFailures() != 1 || r.certificateExpires() == 0 {
		t.Errorf("metrics: %v failures, expires %v", r.reloadFailures(), r.certificateExpires())
	}
}

func TestAnExpiredCertificateIsAClearState(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, time.Now().Add(-time.Hour))
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.TLS.Cert, c.TLS.Key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	})
	if s := r.line("tls"); s.Level != health.LevelFailed || !strings.Contains(s.String(), "the certificate expired on ") || s.Cure == "" {
		t.Errorf("tls: %v", s)
	}
}
