package svid

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"crypto/x509"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
)

// Settings say whose X.509-SVIDs are believed. Who the workloads are is in
// trust.yaml.
type Settings struct {
	// TrustDomains are those whose workloads may show X.509-SVIDs.
	TrustDomains []Domain `yaml:"trust_domains"`
	// Points are the names of enrolled points that are believed when they tell
	// which certificate their caller showed: proxies that end TLS, and set what
	// they tell themselves. Muster's own proxies need not be named.
	Points []string `yaml:"points" example:"[edge]"`
	// ForwardedClientCert are the names of points of the dialect envoy that tell it
	// in the header X-Forwarded-Client-Cert, and nowhere else: proxies that end TLS,
	// and replace that header when a client sends it (SANITIZE_SET).
	ForwardedClientCert []string `yaml:"forwarded_client_cert" example:"[mesh]"`
}

// Domain is one trust domain.
type Domain struct {
	// Name is the trust domain, as in spiffe://NAME/path.
	Name string `yaml:"name" example:"prod.example"`
	// Bundle is a file of its authorities, in PEM or as a SPIFFE bundle (JSON).
	// It is read again when it changes.
	Bundle string `yaml:"bundle" unit:"file" example:"/etc/muster/prod.example.json"`
	// Attests says that the domain attests a workload before it gives it an SVID,
	// as SPIRE does. Then an SVID is an attestation, as old as itself.
	Attests bool `yaml:"attests" example:"true"`
}

// Check returns an error wrapping nhi.ErrInvalid that names the setting. It reads
// no file.
func (s *Settings) Check() error {
	if len(s.TrustDomains) > maxDomains {
		return nhi.Invalidf("svid.trust_domains: more than %d", maxDomains)
	}
	var seen []string
	for _, d := range s.TrustDomains {
		name, err := spiffeid.TrustDomainFromString(d.Name)
		switch {
		case err != nil || name.Name() != d.Name:
			return nhi.Invalidf("svid.trust_domains: %.80q is no name of a trust domain, as in spiffe://NAME/path", d.Name)
		case d.Bundle == "":
			return nhi.Invalidf("svid.trust_domains: %s has no bundle: name the file of its authorities", d.Name)
		case slices.Contains(seen, d.Name):
			return nhi.Invalidf("svid.trust_domains: %s stands twice", d.Name)
		}
		seen = append(seen, d.Name)
	}
	if slices.Contains(s.Points, "") || slices.Contains(s.ForwardedClientCert, "") {
		return nhi.Invalidf("svid.points, svid.forwarded_client_cert: a name is empty")
	}
	for _, name := range s.ForwardedClientCert {
		if slices.Contains(s.Points, name) {
			return nhi.Invalidf("svid: the point %s is in points and in forwarded_client_cert: it tells a certificate in one way, so name it once", name)
		}
	}
	return nil
}

const look = 10 * time.Second // how often bundle files are looked at

// A Trust keeps the Set in force. It is safe for concurrent use.
type Trust struct {
	set atomic.Pointer[Set]

	mu       sync.Mutex // guards the rest
	settings Settings
	bindings []Binding
	files    map[string][]byte // last good content, by path
	bad      error             // of the last look at the files
	changed  func()            // nil: nobody wants to know
}

// New returns a Trust. It reads the bundle files; the error says which one cannot
// be used.
func New(s Settings, bindings []Binding) (*Trust, error) {
	t := &Trust{settings: s, bindings: bindings}
	return t, t.Reload()
}

// Set returns the one in force. It is another one whenever anything about it is,
// and the same otherwise.
func (t *Trust) Set() *Set { return t.set.Load() }

// OnChange has f called whenever another Set is in force. f must not block, nor call
// the Trust.
func (t *Trust) OnChange(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = f
}

// VerifyCertificate implements attest.Certificates.
func (t *Trust) VerifyCertificate(leaf *x509.Certificate, between []*x509.Certificate, now time.Time) (nhi.Attested, error) {
	return t.Set().VerifyCertificate(leaf, between, now)
}

// Tells is [Set.Tells] of now.
func (t *Trust) Tells(point *nhi.Point) bool { return t.Set().Tells(point) }

// Forwards is [Set.Forwards] of now.
func (t *Trust) Forwards(point *nhi.Point) bool { return t.Set().Forwards(point) }

// Bind replaces the bindings. On an error, which wraps nhi.ErrInvalid, the old
// ones stay.
func (t *Trust) Bind(bindings []Binding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.take(t.settings, bindings, t.files)
}

// Configure replaces the settings. It reads the bundle files; on an error
// everything stays as it was.
func (t *Trust) Configure(s Settings) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	files, err := read(s)
	if err != nil {
		return err
	}
	return t.take(s, t.bindings, files)
}

// Reload reads the bundle files again. On an error everything stays as it was.
func (t *Trust) Reload() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	files, err := read(t.settings)
	if err == nil {
		err = t.take(t.settings, t.bindings, files)
	}
	t.bad = err
	return err
}

// take makes the Set of these. The caller holds t.mu.
func (t *Trust) take(s Settings, bindings []Binding, files map[string][]byte) error {
	text, err := compose(s, bindings, files)
	if err != nil {
		return err
	}
	if old := t.set.Load(); old == nil || !bytes.Equal(old.text, text) {
		next, err := ParseSet(text)
		if err != nil {
			return err
		}
		t.set.Store(next)
		if t.changed != nil {
			t.changed()
		}
	}
	t.settings, t.bindings, t.files = s, bindings, files
	return nil
}

// Run reads bundle files again when they have changed, until ctx ends.
func (t *Trust) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var told string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		before, err := t.Set(), t.Reload()
		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			slog.Error("the trust domains stay as they were", "error", err)
		case err == nil && t.Set() != before:
			told = ""
			slog.Info("the trust bundles were read again")
		}
	}
}

// State is what health says of the bundle files.
func (t *Trust) State(context.Context) health.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bad != nil {
		return health.Degraded(t.bad.Error()+": the authorities of before stay in use", "write the bundle of the trust domain anew; no restart is needed")
	}
	return health.OK()
}

// read reads the bundle files of the settings.
func read(s Settings) (map[string][]byte, error) {
	files := make(map[string][]byte, len(s.TrustDomains))
	for _, d := range s.TrustDomains {
		text, err := readFile(d.Bundle)
		if err != nil {
			return nil, fmt.Errorf("trust domain %s: %w", d.Name, err)
		}
		files[d.Bundle] = text
	}
	return files, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxBundle+1))
	if err == nil && len(text) > MaxBundle {
		err = nhi.Invalidf("%s has over %d bytes", path, MaxBundle)
	}
	return text, err
}

// compose writes the text of a Set; empty without a trust domain.
func compose(s Settings, bindings []Binding, files map[string][]byte) ([]byte, error) {
	if len(s.TrustDomains) == 0 {
		return nil, nil
	}
	doc := document{Bindings: bindings, Points: s.Points, Forwards: s.ForwardedClientCert}
	for _, d := range s.TrustDomains {
		authorities, err := ParseBundle(d.Name, files[d.Bundle])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Bundle, err)
		}
		l := listed{Name: d.Name, Attests: d.Attests}
		for _, c := range authorities {
			l.Authorities = append(l.Authorities, c.Raw)
		}
		doc.Domains = append(doc.Domains, l)
	}
	return json.Marshal(doc)
}

// ParseBundle reads the authorities of a trust domain: PEM, or a SPIFFE bundle
// (SPIFFE Trust Domain and Bundle, section 4), of which only the X.509 part counts.
// There is one authority at least. The error wraps nhi.ErrInvalid.
func ParseBundle(name string, text []byte) ([]*x509.Certificate, error) {
	domain, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		return nil, nhi.Invalidf("%.80q is no name of a trust domain", name)
	}
	if len(text) > MaxBundle {
		return nil, nhi.Invalidf("the bundle of %s has over %d bytes", name, MaxBundle)
	}
	var bundle *x509bundle.Bundle
	if json.Valid(text) {
		var whole *spiffebundle.Bundle
		if whole, err = spiffebundle.Parse(domain, text); err == nil {
			bundle = whole.X509Bundle()
		}
	} else {
		bundle, err = x509bundle.Parse(domain, text)
	}
	if err != nil {
		return nil, nhi.Invalidf("the bundle of %s is neither PEM nor a SPIFFE bundle: %v", name, err)
	}
	authorities := bundle.X509Authorities()
	if len(authorities) == 0 || len(authorities) > maxAuthorities {
		return nil, nhi.Invalidf("the bundle of %s holds %d authorities, want 1 to %d", name, len(authorities), maxAuthorities)
	}
	for _, c := range authorities {
		if err := checkAuthority(domain, c); err != nil {
			return nil, err
		}
	}
	return authorities, nil
}
