package strictyaml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Listen string `yaml:"listen"`
	Guards struct {
		RiskDeny int `yaml:"risk_deny"`
	} `yaml:"guards"`
	List []string `yaml:"list"`
}

func TestErrorsNameFileLineAndTheNearestSetting(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown key", "listen: a\nguards:\n  risk_denny: 3\n", `m.yaml:3:3: there is no setting "risk_denny"; did you mean "risk_deny"?`},
		{"unknown key far from any", "zzzzzzzz: 1\n", `m.yaml:1:1: there is no setting "zzzzzzzz"`},
		{"wrong type", "guards:\n  risk_deny: many\n", "m.yaml:2:14:"},
		{"broken syntax", "listen: [a\n", "m.yaml:"},
		{"duplicate key", "listen: a\nlisten: b\n", "m.yaml:2:"},
		{"alias", "list: &x [a]\nlisten: *x\n", "aliases"},
		{"NUL", "listen: \"a\x00\"\n", "NUL"},
		{"deep", strings.Repeat("[", 100), "nested"},
		{"deep dashes", strings.Repeat("- ", 100) + "a", "nested"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s sample
			err := Decode("m.yaml", []byte(tt.in), &s)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode(%q) = %v, want %q", tt.in, err, tt.want)
			}
		})
	}
}

func TestAnEmptyDocumentKeepsTheDefaults(t *testing.T) {
	for _, in := range []string{"", "\n", "# only words\n", "---\n"} {
		s := sample{Listen: "kept"}
		if err := Decode("m.yaml", []byte(in), &s); err != nil || s.Listen != "kept" {
			t.Errorf("Decode(%q) = %v, listen %q", in, err, s.Listen)
		}
	}
}

func TestGoodDocumentIsRead(t *testing.T) {
	var s sample
	if err := Decode("m.yaml", []byte("listen: b\nguards: {risk_deny: 7}\nlist: [x, y]\n"), &s); err != nil {
		t.Fatal(err)
	}
	if s.Listen != "b" || s.Guards.RiskDeny != 7 || len(s.List) != 2 {
		t.Errorf("got %+v", s)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("listen: a\nguards:\n  risk_deny: 3\n"))
	f.Add([]byte("? - a\n: b"))
	f.Add([]byte("- - - !!str &a *a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s sample
		_ = Decode("f.yaml", data, &s)
		_ = Unknown("f.yaml", data, &s)
		_ = Places(data)
	})
}

func TestEveryUnknownKeyIsToldWithWhatWasMeant(t *testing.T) {
	in := "listn: a\nrisk_deny: 3\nguards:\n  risk_deny: 4\n  lisst: b\n  zzzzzzzzzz: 1\n"
	var s sample
	var got []string
	for _, e := range Unknown("m.yaml", []byte(in), &s) {
		got = append(got, e.Error())
	}
	want := []string{
		`m.yaml:1:1: there is no setting "listn"; did you mean "listen"?`,
		`m.yaml:2:1: there is no setting "risk_deny" here; did you mean "guards.risk_deny"?`,
		`m.yaml:5:3: there is no setting "lisst"; did you mean "list"?`,
		`m.yaml:6:3: there is no setting "zzzzzzzzzz"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlacesOfSettings(t *testing.T) {
	got := Places([]byte("a: 1\nb:\n  - c: 2\n    d: {e: 3}\n"))
	want := map[string]Place{"a": {1, 1}, "b": {2, 1}, "b[0]": {3, 5}, "b[0].c": {3, 5}, "b[0].d": {4, 5}, "b[0].d.e": {4, 9}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
