package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	goodMail  = "email: {server: 'smtp.example.com:587', from: muster@example.com, to: [ops@example.com]}"
	goodSlack = "slack: {url_file: slack.url}"
)

func TestAReceiverIsOneOfTheKinds(t *testing.T) {
	for _, tt := range []struct{ in, kind string }{
		{"{name: a, url: 'https://x.example/h', secret_file: s}", KindWebhook},
		{"{name: a, severity: high, " + goodMail + "}", KindEmail},
		{"{name: a, " + goodSlack + "}", KindSlack},
	} {
		path := filepath.Join(t.TempDir(), "muster.yaml")
		if err := os.WriteFile(path, []byte("notify: ["+tt.in+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Notify[0].Kind(); got != tt.kind {
			t.Errorf("%s is %q, want %q", tt.in, got, tt.kind)
		}
	}
}

func TestAMistakeInAReceiverNamesLineAndKey(t *testing.T) {
	for _, tt := range []struct{ name, in, where, key, what string }{
		{"nothing to send by", "notify:\n  - name: a\n", ":2:5", "notify[0]", "want one of url"},
		{"two kinds", "notify:\n  - name: a\n    " + goodMail + "\n    " + goodSlack + "\n", ":3:5", "notify[0].email", "want one of url"},
		{"misspelt", "notify:\n  - name: a\n    email:\n      sever: x\n", ":4:7", "", `did you mean "server"?`},
		{"no port", "notify:\n  - name: a\n    email:\n      server: smtp.example.com\n      from: a@example.com\n", ":4:7", "notify[0].email.server", "want host:port"},
		{"no address", "notify:\n  - name: a\n    email: {server: 'a.example:25', from: a@example.com, to: [x@example.com, you]}\n", ":3:", "notify[0].email.to[1]", "not one e-mail address"},
		{"password in clear", "notify:\n  - name: a\n    email:\n      server: a.example:25\n      tls: none\n      username: u\n      password_file: p\n      from: a@example.com\n      to: [b@example.com]\n", ":5:7", "notify[0].email.tls", "would travel in clear"},
		{"no such severity", "notify:\n  - name: a\n    severity: hihg\n    " + goodSlack + "\n", ":3:5", "notify[0].severity", "want info"},
		{"a name of two lines", "notify:\n  - name: \"a\\nb\"\n    " + goodSlack + "\n", ":2:5", "notify[0].name", "can be seen"},
		{"the same name twice", "notify:\n  - {name: a, " + goodSlack + "}\n  - {name: a, " + goodMail + "}\n", ":3:", "notify[1]", "a name of its own"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "muster.yaml")
			if err := os.WriteFile(path, []byte(tt.in), 0o600); err != nil {
				t.Fatal(err)
			}
			problems, err := Problems(path, nil, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if strings.Contains(p.Where(), path+tt.where) && strings.Contains(p.What, tt.what) && strings.HasPrefix(p.Key, tt.key) {
					return
				}
			}
			t.Errorf("%+v, want one at %s about %s: %s", problems, tt.where, tt.key, tt.what)
		})
	}
}

func TestSecretFilesOfReceiversThatOthersCanReadAreTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "muster.yaml")
	in := "notify:\n  - {name: a, " + goodSlack + "}\n  - {name: b, email: {server: 'a.example:587', username: u, password_file: pw, from: a@example.com, to: [b@example.com]}}\n"
	for name, text := range map[string]string{"muster.yaml": in, "slack.url": "https://hooks.slack.com/x", "pw": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := Problems(path, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, p := range problems {
		if strings.Contains(p.What, "mode 0644") {
			told[p.Key] = true
		}
	}
	if len(problems) != 2 || !told["notify[0].slack.url_file"] || !told["notify[1].email.password_file"] {
		t.Errorf("%+v", problems)
	}
}
