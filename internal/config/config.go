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
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify/webhook"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/strictyaml"
	"github.com/muster-id/muster/internal/surprise"
)

// Config is what an administrator decides. Durations are written like 10m.
type Config struct {
	Listen    string `yaml:"listen"`     // main listener, host:port
	OpsListen string `yaml:"ops_listen"` // health and metrics, host:port
	PublicURL string `yaml:"public_url"` // how the world reaches the main listener
	TLS       TLS    `yaml:"tls"`

	Environments []inventory.EnvironmentRule `yaml:"environments"`
	OwnerTags    []string                    `yaml:"owner_tags"`

	Guards    policy.Settings    `yaml:"guards"`
	Decisions decision.Settings  `yaml:"decisions"`
	Learning  surprise.Settings  `yaml:"learning"`
	Retention Retention          `yaml:"retention"`
	Notify    []webhook.Settings `yaml:"notify"`

	// JournalReserve is the room in bytes that is kept for decisions on a full
	// disk; a quarter of it is kept for the audit log as well.
	JournalReserve int64 `yaml:"journal_reserve"`
}

// TLS are the files of the server's certificate and key.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Retention bounds how much activity is kept.
type Retention struct {
	Age   time.Duration `yaml:"age"`
	Bytes int64         `yaml:"bytes"`
}

// Default returns the configuration of a server without a file.
func Default() Config {
	return Config{
		Listen:         "127.0.0.1:8700",
		OpsListen:      "127.0.0.1:8701",
		OwnerTags:      inventory.DefaultSettings().OwnerTags,
		Guards:         policy.DefaultSettings(),
		Retention:      Retention{Age: 30 * 24 * time.Hour, Bytes: 20 << 30},
		JournalReserve: 256 << 20,
	}
}

// Load reads the file at path over the defaults. An empty path returns the
// defaults. Names of files inside are relative to the file's folder.
func Load(path string) (Config, error) {
	c := Default()
	if path == "" {
		return c, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	if err := strictyaml.Decode(path, data, &c); err != nil {
		return c, err
	}
	base := filepath.Dir(path)
	for _, f := range []*string{&c.TLS.Cert, &c.TLS.Key} {
		*f = within(base, *f)
	}
	for i := range c.Notify {
		c.Notify[i].SecretFile = within(base, c.Notify[i].SecretFile)
	}
	if err := c.Check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func within(base, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(base, file)
}

// Check returns an error wrapping nhi.ErrInvalid that names the setting.
func (c *Config) Check() error {
	for _, l := range []struct{ name, value string }{{"listen", c.Listen}, {"ops_listen", c.OpsListen}} {
		if _, _, err := net.SplitHostPort(l.value); err != nil {
			return nhi.Invalidf("%s: %q is not host:port", l.name, l.value)
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return nhi.Invalidf("tls: cert and key belong together")
	}
	if c.TLS.Cert == "" && !loopback(c.Listen) {
		return nhi.Invalidf("listen: %s is reachable from elsewhere; give tls.cert and tls.key, or listen on 127.0.0.1", c.Listen)
	}
	if !loopback(c.OpsListen) {
		return nhi.Invalidf("ops_listen: %s: health and metrics have no sign-in; listen on 127.0.0.1", c.OpsListen)
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
			return nhi.Invalidf("public_url: want a URL like https://muster.example.com, without user, path, query or fragment")
		}
		if u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "0")) {
			return nhi.Invalidf("public_url: %s: plain HTTP is for loopback only", c.PublicURL)
		}
	}
	own := inventory.Settings{Environments: c.Environments, OwnerTags: c.OwnerTags}
	if err := own.Validate(); err != nil {
		return err
	}
	if c.Learning.MinEvents < 0 || c.Learning.MinEvents > 1_000_000 {
		return nhi.Invalidf("learning: min_events is %d, want 0 to 1000000", c.Learning.MinEvents)
	}
	if c.Learning.MinSpan > 365*24*time.Hour {
		return nhi.Invalidf("learning: min_span is %v, want at most a year", c.Learning.MinSpan)
	}
	if c.JournalReserve < 0 || c.JournalReserve > 1<<40 {
		return nhi.Invalidf("journal_reserve is %d bytes, want 0 to %d", c.JournalReserve, int64(1)<<40)
	}
	if err := c.Guards.Validate(); err != nil {
		return fmt.Errorf("guards: %w", err)
	}
	if err := c.Decisions.Validate(); err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	if c.Retention.Age < time.Hour || c.Retention.Bytes < 1<<20 {
		return nhi.Invalidf("retention: want an age of at least 1h and at least 1048576 bytes")
	}
	return c.checkNotify()
}

func (c *Config) checkNotify() error {
	seen := map[string]bool{}
	for i, n := range c.Notify {
		if n.Name == "" || seen[n.Name] {
			return nhi.Invalidf("notify[%d]: every receiver needs a name of its own", i)
		}
		seen[n.Name] = true
		if n.URL == "" || n.SecretFile == "" {
			return nhi.Invalidf("notify[%d] (%s): url and secret_file are needed", i, n.Name)
		}
		if err := n.Validate(); err != nil {
			return fmt.Errorf("notify[%d]: %w", i, err)
		}
		switch n.Severity {
		case "", nhi.Info, nhi.Low, nhi.Medium, nhi.High, nhi.Critical:
		default:
			return nhi.Invalidf("notify[%d] (%s): severity %q: want info, low, medium, high or critical", i, n.Name, n.Severity)
		}
	}
	return nil
}

// loopback reports whether only this machine can reach a listener.
func loopback(hostport string) bool {
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
