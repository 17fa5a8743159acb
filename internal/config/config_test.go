package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDefaultsAreSound(t *testing.T) {
	c := Default()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

func TestABadFileNamesTheLineOrTheSetting(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"misspelt key", "listen: 127.0.0.1:1\ngards: {}\n", `muster.yaml:2:1: there is no setting "gards"; did you mean "guards"?`},
		{"number out of range", "guards: {risk_deny: 101}\n", "risk_deny is 101, want 0 to 100"},
		{"open to the world without TLS", "listen: 0.0.0.0:8700\n", "listen: 0.0.0.0:8700 is reachable from elsewhere"},
		{"Envoy asks from elsewhere without TLS", "ext_authz_listen: 0.0.0.0:8702\n", "ext_authz_listen: 0.0.0.0:8702 is reachable from elsewhere"},
		{"Envoy asks nowhere", "ext_authz_listen: 'no'\n", `ext_authz_listen: "no" is not host:port`},
		{"metrics open to the world", "ops_listen: 0.0.0.0:8701\n", "ops_listen"},
		{"half a certificate", "tls: {cert: a.pem}\n", "belong together"},
		{"receiver without a secret", "notify: [{name: ops, url: https://x.example/h}]\n", "secret_file"},
		{"unknown class", "environments: [{name: p, class: producton, accounts: ['1']}]\n", `environments[0]: class "producton"`},
		{"an environment without a name", "environments: [{class: production}]\n", "environments[0]: no name"},
		{"plain HTTP to the world", "public_url: http://muster.example.com\n", "plain HTTP is for loopback only"},
		{"credentials in the address", "public_url: https://u:p@muster.example.com\n", "public_url"},
		{"receiver by plain HTTP", "notify: [{name: ops, url: http://hooks.example/h, secret_file: s}]\n", "notify[0]: webhook ops: plain HTTP"},
		{"severity that nobody knows", "notify: [{name: ops, url: https://x.example/h, secret_file: s, severity: hihg}]\n", "severity \"hihg\""},
		{"nothing to learn from", "learning: {min_events: -1}\n", "learning: min_events"},
		{"a reserve below nothing", "journal_reserve: -1\n", "journal_reserve"},
		{"number without a unit", "retention: {age: 3}\n", "muster.yaml:1:18"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "muster.yaml")
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFilesAreRelativeToTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "muster.yaml")
	text := "tls: {cert: a.pem, key: /etc/b.pem}\nnotify: [{name: ops, url: https://x.example/h, secret_file: s}]\nretention: {age: 2h}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.TLS.Cert != filepath.Join(dir, "a.pem") || c.TLS.Key != "/etc/b.pem" || c.Notify[0].SecretFile != filepath.Join(dir, "s") {
		t.Errorf("files are %q, %q, %q", c.TLS.Cert, c.TLS.Key, c.Notify[0].SecretFile)
	}
}
