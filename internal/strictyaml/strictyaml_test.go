package strictyaml

import (
	"strings"
	"testing"
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
	})
}
