package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/muster-id/muster/internal/health"
)

// ACMESettings say who issues for which names.
type ACMESettings struct {
	// Domains are the names to get a certificate for.
	Domains []string `yaml:"domains" example:"[muster.example.com]"`
	// Email is whom the authority tells of trouble.
	Email string `yaml:"email" example:"ops@example.com"`
	// DirectoryURL is the authority. Empty: Let's Encrypt.
	DirectoryURL string `yaml:"directory_url" unit:"URL" example:"https://ca.internal.example.com/acme/acme/directory"`
	// CAFile holds the roots, in PEM, by which the authority's own server is
	// known. Empty: the system's.
	CAFile string `yaml:"ca_file" unit:"file" example:"/etc/muster/ca.pem"`
	// AcceptTerms says that somebody read the authority's terms.
	AcceptTerms bool `yaml:"accept_terms"`
	// HTTPListen answers challenges over HTTP and sends all else to HTTPS.
	// Empty: challenges are answered on the main listener alone (TLS-ALPN-01),
	// which the authority must reach on port 443.
	HTTPListen string `yaml:"http_listen" unit:"host:port" example:":80"`
}

// Check finds mistakes that show without asking anybody.
func (s ACMESettings) Check() error {
	if len(s.Domains) == 0 || len(s.Domains) > 100 {
		return errors.New("tls.acme: domains: want 1 to 100 names such as muster.example.com")
	}
	for _, d := range s.Domains {
		if !domain.MatchString(d) || len(d) > 253 {
			return fmt.Errorf("tls.acme: domains: %.80q: want a name such as muster.example.com, in lower case, without a port or *", d)
		}
	}
	if !s.AcceptTerms {
		return errors.New("tls.acme: read the authority's terms, then set accept_terms: true")
	}
	if s.DirectoryURL != "" {
		u, err := url.Parse(s.DirectoryURL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("tls.acme: directory_url %.80q: want an https URL", s.DirectoryURL)
		}
	}
	if s.HTTPListen != "" {
		if _, _, err := net.SplitHostPort(s.HTTPListen); err != nil {
			return fmt.Errorf("tls.acme: http_listen %.80q: want host:port, such as :80", s.HTTPListen)
		}
	}
	return nil
}

var domain = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// A Sealer encrypts for a purpose, as package seal does.
type Sealer interface {
	Seal(purpose string, plaintext []byte) []byte
	Unseal(purpose string, box []byte) ([]byte, error)
}

// ACME is a certificate that an authority issues and renews. It implements
// Source.
type ACME struct {
	set     ACMESettings
	manager *autocert.Manager

	mu     sync.Mutex // guards what follows
	leaves map[string]*x509.Certificate
	failed error
}

// NewACME returns a source that keeps account and certificates in dir, sealed.
// It asks nobody before Run or the first connection.
func NewACME(s ACMESettings, dir string, keys Sealer) (*ACME, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("tls.acme: %w", err)
	}
	client, err := client(s.CAFile)
	if err != nil {
		return nil, err
	}
	a := &ACME{set: s, leaves: map[string]*x509.Certificate{}}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: cache{dir, keys}, HostPolicy: autocert.HostWhitelist(s.Domains...), Email: s.Email,
		Client: &acme.Client{DirectoryURL: s.DirectoryURL, HTTPClient: client, UserAgent: "muster"},
	}
	return a, nil
}

func client(caFile string) (*http.Client, error) {
	c := &http.Client{Timeout: time.Minute}
	if caFile == "" {
		return c, nil
	}
	text, _, err := readFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("tls.acme: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("tls.acme: %s holds no certificate in PEM", caFile)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	c.Transport = t
	return c, nil
}

// Certificate implements Source.
func (a *ACME) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := a.manager.GetCertificate(hello)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil && a.ours(hello.ServerName):
		a.failed = err
	case err == nil && c.Leaf != nil && len(hello.SupportedProtos) != 1: // a challenge is no certificate
		a.leaves[hello.ServerName], a.failed = c.Leaf, nil
	}
	return c, err
}

// ours: what strangers ask for by other names is no failure of the authority.
func (a *ACME) ours(name string) bool {
	for _, d := range a.set.Domains {
		if d == name {
			return true
		}
	}
	return false
}

// Protocols implements Source: the authority's challenge (RFC 8737).
func (*ACME) Protocols() []string { return []string{acme.ALPNProto} }

// Challenges answers challenges over HTTP and sends everything else to HTTPS.
func (a *ACME) Challenges() http.Handler {
	inner := a.manager.HTTPHandler(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The manager compares the host with the domains, which have no port.
		if host, _, err := net.SplitHostPort(r.Host); err == nil {
			r.Host = host
		}
		inner.ServeHTTP(w, r)
	})
}

// Reload implements Source: it asks for what is missing.
func (a *ACME) Reload() error {
	var errs []error
	for _, name := range a.set.Domains {
		// What a browser of today says; the key then is an elliptic one.
		_, err := a.Certificate(&tls.ClientHelloInfo{
			ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedProtos: []string{"h2", "http/1.1"},
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate for %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Run implements Source: it asks for the certificates before somebody has to
// wait for them, and again after a failure, ever less often: authorities count.
func (a *ACME) Run(ctx context.Context) error {
	pause := time.Minute
	for {
		err := a.Reload()
		if err == nil {
			pause = time.Minute
		} else {
			slog.Error("the authority issued no certificate; it will be asked again", "in", pause, "error", err)
		}
		wait := 12 * time.Hour
		if err != nil {
			wait, pause = pause, min(2*pause, 6*time.Hour)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Expires implements Source: the first of all domains to end.
func (a *ACME) Expires() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	var first time.Time
	for _, leaf := range a.leaves {
		if first.IsZero() || leaf.NotAfter.Before(first) {
			first = leaf.NotAfter
		}
	}
	return first
}

// State implements Source.
func (a *ACME) State(now time.Time) health.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	const cure = "the authority must reach this server on port 443 (or 80 with tls.acme.http_listen) by each of tls.acme.domains"
	for _, name := range a.set.Domains {
		leaf := a.leaves[name]
		if leaf == nil && a.failed != nil {
			return health.Failed(fmt.Sprintf("no certificate for %s: %v", name, a.failed), cure)
		}
		if leaf == nil {
			return health.Degraded("the authority is being asked for a certificate for "+name, "wait a minute")
		}
		s := judge(leaf, name, now, cure)
		if s.Level != health.LevelOK && a.failed != nil {
			s.Why += fmt.Sprintf(", and the authority issued no new one: %v", a.failed)
		}
		if s.Level != health.LevelOK {
			return s
		}
	}
	return health.OK()
}

// cache keeps what autocert wants kept, sealed, one file a name.
type cache struct {
	dir  string
	keys Sealer
}

func (c cache) path(name string) string {
	sum := sha256.Sum256([]byte(name)) // names may hold anything; files may not
	return filepath.Join(c.dir, hex.EncodeToString(sum[:16]))
}

// Get implements autocert.Cache. What does not open counts as missing: the
// authority is asked again.
func (c cache) Get(_ context.Context, name string) ([]byte, error) {
	box, err := os.ReadFile(c.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, autocert.ErrCacheMiss
	}
	if err != nil {
		return nil, err
	}
	plain, err := c.keys.Unseal("acme/"+name, box)
	if err != nil {
		slog.Warn("a kept certificate does not open and is asked for again", "name", name, "error", err)
		return nil, autocert.ErrCacheMiss
	}
	return plain, nil
}

// Put implements autocert.Cache.
func (c cache) Put(_ context.Context, name string, data []byte) error {
	f, err := os.CreateTemp(c.dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename it is gone already
	_, err = f.Write(c.keys.Seal("acme/"+name, data))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path(name))
}

// Delete implements autocert.Cache.
func (c cache) Delete(_ context.Context, name string) error {
	if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
