package format

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/template"
)

// meaning is what a text says, without where it stands.
func meaning(t testing.TB, text string) []byte {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes("x", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var out bytes.Buffer
	for _, p := range list {
		b, err := p.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(b, '\n'))
	}
	return out.Bytes()
}

// format formats a text and wants it to mean what it meant, and to stay as it
// is when it is formatted again.
func format(t testing.TB, text string) string {
	t.Helper()
	out, err := Text("x.cedar", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !bytes.Equal(meaning(t, text), meaning(t, out)) {
		t.Fatalf("the meaning changed:\n%s\nbecame\n%s", text, out)
	}
	again, err := Text("x.cedar", out)
	if err != nil || again != out {
		t.Fatalf("formatted twice (%v):\n%s\nbecame\n%s\nof\n%s", err, out, again, text)
	}
	return out
}

func TestForm(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", " \n\n", ""},
		{"only a comment", "\n // about \n", "// about\n"},
		{
			"one line", `@id( "a" )@text("b")permit(principal,action==Action::"read",resource)when{context.risk>3&&!(principal  .  owned)};`,
			"@id(\"a\")\n@text(\"b\")\npermit (principal, action == Action::\"read\", resource)\nwhen { context.risk > 3 && !(principal.owned) };\n",
		},
		{
			"signs and operations", `permit(principal,action,resource)unless{-1- -context.a+[1,-2].containsAll([3]).foo==- - 3};`,
			"permit (principal, action, resource)\nunless { -1 - -context.a + [1, -2].containsAll([3]).foo == --3 };\n",
		},
		{
			"brackets", `permit(principal is Role in Identity::"a",action in[Action::"read",Action::"list"],resource)when{{a:{},"b":[]}["a"]==context . zones [ "UTC" ] &&ip ( "10.0.0.0/8" ).isIpv4()};`,
			"permit (principal is Role in Identity::\"a\", action in [Action::\"read\", Action::\"list\"], resource)\n" +
				"when { { a: {}, \"b\": [] }[\"a\"] == context.zones[\"UTC\"] && ip(\"10.0.0.0/8\").isIpv4() };\n",
		},
		{
			"what is too long is broken where it is joined most loosely",
			`forbid(principal,action,resource)when{(principal.class=="production"&&resource.class=="nonproduction")||(principal.class=="nonproduction"&&resource.class=="production")};`,
			`forbid (principal, action, resource)
when {
  (principal.class == "production" && resource.class == "nonproduction") ||
  (principal.class == "nonproduction" && resource.class == "production")
};
`,
		},
		{
			"and then inside", `forbid(principal,action,resource)when{` + strings.Repeat(`context.operation == "GET /a/rather/long/path" && `, 3) + `(` + strings.Repeat(`context.operation == "GET /a/rather/long/path" || `, 3) + `true)||context.newAgent};`,
			`forbid (principal, action, resource)
when {
  context.operation == "GET /a/rather/long/path" &&
    context.operation == "GET /a/rather/long/path" &&
    context.operation == "GET /a/rather/long/path" &&
    (
      context.operation == "GET /a/rather/long/path" ||
      context.operation == "GET /a/rather/long/path" ||
      context.operation == "GET /a/rather/long/path" ||
      true
    ) ||
  context.newAgent
};
`,
		},
		{
			"an if, and a list", `permit(principal,action in [` + strings.Repeat(`Action::"read",`, 6) + `Action::"list"],resource)when{if context.agent=="curl, or something that is much alike"then principal in Identity::"nhi_v6w2kopezgzwfpmsgulnrizwq4"else false};`,
			`permit (
  principal,
  action in [
    Action::"read",
    Action::"read",
    Action::"read",
    Action::"read",
    Action::"read",
    Action::"read",
    Action::"list"
  ],
  resource
)
when {
  if context.agent == "curl, or something that is much alike"
  then principal in Identity::"nhi_v6w2kopezgzwfpmsgulnrizwq4"
  else false
};
`,
		},
		{
			"comments stay where they are",
			`// The file.

// The policy,
// in two lines.

@id("a") // its name
/* over
   lines */ permit ( // who
principal, action,
// what
resource) when { // first
context.a || // one
  // alone
  context.b /* two */ && context.c
  // last
} // after
unless{context.d // d
};// end

// Of nothing.
// At all.`,
			`// The file.

// The policy,
// in two lines.

@id("a") // its name
/* over
   lines */
permit ( // who
  principal,
  action,
  // what
  resource
)
when { // first
  context.a || // one
  // alone
  context.b /* two */
    && context.c
  // last
} // after
unless {
  context.d // d
}; // end

// Of nothing.
// At all.
`,
		},
		{
			"one empty line between policies", "@id(\"a\") permit (principal, action, resource); @id(\"b\") permit (principal, action, resource);\n\n\n\n// c\npermit (principal, action, resource);\n",
			"@id(\"a\")\npermit (principal, action, resource);\n\n@id(\"b\")\npermit (principal, action, resource);\n\n// c\npermit (principal, action, resource);\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, format(t, tt.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoLineIsLongerThanItHasToBe(t *testing.T) {
	text := `@id("x") forbid (principal in Identity::"nhi_v6w2kopezgzwfpmsgulnrizwq4", action in [Action::"read", Action::"list", Action::"write"], resource == Resource::"ledger/api") unless { ["office", "warehouse", "the other office"].contains(context.network) && context has address && (context.address.isInRange(ip("192.0.2.0/24")) || context.address.isInRange(ip("198.51.100.0/24"))) };`
	for line := range strings.SplitSeq(format(t, text), "\n") {
		if len(line) > Width {
			t.Errorf("%d bytes: %s", len(line), line)
		}
	}
}

func TestWhatIsNoCedarIsRefusedWithItsPlace(t *testing.T) {
	for _, text := range []string{
		"permit (principal, action, resource)\nwhen { ", "permit", `@id("a`, "/* not closed", strings.Repeat("(", 100), "permit (principal, action, resource) when { \x00 };", "\xff",
	} {
		out, err := Text("x.cedar", text)
		var bad policy.Problems
		if out != "" || !errors.Is(err, nhi.ErrInvalid) || !errors.As(err, &bad) || bad[0].File != "x.cedar" {
			t.Errorf("%.40q: %q, %v", text, out, err)
		}
	}
}

func TestWhatWeWriteOurselvesKeepsItsMeaning(t *testing.T) {
	set, err := policy.Load(policy.DefaultSettings(), nil)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, text := range set.Files() {
		if got, want := strings.Count(format(t, text), "//"), strings.Count(text, "//"); got != want {
			t.Errorf("%d comments of %d are left", got, want)
		}
		count++
	}
	given := map[string]string{
		"principal": "nhi_v6w2kopezgzwfpmsgulnrizwq4", "resource": "ledger/api", "networks": "192.0.2.0/24, 198.51.100.0/24", "environment": "prod", "from": "22:00", "to": "06:00",
		"until": "2027-01-31", "purposes": "billing, support", "purpose": "billing", "cluster": "c", "namespace": "pay", "provider": "aws", "account": "1", "per_minute": "60", "environments": "prod, test",
		"identities": "nhi_v6w2kopezgzwfpmsgulnrizwq4", "clusters": "c, d", "namespaces": "pay", "resources": "ledger/api",
	}
	for _, tpl := range template.All() {
		values := map[string]string{}
		for _, p := range tpl.Parameters {
			if v, ok := given[p.Name]; ok {
				values[p.Name] = v
			}
		}
		text, err := tpl.Render("x", values)
		if err != nil {
			t.Fatalf("%s: %v", tpl.Name, err)
		}
		format(t, text)
		count++
	}
	if count < 10 {
		t.Errorf("only %d texts were formatted", count)
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"", "//", "// a\n\n//b", "permit(principal,action,resource);", `@a permit(principal,action,resource)when{/**/-/**/-1//
		==if true then{a:1}.a else[][0]};/*x*/`, "/*\r\n*/permit(principal,action,resource,);//\r",
		`forbid(principal is A::B in C::"d",action in[],resource)when{context has a.b&&context.c like"*\*"};`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Text("x.cedar", text); err != nil {
			if !errors.Is(err, nhi.ErrInvalid) {
				t.Fatalf("an error of no kind: %v", err)
			}
			if len(policy.Syntax("x.cedar", text)) == 0 {
				t.Fatalf("%v, of what is Cedar: %q", err, text)
			}
			return
		}
		format(t, text)
	})
}
