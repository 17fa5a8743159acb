package suite

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

const policies = `@id("reports-only-read")
@text("The report job only reads.")
forbid (principal in Identity::"nhi_reports", action, resource)
unless { action == Action::"read" };

@id("fresh")
@stepup("reattest")
forbid (principal, action, resource)
when { resource.sensitivity >= 2 }
unless { context has attestation && context.attestation.age <= 900 };

@id("nobody-meets-it")
forbid (principal, action, resource) when { context.country == "XX" };
`

func load(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load(policy.DefaultSettings(), map[string]string{"x.cedar": text})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func parse(t testing.TB, text string) *Suite {
	t.Helper()
	s, err := Parse("tests/x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const cases = `defaults:
  principal: {id: nhi_reports, kind: ci-job}
tests:
  - name: the report job reads the ledger
    resource: {id: ledger/api, sensitivity: 2}
    context: {attestation: {age: 5m}}
    expect: allow
    policies: [base-permit]
    table:
      - {name: and never writes, action: write, expect: deny, policies: [reports-only-read]}
      - name: an old attestation is renewed
        context: {attestation: {age: 15m1s}}
        expect: step-up(reattest)
        policies: [fresh]
      - {context: {country: DE}}
  - name: somebody unknown
    principal: {known: false}
    expect: deny
    policies: [unknown-subject]
  - name: a static key from a new network
    credential: {}
    context: {new_network: true}
    expect: step-up
`

func TestCasesSayWhatPoliciesMustAnswer(t *testing.T) {
	s := parse(t, cases)
	var names []string
	for _, c := range s.Cases {
		names = append(names, fmt.Sprintf("%d %s = %s", c.Line, c.Name, c.Expect))
	}
	want := []string{
		"4 the report job reads the ledger = allow",
		"10 the report job reads the ledger: and never writes = deny",
		"11 the report job reads the ledger: an old attestation is renewed = step-up(reattest)",
		"15 the report job reads the ledger: row 3 = allow",
		"16 somebody unknown = deny",
		"20 a static key from a new network = step-up",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Fatalf("cases (-want +got):\n%s", diff)
	}
	report, err := Run(t.Context(), load(t, policies), s)
	if err != nil || report.Failed != 0 || report.Passed != 6 || report.Cases != 6 {
		t.Fatalf("%+v, %v", report, err)
	}
	missed := Coverage{Policies: 3, Determined: 2, Missed: []Missed{{"nobody-meets-it", "x.cedar:12"}}}
	if diff := cmp.Diff(missed, report.Coverage); diff != "" {
		t.Errorf("coverage (-want +got):\n%s", diff)
	}
}

func TestAFailureSaysWhatHappenedAndWhy(t *testing.T) {
	s := parse(t, `tests:
  - name: reports write
    principal: {id: nhi_reports}
    action: write
    expect: allow
  - name: somebody is denied for another reason
    principal: {known: false}
    expect: deny
    policies: [fresh, unknown-subject]
`)
	report, err := Run(t.Context(), load(t, policies), s)
	if err != nil || report.Failed != 2 || report.Passed != 0 || len(report.Failures) != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	first, second := report.Failures[0], report.Failures[1]
	if first.String() != "tests/x.yaml:2: reports write: want allow, got deny" || first.Want != "allow" || first.Got != "deny" {
		t.Errorf("%s", first)
	}
	if why := strings.Join(first.Why, "\n"); !strings.Contains(why, `reports-only-read (x.cedar:1): forbid matches: The report job only reads.`) ||
		!strings.Contains(why, `unless action == Action::"read": false; action is Action::"write"`) {
		t.Errorf("why:\n%s", why)
	}
	if second.Reason != "deny as expected, but fresh did not determine it" {
		t.Errorf("%s", second)
	}
}

func TestAFailingCaseOfManyIsCountedAndNotEveryOneIsShown(t *testing.T) {
	var b strings.Builder
	b.WriteString("tests:\n  - name: many\n    table:\n")
	for i := range 300 {
		fmt.Fprintf(&b, "      - {name: n%d, context: {rate: %d}, expect: deny}\n", i, i)
	}
	report, err := Run(t.Context(), load(t, policies), parse(t, b.String()))
	if err != nil || report.Failed != 300 || len(report.Failures) != maxFailures {
		t.Fatalf("%d failed, %d shown, %v", report.Failed, len(report.Failures), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, load(t, policies), parse(t, b.String())); !errors.Is(err, context.Canceled) {
		t.Errorf("an end of the context: %v", err)
	}
}

func TestWhatIsWrongInAFileIsSaidWithItsLine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a misspelt fact", "tests:\n  - name: a\n    context: {new_netwrok: true}\n    expect: deny\n", `x.yaml:3:`},
		{"a misspelt outcome", "tests:\n  - name: a\n    expect: allowed\n", `x.yaml:2:1: test "a": expect "allowed": want allow, deny, step-up or step-up(bind); did you mean allow?`},
		{"a kind of step-up", "tests:\n  - name: a\n    expect: step-up(bnd)\n", `did you mean bind?`},
		{"a kind of a denial", "tests:\n  - name: a\n    expect: deny(bind)\n", `only step-up has kinds`},
		{"no expectation", "tests:\n  - name: a\n    action: read\n", `test "a" expects nothing`},
		{"a row without one", "tests:\n  - name: a\n    table:\n      - {action: read}\n", `x.yaml:4:1: test "a: row 1": expect "": want`},
		{"no name", "tests:\n  - expect: deny\n", `x.yaml:2:1: a test has no name`},
		{"no tests", "defaults: {action: read}\n", `holds no tests`},
		{"nothing", "", `holds no tests`},
		{"a name twice", "tests:\n  - {name: a, expect: deny}\n  - {name: a, expect: deny}\n", `x.yaml:3:1: the name "a" is used in line 2`},
		{"an action", "tests:\n  - {name: a, action: reed, expect: deny}\n", `action "reed": want read`},
		{"a kind", "tests:\n  - {name: a, principal: {kind: robot}, expect: deny}\n", `principal.kind "robot"`},
		{"a class", "tests:\n  - {name: a, resource: {class: prod}, expect: deny}\n", `resource.class "prod"`},
		{"a sensitivity", "tests:\n  - {name: a, resource: {sensitivity: 5}, expect: deny}\n", `resource.sensitivity is 5, want 0 to 4`},
		{"an address", "tests:\n  - {name: a, context: {address: here}, expect: deny}\n", `context.address "here"`},
		{"an age below zero", "tests:\n  - {name: a, context: {attestation: {age: -1s}}, expect: deny}\n", `age is below`},
		{"wrong defaults", "defaults: {action: reed}\ntests:\n  - {name: a, expect: deny}\n", `action "reed"`},
		{"a control character", "tests:\n  - {name: \"a\\u001b[2J\", expect: deny}\n", `name holds a control character`},
		{"a long text", "tests:\n  - {name: a, resource: {id: " + strings.Repeat("x", 600) + "}, expect: deny}\n", `resource.id is over 512 bytes`},
		{"a long list", "tests:\n  - {name: a, context: {actors: [" + strings.Repeat("x,", 70) + "x]}, expect: deny}\n", `context.actors has over 64`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(tt.text))
			if !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	if _, err := Parse("x.yaml", make([]byte, MaxFileBytes+1)); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("a large file: %v", err)
	}
	var b strings.Builder
	b.WriteString("tests:\n  - name: m\n    table:\n")
	for range MaxCases + 1 {
		b.WriteString("    - {expect: deny}\n")
	}
	if _, err := Parse("x.yaml", []byte(b.String())); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), "over 20000 cases") {
		t.Errorf("many cases: %v", err)
	}
}

// TestEveryAttributeThatPoliciesReadCanBeSaid gives every fact a value and
// wants a policy that asks for just that value to see it.
func TestEveryAttributeThatPoliciesReadCanBeSaid(t *testing.T) {
	s := parse(t, `tests:
  - name: everything
    principal: {id: nhi_1, known: true, kind: agent, state: dormant, owned: false, risk: 7, environment: prod, class: production}
    credential: {id: crd_1, known: true, state: narrowed, pinned: true, consumer_proven: true, expired: true, revoked: true}
    action: assume
    resource: {id: r, labelled: false, sensitivity: 3, environment: test, class: nonproduction, service: s3, region: eu, jurisdiction: EU}
    context:
      assurance: 2
      method: oidc
      sender_bound: true
      asserted: true
      new_network: true
      new_country: true
      new_action: true
      new_agent: true
      interactive: true
      surprise: 12
      rate: 34
      country: DE
      asn: 3320
      network: Telekom
      agent: curl
      operation: GET /x
      point: nhi_p
      address: 192.0.2.7
      at: 2026-07-05T22:30:00Z
      attestation:
        method: tpm
        age: 61s
        level: 3
        selectors: ["branch:main"]
        location: {provider: aws, account: "1", region: eu, vpc: v, cluster: c, namespace: n, node: o}
        device: {id: d, attested: true, secure_boot: true, image: "sha256:x"}
      approval: {id: apr_9, by: [per_1, per_2], left: 90s}
      purpose: billing
      actors: [nhi_8]
    expect: deny
    policies: [seen]
`)
	conditions := []string{
		`principal in Identity::"nhi_1"`, `principal is Agent`, `principal.known`, `principal.state == "dormant"`, `!principal.owned`, `principal.risk == 7`,
		`principal.environment == "prod"`, `principal.class == "production"`, `principal in Environment::"prod"`, `resource in Environment::"test"`,
		`context.credential == Credential::"crd_1"`, `context.credential.known`, `context.credential.state == "narrowed"`, `context.credential.pinned`,
		`context.credential.consumerProven`, `context.credential.expired`, `context.credential.revoked`, `action == Action::"assume"`,
		`resource == Resource::"r"`, `!resource.labelled`, `resource.sensitivity == 3`, `resource.environment == "test"`, `resource.class == "nonproduction"`,
		`resource.service == "s3"`, `resource.region == "eu"`, `resource.jurisdiction == "EU"`, `context.assurance == 2`, `context.method == "oidc"`,
		`context.senderBound`, `context.asserted`, `context.newNetwork`, `context.newCountry`, `context.newAction`, `context.newAgent`, `context.interactive`,
		`context.surprise == 12`, `context.rate == 34`, `context.country == "DE"`, `context.asn == 3320`, `context.network == "Telekom"`, `context.agent == "curl"`,
		`context.operation == "GET /x"`, `context.point == "nhi_p"`, `context has address && context.address.isInRange(ip("192.0.2.7/32"))`,
		`context.now == datetime("2026-07-05T22:30:00Z")`, `context.zones["Europe/Berlin"].weekday == 1`,
		`context has attestation && context.attestation.method == "tpm" && context.attestation.age == 61 && context.attestation.level == 3`,
		`context has attestation && context.attestation.selectors.contains("branch:main")`,
		`context.location has provider && context.location.provider == "aws" && context.location has account && context.location.account == "1"`,
		`context.location has vpc && context.location.vpc == "v" && context.location has cluster && context.location.cluster == "c"`,
		`context.location has namespace && context.location.namespace == "n" && context.location has node && context.location.node == "o"`,
		`context.location has region && context.location.region == "eu"`,
		`context has device && context.device.id == "d" && context.device.attested && context.device.secureBoot && context.device.image == "sha256:x"`,
		`context has approval && context.approval.id == "apr_9" && context.approval.people == 2 && context.approval.by.contains("per_2") && context.approval.left == 90`,
		`context has purpose && context.purpose == "billing"`, `context.delegation.depth == 1 && context.delegation.actors.contains(Identity::"nhi_8")`,
	}
	for _, c := range conditions {
		report, err := Run(t.Context(), load(t, `@id("seen") forbid (principal, action, resource) when { `+c+` };`), s)
		if err != nil || report.Failed != 0 {
			t.Errorf("%s: %+v, %v", c, report.Failures, err)
		}
	}
}

// TestEveryFactChangesTheQuestion keeps a fact from being read and forgotten.
func TestEveryFactChangesTheQuestion(t *testing.T) {
	var walk func(path string, typ reflect.Type, make func(reflect.Value) Facts)
	count := 0
	before := (&Facts{Credential: &Credential{}, Context: &Context{Attestation: &Attestation{Location: &Location{}, Device: &Device{}}, Approval: &Approval{}}}).question()
	walk = func(path string, typ reflect.Type, set func(reflect.Value) Facts) {
		for i := range typ.NumField() {
			field := typ.Field(i)
			name := path + "." + field.Tag.Get("yaml")
			outer := func(v reflect.Value) Facts {
				s := reflect.New(typ)
				s.Elem().Field(i).Set(v)
				return set(s)
			}
			inner := field.Type.Elem()
			if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() {
				walk(name, inner, outer)
				continue
			}
			v := reflect.New(inner)
			switch p := v.Interface().(type) {
			case *string:
				*p = "192.0.2.99"
			case *int:
				*p = 3
			case *time.Duration:
				*p = time.Second
			case *time.Time:
				*p = time.Unix(1, 0)
			case *[]string:
				*p = []string{"x"}
			}
			count++
			yes := v
			other := reflect.New(inner)
			if b, ok := other.Interface().(*bool); ok {
				*b = true
			} else {
				other = yes
			}
			full := Facts{Credential: &Credential{}, Context: &Context{Attestation: &Attestation{Location: &Location{}, Device: &Device{}}, Approval: &Approval{}}}
			a, b := full.with(outer(yes)), full.with(outer(other))
			if cmp.Equal(before, a.question(), cmp.Comparer(equalAddr)) && cmp.Equal(before, b.question(), cmp.Comparer(equalAddr)) {
				t.Errorf("%s changes nothing", name)
			}
		}
	}
	walk("", reflect.TypeFor[Facts](), func(v reflect.Value) Facts { return v.Elem().Interface().(Facts) })
	if count < 50 {
		t.Errorf("only %d facts were tried", count)
	}
}

func equalAddr(a, b netip.Addr) bool { return a == b }

func FuzzParse(f *testing.F) {
	f.Add(cases)
	f.Add("tests:\n  - {name: a, context: {address: '::1', at: 2026-01-01T00:00:00Z}, expect: step-up(bind)}\n")
	f.Add("tests: [{name: a, table: [{expect: deny}]}]")
	set := load(f, policies)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("x.yaml", []byte(text))
		if err != nil {
			if !errors.Is(err, nhi.ErrInvalid) && !errors.Is(err, nhi.ErrTooLarge) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if len(s.Cases) == 0 {
			t.Fatal("no cases and no error")
		}
		report, err := Run(t.Context(), set, s)
		if err != nil || report.Passed+report.Failed != len(s.Cases) {
			t.Fatalf("%+v, %v", report, err)
		}
	})
}
