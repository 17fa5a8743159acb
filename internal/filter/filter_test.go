package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

var now = time.Date(2026, 3, 10, 12, 30, 0, 0, time.UTC)

func TestFiltersAreReadAsTheyAreMeant(t *testing.T) {
	day := func(d int) int64 { return now.AddDate(0, 0, d).UnixMicro() }
	type term struct {
		field  string
		op     Op
		not    bool
		values []Value
	}
	for _, tt := range []struct {
		text string
		want []term
	}{
		{"", nil},
		{"  \t ", nil},
		{"kind:iam-user", []term{{"kind", Is, false, []Value{{Text: "iam-user"}}}}},
		{"KIND=a,b", []term{{"kind", Is, false, []Value{{Text: "a"}, {Text: "b"}}}}},
		{"-owner:*", []term{{"owner", Present, true, nil}}},
		{"owner:team:payments", []term{{"owner", Is, false, []Value{{Text: "team:payments"}}}}},
		{`name:"a \"b\", c*"`, []term{{"name", Is, false, []Value{{Text: `a "b", c*`}}}}},
		{`name:""`, []term{{"name", Is, false, []Value{{}}}}},
		{"name:pay-*,x", []term{{"name", Is, false, []Value{{Text: "pay-", Prefix: true}, {Text: "x"}}}}},
		{"risk>=50 risk<90", []term{{"risk", GreaterEqual, false, []Value{{Number: 50}}}, {"risk", Less, false, []Value{{Number: 90}}}}},
		{"last_used<30d", []term{{"last_used", Less, false, []Value{{Number: day(-30)}}}}},
		{"created>+2d", []term{{"created", Greater, false, []Value{{Number: day(2)}}}}},
		{"created>=2026-03-01", []term{{"created", GreaterEqual, false, []Value{{Number: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()}}}}},
		{"shadow:true", []term{{"shadow", Is, false, []Value{{Number: 1}}}}},
		{"state:Active,RETIRED", []term{{"state", Is, false, []Value{{Text: "active"}, {Text: "retired"}}}}},
		{"pay worker", []term{{"", Bare, false, []Value{{Text: "pay"}}}, {"", Bare, false, []Value{{Text: "worker"}}}}},
		{"-worker", []term{{"", Bare, true, []Value{{Text: "worker"}}}}},
		{"arn:aws:iam::123456789012:user/x", []term{{"", Bare, false, []Value{{Text: "arn:aws:iam::123456789012:user/x"}}}}},
		{"spiffe://prod/x", []term{{"", Bare, false, []Value{{Text: "spiffe://prod/x"}}}}},
		{`"kind:x"`, []term{{"", Bare, false, []Value{{Text: "kind:x"}}}}},
	} {
		e, err := Identities.Parse(tt.text, now)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		var got []term
		for _, g := range e.Terms {
			got = append(got, term{g.Field.Name, g.Op, g.Not, g.Values})
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(term{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.text, diff)
		}
	}
}

func TestAWrongFilterIsRefusedWithTheColumnAndTheCure(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"kidn:iam-user", `column 1: identities have no field "kidn"; did you mean kind?`},
		{"risk>1 colour:red", `column 8: identities have no field "colour"; there are id, name, kind`},
		{"risk>high", "column 6: risk: want a whole number"},
		{"kind<3", "column 1: kind cannot be compared"},
		{"state:alive", "column 7: state: want one of active"},
		{"shadow:perhaps", "column 8: shadow: want true or false"},
		{"last_used<soon", "column 11: last_used: want an age"},
		{"last_used<99999999y", "want an age"},
		{"name:", "column 6: name: the value is missing"},
		{"name:a,,b", "column 8: name: the value is missing"},
		{"name:a,*", "column 8: * stands alone"},
		{"risk>1,2", "column 7: only one value"},
		{"name:a*b*", "a star stands at the end"},
		{`name:"open`, "column 6: the quote does not end"},
		{`name:"a"b`, "column 9: a blank is missing"},
		{`ab"c`, "column 3: a quote inside a word"},
		{"-", "column 1: a term without a word"},
		{"-*", "a term without a word"},
		{"größe risk>x", "column 12: risk"},
		{strings.Repeat("x", MaxLength+1), "longer than"},
		{strings.Repeat("x ", MaxTerms+1), "more than 32 terms"},
		{"name:" + strings.Repeat("a,", MaxValues) + "a", "more than 64 values"},
		{"a\x00b", "not text"},
		{"a\xffb", "not text"},
	} {
		_, err := Identities.Parse(tt.text, now)
		if !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: err = %v, want it to say %q", tt.text, err, tt.want)
		}
	}
}

func TestOrdersAreReadAndRefused(t *testing.T) {
	for text, want := range map[string]string{"": "name", "-risk": "-risk", "created": "created"} {
		if got, err := Identities.ParseOrder(text); err != nil || got.String() != want {
			t.Errorf("%q = %v, %v; want %s", text, got, err, want)
		}
	}
	for _, bad := range []string{"kind", "--risk", "risk desc", "id; DROP TABLE identity"} {
		if _, err := Identities.ParseOrder(bad); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%q: err = %v, want invalid", bad, err)
		}
	}
}

func TestEveryLanguageHasAnOrderAndFieldsThatExplainThemselves(t *testing.T) {
	for _, l := range Languages {
		if _, err := l.ParseOrder(""); err != nil {
			t.Errorf("%s: %v", l.List, err)
		}
		for _, f := range l.Fields {
			if f.Doc == "" || (f.Kind == Enum) != (len(f.Words) > 0) {
				t.Errorf("%s: %+v", l.List, f)
			}
		}
	}
}

// TestSQLInjectionThroughAFilter shows that no byte of a value is part of the
// text that the engine reads.
func TestSQLInjectionThroughAFilter(t *testing.T) {
	const evil = `x' OR '1'='1'; DROP TABLE identity; --`
	e, err := Identities.Parse(fmt.Sprintf("name:%q kind:x,%q -%q owner:x*", evil, evil, evil), now)
	if err != nil {
		t.Fatal(err)
	}
	search := func(w string, arg func(any) string) string { return "word = " + arg(w) }
	text, args, err := e.SQL(Columns{"name": "name", "kind": "kind", "owner": "owner"}, search, 3)
	want := "(name = $3)\n\t\tAND (kind IN ($4, $5))\n\t\tAND NOT (word = $6)\n\t\tAND (owner >= $7 AND owner < $8)"
	if err != nil || text != want {
		t.Errorf("text = %q, %v\nwant   %q", text, err, want)
	}
	if diff := cmp.Diff([]any{evil, "x", evil, evil, "x", "x\U0010FFFF"}, args); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, _, err := e.SQL(Columns{}, search, 1); err == nil {
		t.Error("a field without a column is accepted")
	}
}

func TestWhatNeverHappenedIsNeitherBeforeNorAfter(t *testing.T) {
	get := func(used int64) Get {
		return func(field string) (string, int64) { return "", used }
	}
	for _, tt := range []struct {
		text string
		used time.Time
		want bool
	}{
		{"last_used<30d", now.AddDate(0, 0, -31), true},
		{"last_used<30d", now.AddDate(0, 0, -29), false},
		{"last_used<30d", time.Time{}, false},
		{"-last_used>30d", time.Time{}, true},
		{"last_used:*", time.Time{}, false},
		{"-last_used:*", time.Time{}, true},
		{"last_used:2026-03-09", time.Date(2026, 3, 9, 23, 59, 0, 0, time.UTC), true},
		{"last_used:2026-03-09", time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC), false},
	} {
		e, err := Identities.Parse(tt.text, now)
		if err != nil {
			t.Fatal(err)
		}
		micros := int64(0)
		if !tt.used.IsZero() {
			micros = tt.used.UnixMicro()
		}
		if got := e.Match(get(micros), nil); got != tt.want {
			t.Errorf("%s of %v = %v, want %v", tt.text, tt.used, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"kind:a,b -owner:* risk>=50 last_used<30d x", `name:"a\"b" -"c d"`, "-", "risk>1,2", "arn:aws:x", "created:2026-03-01", "name:*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range Languages {
			e, err := l.Parse(text, now)
			if err != nil {
				if !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), "filter") {
					t.Errorf("err = %v", err)
				}
				continue
			}
			columns := Columns{}
			for _, fd := range l.Fields {
				columns[fd.Name] = "c"
			}
			sql, args, err := e.SQL(columns, func(w string, arg func(any) string) string { return "w = " + arg(w) }, 1)
			if err != nil || len(e.Terms) > MaxTerms || len(args) > 2*MaxValues+MaxTerms {
				t.Errorf("%q: %v, %d terms, %d arguments", text, err, len(e.Terms), len(args))
			}
			if strings.ContainsFunc(sql, func(r rune) bool { return !strings.ContainsRune("cwANDORNTI0123456789$=<>(),' \n\t", r) }) {
				t.Errorf("%q becomes %q", text, sql)
			}
			e.Match(func(string) (string, int64) { return "c", 7 }, func(string) bool { return true })
		}
	})
}

func TestWithoutDropsOnlyTheFieldsOwnTerms(t *testing.T) {
	e, err := Identities.Parse("kind:a owner:b -kind:c word", now)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, term := range e.Without("kind").Terms {
		left = append(left, term.Field.Name)
	}
	if !slices.Equal(left, []string{"owner", ""}) || len(e.Terms) != 4 {
		t.Errorf("left = %q of %d", left, len(e.Terms))
	}
	if got := len(e.And(e).Terms); got != 8 {
		t.Errorf("and = %d terms", got)
	}
}
