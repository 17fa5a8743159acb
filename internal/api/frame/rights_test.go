package frame

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/access"
)

var update = flag.Bool("update", false, "write the table of routes into the documentation")

const page = "../../../docs/reference/roles.md"

// table is the table of routes as the documentation shows it.
func table() string {
	var b strings.Builder
	b.WriteString("| route | right | where |\n|---|---|---|\n")
	for _, route := range slices.SortedFunc(maps.Keys(rules), func(a, b string) int {
		_, pathA, _ := strings.Cut(a, " ")
		_, pathB, _ := strings.Cut(b, " ")
		return strings.Compare(pathA+a, pathB+b)
	}) {
		r := rules[route]
		right, where := string(r.right), [...]string{whole: "everywhere", narrowed: "in part", one: "this one"}[r.reach]
		switch {
		case r.open:
			right, where = "none", ""
		case r.own:
			right, where = "any", ""
		case r.named:
			right += ", as a source"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", route, right, where)
	}
	return b.String()
}

func TestTheDocumentedRolesAreTheRoles(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range access.AllRoles {
		row := fmt.Sprintf("| `%s` |", role)
		for _, right := range access.AllRights {
			if slices.Contains(role.Rights(), right) {
				row += " yes"
			}
			row += " |"
		}
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("%s does not say %s", page, row)
		}
	}
}

func TestTheDocumentedRoutesAreTheRoutes(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(text), "| route |")
	if _, rest, ok := strings.Cut(after, "\n\n"); ok {
		after = "\n" + rest
	} else {
		after = ""
	}
	if want := before + table() + after; *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is behind the rules: go test ./internal/api/frame -update", page)
	}
}
