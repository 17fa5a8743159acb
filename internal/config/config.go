// Package config is the one struct that a server is configured by, made of the
// settings of the packages that use them. A file is optional: the defaults make
// a server that works. What is written is read strictly: a key that nobody
// knows, or a number out of range, is an error with file, line and the nearest
// key that exists, and nothing starts.
package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/access/oidc"
	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/certs"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/approval"
	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/enforce/proxy"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/seal/unlock"
	"github.com/muster-id/muster/internal/signals/receive"
	"github.com/muster-id/muster/internal/store/postgres"
	"github.com/muster-id/muster/internal/stream/nats"
	"github.com/muster-id/muster/internal/strictyaml"
	"github.com/muster-id/muster/internal/surprise"
)

// Config is what an administrator decides. Durations are written like 10m. The
// comments of its fields, here and in the packages that use them, are the words
// of the reference and of `muster config explain`; see [Key] for their tags.
type Config struct {
	// Listen is the address of the main listener: console, API, decisions.
	Listen string `yaml:"listen" unit:"host:port" example:"0.0.0.0:443"`
	// OpsListen is the address of health and metrics, on this machine only:
	// they have no sign-in.
	OpsListen string `yaml:"ops_listen" unit:"host:port" example:"127.0.0.1:9701"`
	// Pprof adds the profiles of the Go runtime to the operations listener,
	// under /debug/pprof/: where processor time and memory go. They show what
	// the program does, never what it knows.
	Pprof bool `yaml:"pprof"`
	// ExtAuthzListen is the address where Envoy asks, by gRPC (ext_authz), or
	// off. On this machine it is plain; anywhere else it has the certificate of
	// the main listener.
	ExtAuthzListen string `yaml:"ext_authz_listen" unit:"host:port" example:"0.0.0.0:8702"`
	// PublicURL is how the world reaches the main listener. Empty: the address
	// it listens on. Tokens name it as their issuer, so choose it once.
	PublicURL string `yaml:"public_url" unit:"URL" example:"https://muster.example.com"`
	// TLS is the certificate of the main listener. Without one it listens on
	// this machine only.
	TLS TLS `yaml:"tls"`

	// Keys say how the key file in the data folder is sealed.
	Keys KeyFile `yaml:"keys"`

	// Store is the database. Without it, a file in the data folder.
	Store Store `yaml:"store"`

	// Environments say which accounts and names belong to which environment.
	// The first rule that fits wins; what none fits is in class unknown. A
	// reload applies to what is seen from then on.
	Environments []inventory.EnvironmentRule `yaml:"environments"`
	// OwnerTags are the tags that name the owner of an identity, the first
	// that it has wins.
	OwnerTags []string `yaml:"owner_tags"`

	// Guards are the rules that ship with Muster, before policies of your own.
	Guards policy.Settings `yaml:"guards"`
	// Decisions say what a decision needs beside policies.
	Decisions decision.Settings `yaml:"decisions"`
	// Promotion says by which gates policies come into force.
	Promotion promotion.Settings `yaml:"promotion"`
	// Proxies are reverse proxies of this server's own, each an enforcement
	// point before an application.
	Proxies []proxy.Settings `yaml:"proxies"`
	// SVID says whose X.509-SVIDs are believed at points.
	SVID svid.Settings `yaml:"svid"`
	// Approvals say how people approve what a policy wants a person for.
	Approvals approval.Settings `yaml:"approvals"`
	// Learning says when what is normal for an identity is known.
	Learning surprise.Settings `yaml:"learning"`
	// Retention bounds how much activity and how many decisions are kept:
	// whichever is reached first.
	Retention Retention `yaml:"retention"`
	// Stream says which NATS servers hold the activity. Without urls it lies in
	// the data folder.
	Stream nats.Outside `yaml:"stream"`
	// Notify are the receivers of notices: each a webhook (url and secret_file),
	// mail (email) or a channel of Slack (slack).
	Notify []Receiver `yaml:"notify"`
	// Signals are shared signals: the peers that Muster listens to, and where
	// streams may be pushed.
	Signals receive.Settings `yaml:"signals"`
	// Access says how people sign in, and what they may do.
	Access Access `yaml:"access"`

	// JournalReserve is the room that is kept for decisions on a full disk; a
	// quarter of it is kept for the audit log as well.
	JournalReserve int64 `yaml:"journal_reserve" unit:"bytes"`
}

// TLS are the files of the server's certificate and key.
type TLS struct {
	// Cert is the file of the certificate chain, in PEM.
	Cert string `yaml:"cert" unit:"file" example:"/etc/muster/tls.crt"`
	// Key is the file of its private key, in PEM.
	Key string `yaml:"key" unit:"file" example:"/etc/muster/tls.key"`
	// ACME gets the certificate from an authority instead. Only a restart takes
	// it up.
	ACME certs.ACMESettings `yaml:"acme" live:"false"`
}

// On reports whether the main listener speaks TLS.
func (t TLS) On() bool { return t.Cert != "" || len(t.ACME.Domains) > 0 }

// Store says where the database is.
type Store struct {
	// URL is the address of a PostgreSQL database, without a password. To other
	// machines sslmode is verify-full. Empty: SQLite in the data folder.
	URL string `yaml:"url" unit:"URL" example:"postgres://muster@db.example.com/muster"`
	// PasswordFile holds the password of the database on its first line; only
	// its owner may read it. Empty: the password file of PostgreSQL's own
	// programs, if there is one.
	PasswordFile string `yaml:"password_file" unit:"file" example:"/etc/muster/database.password"`
}

// Check returns an error wrapping nhi.ErrInvalid that names the key and repeats
// no secret.
func (s Store) Check() error {
	if s.URL == "" {
		if s.PasswordFile != "" {
			return nhi.Invalidf("store.password_file is set, and store.url is not: without an address there is no database to sign in to")
		}
		return nil
	}
	p := postgres.Settings{URL: s.URL}
	return p.Check()
}

// KeyFile says how the key file is sealed.
type KeyFile struct {
	// Unlock says what opens the key file, one of the four. Without it a new
	// key file lies in clear, readable by its owner only.
	Unlock unlock.Settings `yaml:"unlock"`
}

// Access is how people sign in, and who holds which role.
type Access struct {
	// SSO is the organisation's OpenID Connect provider. Without an issuer
	// people sign in by one-time links only.
	SSO oidc.Settings `yaml:"sso" live:"false"`
	// Roles give roles to groups and addresses, on top of those that an
	// administrator assigns.
	Roles []access.Mapping `yaml:"roles" live:"false"`
}

func (a Access) check() error {
	if a.SSO.Issuer != "" {
		if err := a.SSO.Check(); err != nil {
			return fmt.Errorf("access.sso: %w", err)
		}
	}
	for i, m := range a.Roles {
		if err := m.Check(); err != nil {
			return fmt.Errorf("access.roles[%d]: %w", i, err)
		}
	}
	return nil
}

// Retention bounds what is kept.
type Retention struct {
	// Age is how long activity is kept.
	Age time.Duration `yaml:"age"`
	// Bytes is how much activity is kept.
	Bytes int64 `yaml:"bytes" unit:"bytes"`
	// DecisionsAge is how long the record of decisions is kept, to about a day.
	// What was not learned from yet stays longer.
	DecisionsAge time.Duration `yaml:"decisions_age"`
	// DecisionsBytes is how large the record of decisions may become. A decision
	// takes about 1,000.
	DecisionsBytes int64 `yaml:"decisions_bytes" unit:"bytes"`
}

func (r *Retention) check() error {
	if r.Age < time.Hour || r.Bytes < 1<<20 {
		return nhi.Invalidf("retention: want an age of at least 1h and at least 1048576 bytes")
	}
	if r.DecisionsAge < 24*time.Hour || r.DecisionsBytes < 64<<20 {
		return nhi.Invalidf("retention: want a decisions_age of at least 24h and decisions_bytes of at least 67108864")
	}
	return nil
}

// Where Envoy asks when nobody says otherwise, and the word for nowhere.
const (
	DefaultExtAuthz = "127.0.0.1:8702"
	Off             = "off"
)

// Default returns the configuration of a server without a file.
func Default() Config {
	return Config{
		Listen:         "127.0.0.1:8700",
		OpsListen:      "127.0.0.1:8701",
		ExtAuthzListen: DefaultExtAuthz,
		OwnerTags:      inventory.DefaultSettings().OwnerTags,
		Guards:         policy.DefaultSettings(),
		Decisions:      decision.Settings{}.WithDefaults(),
		Promotion:      promotion.Settings{}.WithDefaults(),
		Approvals:      approval.Settings{}.WithDefaults(),
		Learning:       surprise.Settings{}.WithDefaults(),
		Retention:      Retention{Age: 30 * 24 * time.Hour, Bytes: 20 << 30, DecisionsAge: 400 * 24 * time.Hour, DecisionsBytes: 50 << 30},
		JournalReserve: 256 << 20,
	}
}

// ServesEnvoy reports whether there is to be a listener for ext_authz.
func (c *Config) ServesEnvoy() bool { return c.ExtAuthzListen != "" && c.ExtAuthzListen != Off }

// Load reads the file at path over the defaults and checks it. An empty path
// returns the defaults. Names of files inside are relative to the file's folder.
func Load(path string) (Config, error) {
	l, err := Read(path, nil)
	if err != nil {
		return l.Config, err
	}
	return l.Config, l.Check()
}

// Loaded is a configuration with where its values come from.
type Loaded struct {
	Config Config
	// From says where a value comes from, by path: "FILE:LINE" or
	// [FromEnvironment]; what is not named is a default.
	From map[string]string

	file   string
	places map[string]strictyaml.Place
}

// Read reads the file at path, if it is not empty, over the defaults, and the
// environment over both, if getenv is given. It does not check whether the
// values fit together: others may come on top, then see [Loaded.Check].
func Read(path string, getenv func(string) string) (Loaded, error) {
	l := Loaded{Config: Default(), From: map[string]string{}, file: path}
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return l, fmt.Errorf("read the configuration: %w", err)
		}
		if err := strictyaml.Decode(path, data, &l.Config); err != nil {
			return l, err
		}
		l.places = strictyaml.Places(data)
		for key, at := range l.places {
			l.From[unnumbered(key)] = fmt.Sprintf("%s:%d", path, at.Line)
		}
		l.Config.relativeTo(filepath.Dir(path))
	}
	if getenv != nil {
		set, err := l.Config.FromEnv(getenv)
		if err != nil {
			return l, err
		}
		for _, key := range set {
			l.From[key] = FromEnvironment
			delete(l.places, key)
		}
	}
	return l, nil
}

// Check returns what is wrong with the values, with file, line and column when
// the file says so. It wraps nhi.ErrInvalid.
func (l *Loaded) Check() error {
	err := l.Config.Check()
	if err == nil || l.file == "" {
		return err
	}
	if at, ok := l.places[l.culprit(err.Error())]; ok {
		return fmt.Errorf("%s:%d:%d: %w", l.file, at.Line, at.Column, err)
	}
	return fmt.Errorf("%s: %w", l.file, err)
}

// culprit finds the setting that a message of Check is about: it names the
// section first, then the key.
func (l *Loaded) culprit(message string) string {
	path := ""
	for word := range strings.FieldsFuncSeq(message, func(r rune) bool {
		return r != '_' && r != '[' && r != ']' && r != '.' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) {
		next := strings.TrimPrefix(path+"."+strings.Trim(word, "."), ".")
		if _, ok := l.places[next]; ok {
			path = next
		}
	}
	return path
}

// relativeTo makes the names of files, which are the keys of unit "file",
// absolute, seen from folder.
func (c *Config) relativeTo(folder string) {
	eachFile(reflect.ValueOf(c).Elem(), "", func(_ string, v reflect.Value) { v.SetString(within(folder, v.String())) })
}

func within(base, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(base, file)
}

// Check returns an error wrapping nhi.ErrInvalid that names the setting.
func (c *Config) Check() error {
	own := inventory.Settings{Environments: c.Environments, OwnerTags: c.OwnerTags}
	for _, part := range []func() error{
		c.checkListeners, c.checkSecrets, c.Store.Check, c.checkReach, c.checkPublicURL, own.Validate, c.checkLearning,
		in("guards", c.Guards.Validate), c.Approvals.Validate, in("decisions", c.Decisions.Validate), c.Promotion.Validate,
		c.Retention.check, c.checkProxies, c.Stream.Check, c.Access.check, c.SVID.Check, c.Signals.Validate, c.checkNotify,
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// in says in which section a check failed.
func in(section string, check func() error) func() error {
	return func() error {
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", section, err)
		}
		return nil
	}
}

// checkListeners checks what the listeners are written as.
func (c *Config) checkListeners() error {
	for _, l := range []struct{ name, value string }{{"listen", c.Listen}, {"ops_listen", c.OpsListen}, {"ext_authz_listen", c.ExtAuthzListen}} {
		if l.name == "ext_authz_listen" && !c.ServesEnvoy() {
			continue
		}
		if _, _, err := net.SplitHostPort(l.value); err != nil {
			return nhi.Invalidf("%s: %q is not host:port", l.name, l.value)
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return nhi.Invalidf("tls: cert and key belong together")
	}
	return nil
}

// checkReach refuses what others could reach or read that they must not.
func (c *Config) checkReach() error {
	if !c.TLS.On() && !Loopback(c.Listen) {
		return nhi.Invalidf("listen: %s is reachable from elsewhere; give tls.cert and tls.key, or tls.acme, or listen on 127.0.0.1", c.Listen)
	}
	if c.ServesEnvoy() && !c.TLS.On() && !Loopback(c.ExtAuthzListen) {
		return nhi.Invalidf("ext_authz_listen: %s is reachable from elsewhere; give tls.cert and tls.key, or tls.acme, or listen on 127.0.0.1", c.ExtAuthzListen)
	}
	if !Loopback(c.OpsListen) {
		return nhi.Invalidf("ops_listen: %s: health and metrics have no sign-in; listen on 127.0.0.1", c.OpsListen)
	}
	return nil
}

func (c *Config) checkPublicURL() error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return nhi.Invalidf("public_url: want a URL like https://muster.example.com, without user, path, query or fragment")
	}
	if u.Scheme == "http" && !Loopback(net.JoinHostPort(u.Hostname(), "0")) {
		return nhi.Invalidf("public_url: %s: plain HTTP is for loopback only", c.PublicURL)
	}
	return nil
}

// checkLearning checks what learning and the journal may take.
func (c *Config) checkLearning() error {
	if c.Learning.MinEvents < 0 || c.Learning.MinEvents > 1_000_000 {
		return nhi.Invalidf("learning: min_events is %d, want 0 to 1000000", c.Learning.MinEvents)
	}
	if c.Learning.MinSpan > 365*24*time.Hour {
		return nhi.Invalidf("learning: min_span is %v, want at most a year", c.Learning.MinSpan)
	}
	if c.JournalReserve < 0 || c.JournalReserve > 1<<40 {
		return nhi.Invalidf("journal_reserve is %d bytes, want 0 to %d", c.JournalReserve, int64(1)<<40)
	}
	return nil
}

// checkProxies checks each proxy, and that no two want the same address.
func (c *Config) checkProxies() error {
	taken := map[string]bool{c.Listen: true, c.OpsListen: true, c.ExtAuthzListen: true}
	points := map[string]bool{}
	for i := range c.Proxies {
		p := &c.Proxies[i]
		if err := p.Check(); err != nil {
			return fmt.Errorf("proxies[%d].%w", i, err)
		}
		_, port, _ := net.SplitHostPort(p.Listen)
		if taken[p.Listen] && port != "0" {
			return nhi.Invalidf("proxies[%d].listen: %s is taken by another listener of this server", i, p.Listen)
		}
		if points[p.Point] {
			return nhi.Invalidf("proxies[%d].point: %s is another proxy already; enroll a point for each", i, p.Point)
		}
		taken[p.Listen], points[p.Point] = true, true
	}
	return nil
}

// checkSecrets checks what says where certificates and keys come from.
func (c *Config) checkSecrets() error {
	if !reflect.ValueOf(c.TLS.ACME).IsZero() {
		if c.TLS.Cert != "" {
			return nhi.Invalidf("tls: want cert and key, or acme, not both")
		}
		if err := c.TLS.ACME.Check(); err != nil {
			return fmt.Errorf("%w: %w", nhi.ErrInvalid, err)
		}
	}
	if err := c.Keys.Unlock.Check(); err != nil {
		return fmt.Errorf("%w: %w", nhi.ErrInvalid, err)
	}
	return nil
}

// Loopback reports whether only this machine can reach a listener.
func Loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
