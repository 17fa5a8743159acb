package template_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/template"
)

var (
	payments = nhi.IdentityID("muster", "", "payments")
	stranger = nhi.IdentityID("muster", "", "stranger")
)

// usual is a question that is let pass wherever a template is about something
// else: an attested workload reads, in the office, on Wednesday at noon UTC.
func usual() *nhi.Question {
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	return &nhi.Question{
		Subject: nhi.Attested{Identity: payments, Method: "token", Assurance: nhi.AssuranceAttested, SenderBound: true},
		Action:  nhi.Read, Resource: "payments/api", At: at, Address: netip.MustParseAddr("192.0.2.7"),
		Known: nhi.Known{
			Identity: true, Kind: nhi.KindWorkload, IdentityState: nhi.Active, Owned: true,
			IdentityEnvironment: nhi.Environment{Name: "prod", Class: nhi.Production},
			Resource:            true, Sensitivity: 2, ResourceEnvironment: nhi.Environment{Name: "prod", Class: nhi.Production},
			Purpose: "billing", RateHundreds: 3000,
			Attestation: &nhi.Attestation{
				Method: "oidc", At: at.Add(-time.Minute), Level: nhi.EvidenceHardware,
				Location: nhi.Location{Provider: "aws", Account: "111122223333", Region: "eu-west-1", VPC: "vpc-1", Cluster: "prod-1", Namespace: "pay", Node: "n-1"},
				Device:   nhi.Device{ID: "d-1", Attested: true, SecureBoot: true, Image: "sha256:aa"},
			},
		},
	}
}

type (
	given = map[string]string
	edit  = func(*nhi.Question)
)

// attested changes the attestation, which is shared otherwise.
func attested(change func(*nhi.Attestation)) edit {
	return func(q *nhi.Question) { change(q.Known.Attestation) }
}

func aged(sensitivity int, age time.Duration) edit {
	return func(q *nhi.Question) {
		q.Known.Sensitivity, q.Known.Attestation.At = sensitivity, q.At.Add(-age)
	}
}

func unattested(q *nhi.Question) { q.Known.Attestation = nil }

func at(text string) edit {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return func(q *nhi.Question) { q.At = t }
}

// cases are what each template lets pass and what it stops.
var cases = []struct {
	template string
	given    given
	allow    map[string]edit
	stop     map[string]edit
}{
	{"approval", given{"sensitivity": "3"},
		map[string]edit{"a reader": aged(3, 0), "at less": func(q *nhi.Question) { q.Action = nhi.Write }, "with a yes": func(q *nhi.Question) {
			q.Action, q.Known.Sensitivity, q.Known.Approval = nhi.Write, 3, &nhi.Approval{ID: "apr_1"}
		}},
		map[string]edit{"without": func(q *nhi.Question) { q.Action, q.Known.Sensitivity = nhi.Delete, 3 }}},
	{"approved-networks", given{"networks": "192.0.2.0/24, 2001:db8::1"},
		map[string]edit{
			"the office": nil, "the other family": func(q *nhi.Question) { q.Address = netip.MustParseAddr("2001:db8::1") },
			"an IPv4 address in IPv6's clothes": func(q *nhi.Question) { q.Address = netip.MustParseAddr("::ffff:192.0.2.9") },
		},
		map[string]edit{
			"elsewhere": func(q *nhi.Question) { q.Address = netip.MustParseAddr("198.51.100.1") }, "nowhere": func(q *nhi.Question) { q.Address = netip.Addr{} },
			"a neighbour": func(q *nhi.Question) { q.Address = netip.MustParseAddr("2001:db8::2") },
		}},
	{"approved-networks", given{"networks": "10.0.0.0/8", "principal": string(stranger)}, map[string]edit{"somebody else": nil},
		map[string]edit{"whom it is about": func(q *nhi.Question) { q.Subject.Identity = stranger }}},
	{"approved-networks", given{"networks": "10.0.0.0/8", "resource": "environment:test"}, map[string]edit{"something else": nil},
		map[string]edit{"what it is about": func(q *nhi.Question) {
			q.Known.ResourceEnvironment.Name, q.Known.ResourceEnvironment.Class = "test", nhi.ClassUnknown
		}}},
	{"attestation-age", nil,
		map[string]edit{
			"a day at 0": aged(0, 24*time.Hour), "a day at 1": aged(1, 24*time.Hour), "an hour at 2": aged(2, time.Hour), "a quarter at 3": aged(3, 15*time.Minute),
			"a minute at 4": aged(4, time.Minute), "none at 1": func(q *nhi.Question) { unattested(q); q.Known.Sensitivity = 1 },
		},
		map[string]edit{
			"more at 1": aged(1, 24*time.Hour+1), "more at 2": aged(2, time.Hour+1), "more at 3": aged(3, 15*time.Minute+1), "more at 4": aged(4, time.Minute+1),
			"none at 2": unattested, "not bound at 4": func(q *nhi.Question) { aged(4, time.Second)(q); q.Subject.SenderBound = false },
		}},
	{"device", given{"devices": "d-1,d-2", "images": "sha256:aa"}, map[string]edit{"the device": nil},
		map[string]edit{
			"another": attested(func(a *nhi.Attestation) { a.Device.ID = "d-3" }), "another image": attested(func(a *nhi.Attestation) { a.Device.Image = "" }),
			"not attested": attested(func(a *nhi.Attestation) { a.Device.Attested = false }), "not of signed code": attested(func(a *nhi.Attestation) { a.Device.SecureBoot = false }),
			"none": attested(func(a *nhi.Attestation) { a.Device = nhi.Device{} }), "nothing proven": unattested,
		}},
	{"device", given{"attested": "false", "secure_boot": "false"},
		map[string]edit{"any device": attested(func(a *nhi.Attestation) { a.Device = nhi.Device{ID: "d-9"} })}, map[string]edit{"none": unattested}},
	{"expected-environment", given{"principal": "environment:prod", "environments": "prod,shared"}, map[string]edit{"its own": nil},
		map[string]edit{"another": func(q *nhi.Question) { q.Known.ResourceEnvironment.Name = "test" }, "unknown": func(q *nhi.Question) { q.Known.ResourceEnvironment = nhi.Environment{} }}},
	{"purpose", given{"resource": "payments/api", "purposes": "billing,refunds"}, map[string]edit{"that purpose": nil},
		map[string]edit{"another": func(q *nhi.Question) { q.Known.Purpose = "payroll" }, "none": func(q *nhi.Question) { q.Known.Purpose = "" }}},
	{"rate", given{"per_minute": "30"}, map[string]edit{"as often as that": nil}, map[string]edit{"oftener": func(q *nhi.Question) { q.Known.RateHundreds++ }}},
	{"read-only", nil, map[string]edit{"reads": nil, "lists": func(q *nhi.Question) { q.Action = nhi.List }},
		map[string]edit{"writes": func(q *nhi.Question) { q.Action = nhi.Write }, "deletes": func(q *nhi.Question) { q.Action = nhi.Delete }, "assumes": func(q *nhi.Question) { q.Action = nhi.Assume }}},
	{"time-window", given{"zone": "Europe/Berlin", "from": "09:00", "to": "18:00", "days": "mon-fri"},
		map[string]edit{"noon": nil, "the first minute, in summer": at("2026-07-01T07:00:00Z"), "the first minute, in winter": at("2026-01-07T08:00:00Z"), "the last": at("2026-07-01T15:59:59Z")},
		map[string]edit{"the minute before, in winter": at("2026-01-07T07:59:59Z"), "the minute after": at("2026-07-01T16:00:00Z"), "Saturday": at("2026-07-04T12:00:00Z")}},
	{"time-window", given{"from": "22:00", "to": "04:00", "days": "sun,fri"},
		map[string]edit{"Friday night": at("2026-07-03T23:00:00Z"), "early on Saturday": at("2026-07-04T03:59:00Z"), "early on Monday": at("2026-07-06T00:00:00Z")},
		map[string]edit{"noon": nil, "early on Friday": at("2026-07-03T03:00:00Z"), "Saturday night": at("2026-07-04T23:00:00Z"), "later on Saturday": at("2026-07-04T04:00:00Z")}},
	{"time-window", given{"from": "00:00", "to": "24:00", "days": "wed"}, map[string]edit{"that day": at("2026-07-01T23:59:59Z")}, map[string]edit{"the next": at("2026-07-02T00:00:00Z")}},
	{"vendor", given{"identities": string(payments) + "," + string(stranger), "resources": "payments/api,environment:shared", "networks": "192.0.2.0/24", "until": "2026-07-01"},
		map[string]edit{"on the last day": at("2026-07-01T23:59:59Z"), "its other identity": func(q *nhi.Question) { q.Subject.Identity = stranger },
			"somebody else altogether": func(q *nhi.Question) { q.Subject.Identity, q.Action = nhi.IdentityID("muster", "", "own"), nhi.Delete },
			"its environment":          func(q *nhi.Question) { q.Resource, q.Known.ResourceEnvironment.Name = "x", "shared" }},
		map[string]edit{"the day after": at("2026-07-02T00:00:00Z"), "to write": func(q *nhi.Question) { q.Action = nhi.Write }, "elsewhere": func(q *nhi.Question) { q.Resource = "x" },
			"from elsewhere": func(q *nhi.Question) { q.Subject.Identity, q.Address = stranger, netip.MustParseAddr("198.51.100.1") }}},
	{"workload-location", given{"providers": "aws", "accounts": "111122223333", "regions": "eu-west-1", "vpcs": "vpc-1", "clusters": "prod-1,prod-2", "namespaces": "pay", "nodes": "n-1"},
		map[string]edit{"here": nil, "in the other cluster": attested(func(a *nhi.Attestation) { a.Location.Cluster = "prod-2" })},
		map[string]edit{
			"another provider": attested(func(a *nhi.Attestation) { a.Location.Provider = "gcp" }), "another account": attested(func(a *nhi.Attestation) { a.Location.Account = "4" }),
			"another region": attested(func(a *nhi.Attestation) { a.Location.Region = "" }), "another network": attested(func(a *nhi.Attestation) { a.Location.VPC = "vpc-2" }),
			"another cluster": attested(func(a *nhi.Attestation) { a.Location.Cluster = "test-1" }), "another namespace": attested(func(a *nhi.Attestation) { a.Location.Namespace = "pays" }),
			"another node": attested(func(a *nhi.Attestation) { a.Location.Node = "" }), "nowhere that is proven": unattested,
		}},
	{"grant", given{"principal": string(payments), "resource": "payments/api", "actions": "read,delete", "purposes": "billing", "until": "2026-07-01"},
		map[string]edit{"reads": nil, "deletes": func(q *nhi.Question) { q.Action = nhi.Delete }},
		map[string]edit{"writes": func(q *nhi.Question) { q.Action = nhi.Write }, "for another purpose": func(q *nhi.Question) { q.Known.Purpose = "" },
			"too late": at("2026-07-02T00:00:00Z"), "somebody else": func(q *nhi.Question) { q.Subject.Identity = stranger }, "something else": func(q *nhi.Question) { q.Resource = "x" }}},
}

func TestEveryTemplateLetsPassAndStops(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases {
		seen[c.template] = len(c.allow) > 0 && len(c.stop) > 0
		set := load(t, c.template, c.given)
		for expected, questions := range map[bool]map[string]edit{true: c.allow, false: c.stop} {
			for name, edit := range questions {
				q := usual()
				if edit != nil {
					edit(q)
				}
				got := set.Evaluate(q)
				byTemplate := slices.ContainsFunc(got.Reasons, func(r nhi.Reason) bool { return strings.HasPrefix(r.Policy, "x") })
				if (got.Outcome == nhi.Allow) != expected || got.Errors > 0 || byTemplate != (expected == (c.template == "grant")) {
					t.Errorf("%s %v, %s: %s %v, %d errors", c.template, c.given, name, got.Outcome, got.Reasons, got.Errors)
				}
			}
		}
	}
	for _, tt := range template.All() {
		if !seen[tt.Name] {
			t.Errorf("template %s has no case that passes or none that is stopped", tt.Name)
		}
	}
}

// load renders a template into a set of its own. What a template forbids is
// asked where everything else is permitted; a grant where nothing is.
func load(t *testing.T, name string, g given) *policy.Set {
	t.Helper()
	text := render(t, name, g)
	settings := policy.Settings{RiskDeny: 100, SurpriseStepUp: 1000, SensitivityOwned: 5, SensitivityBound: 5, RequireGrant: name == "grant"}
	set, err := policy.Load(settings, map[string]string{"x.cedar": text})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return set
}

func render(t *testing.T, name string, g given) string {
	t.Helper()
	tt, err := template.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := tt.Render("x", g)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAStepUpIsWhatWasAskedFor(t *testing.T) {
	for _, c := range cases {
		if c.template == "grant" || c.template == "vendor" || c.template == "attestation-age" || c.template == "approval" {
			continue
		}
		g := given{"step_up": "bind"}
		for name, value := range c.given {
			g[name] = value
		}
		set := load(t, c.template, g)
		for name, edit := range c.stop {
			q := usual()
			if edit != nil {
				edit(q)
			}
			if got := set.Evaluate(q); got.Outcome != nhi.StepUp {
				t.Errorf("%s, %s: %s", c.template, name, got.Outcome)
			}
		}
	}
}

func TestWhatATemplateRefuses(t *testing.T) {
	for _, tt := range []struct {
		template string
		given    given
		want     string
	}{
		{"approved-networks", nil, "networks: is missing"},
		{"approved-networks", given{"networks": "10.1.2.3/8"}, "is it 10.0.0.0/8 or 10.1.2.3"},
		{"approved-networks", given{"networks": "10.0.0.0/33"}, "is no network"},
		{"approved-networks", given{"networks": "fe80::1%eth0"}, "is no network"},
		{"approved-networks", given{"networks": "10.0.0.0/8,,"}, "is no name"},
		{"approved-networks", given{"networks": "10.0.0.0/8", "principal": "payments"}, "no identity's id"},
		{"approved-networks", given{"networks": "10.0.0.0/8", "network": "x"}, `no parameter "network"; it has principal, resource, networks, step_up`},
		{"approved-networks", given{"networks": "10.0.0.0/8", "template": "x"}, "no parameter"},
		{"approved-networks", given{"networks": "10.0.0.0/8", "step_up": "ask"}, "reattest, bind, approve or narrow"},
		{"attestation-age", given{"low": "1.5s"}, "whole seconds"},
		{"device", given{"attested": "yes"}, "true or false"},
		{"grant", given{"principal": string(payments), "resource": "x", "actions": "destroy"}, "no class of action"},
		{"grant", given{"principal": string(payments), "resource": "x", "until": "tomorrow"}, "a day such as"},
		{"rate", given{"per_minute": "0"}, "above zero"},
		{"time-window", given{"from": "9:00", "to": "18:00"}, "no time of day"},
		{"time-window", given{"from": "18:00", "to": "18:00"}, "never open"},
		{"time-window", given{"from": "24:00", "to": "18:00"}, "never open"},
		{"time-window", given{"from": "09:00", "to": "18:00", "days": "mon-funday"}, "no day"},
		{"time-window", given{"from": "09:00", "to": "18:00", "zone": "Berlin"}, "no time zone"},
		{"vendor", given{"identities": "acme"}, "no identity's id"},
		{"workload-location", nil, "at least one of"},
		{"workload-location", given{"nodes": strings.Repeat("n,", 100) + "n"}, "more than 100"},
	} {
		found, err := template.ByName(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Render("x", tt.given); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v: %v, want %q", tt.template, tt.given, err, tt.want)
		}
	}
	for _, id := range []string{"", "X", "-x", `x") permit (principal, action, resource); @id("y`, strings.Repeat("x", 101)} {
		if _, err := template.All()[0].Render(id, given{"networks": "10.0.0.0/8"}); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if _, err := template.ByName("approved-network"); !errors.Is(err, nhi.ErrNotFound) || !strings.Contains(err.Error(), "approved-networks, ") {
		t.Errorf("%v", err)
	}
}

func TestNoValueOfATemplateBecomesAPolicy(t *testing.T) {
	for _, hostile := range []string{
		`a"); permit (principal, action, resource); //`, `a\"]) || true || [\"`, "a\n};permit(principal,action,resource);", `{{.id}}`, `environment:a"`, `\u{22}`, `a*/`, "a\x00b",
	} {
		for _, c := range cases {
			for name := range c.given {
				tryHostile(t, c.template, c.given, name, hostile)
			}
		}
	}
}

// tryHostile renders a template with one hostile value: it refuses, or what it
// writes is as many policies as before and just as strict.
func tryHostile(t *testing.T, name string, usualValues given, parameter, hostile string) {
	t.Helper()
	found, err := template.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	g := given{}
	for k, v := range usualValues {
		g[k] = v
	}
	g[parameter] = strings.ReplaceAll(hostile, ",", ";")
	text, err := found.Render("x", g)
	if err != nil {
		return
	}
	settings := policy.DefaultSettings()
	before, err := policy.Load(settings, map[string]string{"x.cedar": render(t, name, usualValues)})
	if err != nil {
		t.Fatal(err)
	}
	after, err := policy.Load(settings, map[string]string{"x.cedar": text})
	if err != nil {
		if !strings.Contains(err.Error(), "no time zone") {
			t.Errorf("%s with %s %q does not load: %v\n%s", name, parameter, hostile, err, text)
		}
		return
	}
	if before.Len() != after.Len() {
		t.Errorf("%s with %s %q is %d policies more:\n%s", name, parameter, hostile, after.Len()-before.Len(), text)
	}
}

func FuzzRender(f *testing.F) {
	f.Add(uint8(0), "networks", "10.0.0.0/8", "principal", "environment:prod")
	f.Add(uint8(8), "from", "22:00", "to", "04:00")
	f.Fuzz(func(t *testing.T, n uint8, name1, value1, name2, value2 string) {
		all := template.All()
		text, err := all[int(n)%len(all)].Render("x", given{name1: value1, name2: value2})
		if err != nil {
			return
		}
		set, err := policy.Load(policy.DefaultSettings(), map[string]string{"x.cedar": text})
		if err != nil {
			if strings.Contains(err.Error(), "no time zone") {
				return
			}
			t.Fatalf("%v\n%s", err, text)
		}
		permits := 0
		for _, p := range set.Policies() {
			if !p.Guard && p.Effect == "permit" {
				permits++
			}
		}
		if want := all[int(n)%len(all)].Name == "grant"; permits > 1 || permits == 1 && !want {
			t.Fatalf("%d permits:\n%s", permits, text)
		}
	})
}
