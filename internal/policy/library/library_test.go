package library

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// render writes a forbid about one resource, and refuses what has none.
func render(template, id string, with map[string]string) (string, error) {
	if template != "keep" {
		return "", fmt.Errorf("there is no template %q", template)
	}
	if with["resource"] == "" {
		return "", errors.New("parameter resource is missing")
	}
	return fmt.Sprintf("@id(%q)\nforbid (principal, action == Action::\"delete\",\n  resource == Resource::%q)%s;\n", id, with["resource"], with["more"]), nil
}

const grants = `# who may keep what
grants:
  - id: one
    template: keep
    with: {resource: ledger}
  - template: keep
    id: two
    with:
      resource: "2027-01-31"
`

func TestGrantsAreWrittenBesideWhatTheyComeFrom(t *testing.T) {
	l, problems := Read(map[string]string{
		"policies/a.cedar":   `@id("a") forbid (principal, action == Action::"admin", resource == Resource::"x");`,
		"grants/team/b.yaml": grants, "grants/none.yaml": "grants: []\n", "tests/t.yaml": "tests: []\n",
	}, render)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := "// Written from grants/team/b.yaml; change that file.\n" +
		"\n@id(\"one\")\nforbid (principal, action == Action::\"delete\",\n  resource == Resource::\"ledger\");\n" +
		"\n@id(\"two\")\nforbid (principal, action == Action::\"delete\",\n  resource == Resource::\"2027-01-31\");\n"
	if diff := cmp.Diff(want, l.Files()["generated/team/b.cedar"]); diff != "" {
		t.Errorf("generated (-want +got):\n%s", diff)
	}
	if problems := l.Check(); len(problems) > 0 {
		t.Errorf("Check: %v", problems)
	}
	if got := len(l.Policies()); got != 2 {
		t.Errorf("%d files of policies, want 2: %v", got, l.Policies())
	}
	if got := l.TestFiles(); len(got) != 1 {
		t.Errorf("tests: %v", got)
	}
	// What was read is read again, whether or not the generated files come along.
	for _, files := range []map[string]string{l.Files(), Source(l.Files())} {
		again, problems := Read(files, render)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if diff := cmp.Diff(l.Files(), again.Files()); diff != "" {
			t.Errorf("read again (-want +got):\n%s", diff)
		}
	}
}

func TestAProblemNamesTheLineThatAPersonWrote(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a template that does not exist", map[string]string{"grants/a.yaml": "grants:\n  - id: one\n    template: nope\n"}, "grants/a.yaml:2"},
		{"a parameter that is missing", map[string]string{"grants/a.yaml": "grants:\n  - id: one\n    template: keep\n    with: {resource: x}\n\n  - id: two\n    template: keep\n"}, "grants/a.yaml:6"},
		{"a key that nobody knows", map[string]string{"grants/a.yaml": "grants:\n  - id: one\n    tempalte: keep\n"}, "grants/a.yaml:3"},
		{"a list where an object is wanted", map[string]string{"grants/a.yaml": "- id: one\n"}, "grants/a.yaml:1"},
		{"text that the engine refuses", map[string]string{"grants/a.yaml": grants + "  - id: three\n    template: keep\n    with: {resource: x, more: ' when { context.nope }'}\n"}, "grants/a.yaml:10"},
		{"an id twice in one file", map[string]string{"grants/a.yaml": "grants:\n  - {id: one, template: keep, with: {resource: x}}\n  - {id: one, template: keep, with: {resource: y}}\n"}, "grants/a.yaml:3"},
		{"an id twice over two folders", map[string]string{"grants/a.yaml": grants, "policies/z.cedar": "// first\n@id(\"two\") forbid (principal, action, resource == Resource::\"x\");"}, "policies/z.cedar:2"},
		{"no id", map[string]string{"policies/z.cedar": "\n\nforbid (principal, action, resource == Resource::\"x\");"}, "policies/z.cedar:3"},
		{"a generated file that was changed", map[string]string{"grants/a.yaml": grants, "generated/a.cedar": "// nothing"}, "generated/a.cedar"},
		{"a generated file of nothing", map[string]string{"generated/a.cedar": `@id("x") permit (principal, action, resource);`}, "generated/a.cedar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, problems := Read(tt.files, render)
			if len(problems) == 0 {
				problems = l.Check()
			}
			if len(problems) == 0 {
				t.Fatal("nothing to object to")
			}
			if got := problems[0].String(); !strings.HasPrefix(got, tt.want+":") {
				t.Errorf("got %s, want it at %s", got, tt.want)
			}
			if problems[0].Warning {
				t.Errorf("only a warning: %s", problems[0])
			}
		})
	}
}

func TestTooManyGrants(t *testing.T) {
	_, problems := Read(map[string]string{"grants/a.yaml": "grants:\n" + strings.Repeat("  - {id: a}\n", MaxGrants+1)}, render)
	if len(problems) != 1 || !strings.Contains(problems[0].Reason, "at most") {
		t.Errorf("problems: %v", problems)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(grants)
	f.Add("grants: [{id: a, template: keep, with: {resource: \"x\\n\"}}]")
	f.Fuzz(func(t *testing.T, text string) {
		l, problems := Read(map[string]string{"grants/a.yaml": text}, render)
		if (l == nil) != (len(problems) > 0) {
			t.Fatalf("a library %v and problems %v", l != nil, problems)
		}
		if l == nil {
			return
		}
		if again, problems := Read(l.Files(), render); again == nil {
			t.Errorf("what was written is refused: %v", problems)
		}
	})
}
