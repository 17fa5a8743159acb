package list

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/api/library"
	"github.com/muster-id/muster/internal/filter"
)

var update = flag.Bool("update", false, "write docs/reference/filter.md anew")

const (
	page  = "../../../docs/reference/filter.md"
	begin = "<!-- the fields, from internal/filter and internal/api/list -->\n"
)

// table is the part of the page that is made from the languages.
func table() string {
	var b strings.Builder
	b.WriteString(begin)
	kinds := map[filter.Kind]string{filter.Text: "text", filter.Enum: "word", filter.Number: "number", filter.Time: "time", filter.Flag: "true or false"}
	for _, l := range append(slices.Clone(Languages), library.Snapshots.Language, library.Policies.Language) {
		fmt.Fprintf(&b, "\n## %s\n\nOrdered by `%s` unless asked otherwise. A bare word is searched for in %s.\n\n| field | holds | means | order |\n|---|---|---|---|\n",
			strings.ToUpper(l.List[:1])+l.List[1:], l.Order, l.Bare)
		for _, f := range l.Fields {
			holds, order := kinds[f.Kind], ""
			if f.Kind == filter.Enum {
				holds = strings.Join(f.Words, ", ")
			}
			if f.Order {
				order = "yes"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, holds, f.Doc, order)
		}
	}
	return b.String()
}

func TestTheReferenceNamesEveryField(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("%s has no line %q", page, begin)
	}
	want := head + table()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s is not what the fields say: go test ./internal/api/list -update", page)
	}
}
