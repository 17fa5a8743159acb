//go:build pebble

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/seal"
)

const name = "muster.example.com"

// authority runs pebble, the ACME server that Let's Encrypt tests clients with,
// and a name server that sends every name here. It returns settings that lead
// to it and the root of what it issues.
func authority(t *testing.T, tlsPort, httpPort int) (ACMESettings, *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	own := issue(t, dir, "localhost", now.Add(-time.Hour), now.Add(time.Hour))
	dns, directory, manage := port(t), port(t), port(t)
	config := fmt.Sprintf(`{"pebble":{"listenAddress":"127.0.0.1:%d","managementListenAddress":"127.0.0.1:%d","certificate":%q,"privateKey":%q,
"httpPort":%d,"tlsPort":%d,"profiles":{"default":{"description":"as usual","validityPeriod":7776000}}}}`, directory, manage, own.Cert, own.Key, httpPort, tlsPort)
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dns),
		"-management", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
	start(t, "pebble", "-config", file, "-dnsserver", fmt.Sprintf("127.0.0.1:%d", dns))
	client, err := client(own.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	eventually(t, "pebble answers", func() error {
		answer, err := client.Get(fmt.Sprintf("https://localhost:%d/roots/0", manage))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || !roots.AppendCertsFromPEM(text) {
			return errors.Join(err, fmt.Errorf("no root in %q", text))
		}
		return nil
	})
	return ACMESettings{Domains: []string{name}, Email: "ops@example.com", DirectoryURL: fmt.Sprintf("https://localhost:%d/dir", directory), CAFile: own.Cert, AcceptTerms: true}, roots
}

// start runs a program of the tools' own module until the test ends.
func start(t *testing.T, program string, args ...string) {
	t.Helper()
	path, err := exec.Command("go", "tool", "-modfile=../../tools/go.mod", "-n", program).Output()
	if err != nil {
		t.Fatalf("build %s: %v", program, err)
	}
	var out bytes.Buffer
	cmd := exec.Command(strings.TrimSpace(string(path)), args...)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, out.String())
		}
	})
}

func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	tick, deadline := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// serve speaks TLS by a source until the test ends.
func serve(t *testing.T, s Source, l net.Listener) {
	t.Helper()
	srv := &http.Server{TLSConfig: Config(s), Handler: http.NotFoundHandler()}
	go func() { _ = srv.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = srv.Close() })
}

func TestAnAuthorityIssuesOverTheMainListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	set, roots := authority(t, l.Addr().(*net.TCPAddr).Port, port(t))
	dir, keys := t.TempDir(), seal.New()
	a, err := NewACME(set, dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	if s := a.State(time.Now()); s.Level != health.LevelDegraded {
		t.Errorf("before: %v", s)
	}
	serve(t, a, l)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = a.Run(ctx) }()
	eventually(t, "a certificate is there", func() error {
		if s := a.State(time.Now()); s.Level != health.LevelOK {
			return errors.New(s.String())
		}
		return nil
	})
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: name, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	got := c.ConnectionState().PeerCertificates[0].SerialNumber
	_ = c.Close()
	if _, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "stranger.example.com", InsecureSkipVerify: true}); err == nil {
		t.Error("a name that is not ours got a certificate")
	}
	if s := a.State(time.Now()); s.Level != health.LevelOK {
		t.Errorf("a stranger's name made the state %v", s)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("kept: %v, %v", entries, err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if block, _ := pem.Decode(text); err != nil || block != nil || bytes.Contains(text, []byte("PRIVATE")) {
			t.Errorf("%s lies in clear (%v)", e.Name(), err)
		}
	}
	// The next start finds what was kept: another order would count.
	again, err := NewACME(set, dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := again.Certificate(&tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256}})
	if err != nil || kept.Leaf.SerialNumber.Cmp(got) != 0 {
		t.Errorf("after a restart: another certificate, or none: %v", err)
	}
}

func TestAnAuthorityIssuesOverHTTP(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// Nothing listens where it would look for TLS.
	set, _ := authority(t, port(t), plain.Addr().(*net.TCPAddr).Port)
	a, err := NewACME(set, t.TempDir(), seal.New())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: a.Challenges()}
	go func() { _ = srv.Serve(plain) }()
	t.Cleanup(func() { _ = srv.Close() })
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if s := a.State(time.Now()); s.Level != health.LevelOK || a.Expires().IsZero() {
		t.Errorf("state %v", s)
	}
}

func TestAnAuthorityThatIsNotThereIsAState(t *testing.T) {
	a, err := NewACME(ACMESettings{Domains: []string{name}, DirectoryURL: fmt.Sprintf("https://localhost:%d/dir", port(t)), AcceptTerms: true}, t.TempDir(), seal.New())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil {
		t.Fatal("a certificate from nowhere")
	}
	if s := a.State(time.Now()); s.Level != health.LevelFailed || !strings.Contains(s.String(), name) {
		t.Errorf("state %v, want failed naming the domain", s)
	}
}
