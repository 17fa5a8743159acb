package config

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/notify/webhook"
	"github.com/muster-id/muster/internal/strictyaml"
)

func TestEveryKeyIsDocumented(t *testing.T) {
	for _, k := range Keys() {
		if len(k.Doc) < 20 {
			t.Errorf("%s: the comment of its field says %q; say what it means", k.Path, k.Doc)
		}
		if k.Section() {
			continue
		}
		if k.Example == "" {
			t.Errorf("%s has neither a default nor an example: give its field the tag example", k.Path)
		}
		v := reflect.New(k.kind)
		if err := strictyaml.Decode("example", []byte(k.Example), v.Interface()); err != nil {
			t.Errorf("%s: the example %q cannot be read: %v", k.Path, k.Example, err)
		}
		if len(k.Enum) > 0 && k.Example != "" && !slices.Contains(k.Enum, k.Example) {
			t.Errorf("%s: the example %q is none of %v", k.Path, k.Example, k.Enum)
		}
		if k.Default != "" {
			if err := strictyaml.Decode("default", []byte(k.Default), reflect.New(k.kind).Interface()); err != nil {
				t.Errorf("%s: the default %q cannot be read: %v", k.Path, k.Default, err)
			}
		}
	}
}

func TestReferenceSchemaAndCommentsAreUpToDate(t *testing.T) {
	cmd := exec.Command("go", "run", "./gen", "-check")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTheReferenceNamesEveryKey(t *testing.T) {
	text := string(Reference())
	for _, k := range Keys() {
		if !k.Section() && !strings.Contains(text, "| `"+k.Path+"` |") {
			t.Errorf("the reference lacks %s", k.Path)
		}
	}
}

func TestTheSchemaHasEveryKeyAndNoOther(t *testing.T) {
	body, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(body, &root); err != nil {
		t.Fatal(err)
	}
	var got []string
	var walk func(s map[string]any, path string)
	walk = func(s map[string]any, path string) {
		if items, ok := s["items"].(map[string]any); ok {
			walk(items, path+"[]")
		}
		properties, _ := s["properties"].(map[string]any)
		if properties != nil && s["additionalProperties"] != false {
			t.Errorf("%s takes any key", path)
		}
		for key, inner := range properties {
			p := strings.TrimPrefix(path+"."+key, ".")
			got = append(got, p)
			walk(inner.(map[string]any), p)
		}
	}
	walk(root, "")
	var want []string
	for _, k := range Keys() {
		want = append(want, k.Path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindKnowsShortAndMisspeltNames(t *testing.T) {
	for _, tt := range []struct{ in, want, err string }{
		{"guards.risk_deny", "guards.risk_deny", ""},
		{"risk_deny", "guards.risk_deny", ""},
		{"MUSTER_GUARDS_RISK_DENY", "guards.risk_deny", ""},
		{"notify[3].url", "notify[].url", ""},
		{"guards.risk_denny", "", `did you mean "guards.risk_deny"?`},
		{"zzzzzzzzzzzzzzz", "", "there is no setting"},
	} {
		k, err := Find(tt.in)
		if k.Path != tt.want || (tt.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("Find(%q) = %q, %v; want %q, %q", tt.in, k.Path, err, tt.want, tt.err)
		}
	}
}

func TestTheEnvironmentSetsEveryKindOfKey(t *testing.T) {
	env := map[string]string{
		"MUSTER_LISTEN": "127.0.0.1:1", "MUSTER_GUARDS_RISK_DENY": "70", "MUSTER_GUARDS_REQUIRE_GRANT": "true", "MUSTER_RETENTION_AGE": "48h",
		"MUSTER_OWNER_TAGS": "team, squad", "MUSTER_ENVIRONMENTS": "[{name: p, class: production, accounts: ['1']}]", "MUSTER_TLS_CERT": "",
	}
	l, err := Read("", func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if c.Listen != "127.0.0.1:1" || c.Guards.RiskDeny != 70 || !c.Guards.RequireGrant || c.Retention.Age.Hours() != 48 ||
		!slices.Equal(c.OwnerTags, []string{"team", "squad"}) || len(c.Environments) != 1 || c.Environments[0].Accounts[0] != "1" {
		t.Errorf("got %+v", c)
	}
	if l.From["listen"] != FromEnvironment || l.From["tls.cert"] != "" {
		t.Errorf("from %v", l.From)
	}
}

func TestABadVariableIsNamedAndItsValueIsNot(t *testing.T) {
	_, err := Read("", func(name string) string {
		if name == "MUSTER_GUARDS_RISK_DENY" {
			return "pa55word"
		}
		return ""
	})
	if err == nil || !strings.Contains(err.Error(), "MUSTER_GUARDS_RISK_DENY: want whole number like 80") || strings.Contains(err.Error(), "pa55word") {
		t.Errorf("got %v", err)
	}
}

func TestStrayVariables(t *testing.T) {
	got := StrayEnv([]string{"MUSTER_GUARDS_RISK_DENNY=1", "MUSTER_SERVER=x", "MUSTER_PORT_8700_TCP=tcp://10.0.0.1", "MUSTER_SERVICE_HOST=10.0.0.1", "HOME=/", "MUSTER_LISTEN=x"})
	if diff := cmp.Diff(map[string]string{"MUSTER_GUARDS_RISK_DENNY": "MUSTER_GUARDS_RISK_DENY"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsPrintedCanBeReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "muster.yaml")
	in := "listen: 127.0.0.1:9\nguards:\n  risk_deny: 60\nenvironments:\n  - {name: 'a: b', class: production, accounts: ['1', '2']}\nretention: {age: 36h}\n"
	if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Read(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := YAML(l.Config.Settings(l.From))
	if !strings.Contains(string(text), "risk_deny: 60 # "+path+":3\n") || !strings.Contains(string(text), "age: 36h # "+path+":6\n") {
		t.Errorf("printed:\n%s", text)
	}
	again := Default()
	if err := strictyaml.Decode("printed", text, &again); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if diff := cmp.Diff(l.Config, again, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c := Default()
	c.PublicURL = "https://user:pa55word@muster.example.com"
	c.Notify = []Receiver{{Settings: webhook.Settings{Name: "ops", URL: "https://hooks.example.com/T0KEN"}}}
	text := string(YAML(c.Settings(nil)))
	if strings.Contains(text, "pa55word") || strings.Contains(text, "T0KEN") || !strings.Contains(text, "ops") {
		t.Errorf("printed:\n%s", text)
	}
	if c.Notify[0].URL != "https://hooks.example.com/T0KEN" {
		t.Error("printing changed the configuration")
	}
}
