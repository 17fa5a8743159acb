package sbom_test

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/sbom"
)

func TestEveryModuleHasAnAllowedLicence(t *testing.T) {
	all := sbom.Licences()
	if len(all) < 30 {
		t.Fatalf("%d modules are named", len(all))
	}
	for path, licence := range all {
		if !sbom.Permitted(licence, sbom.Allowed...) {
			t.Errorf("%s is licensed %s, which is not allowed: use another library", path, licence)
		}
	}
}

func TestALicenceThatIsNotNamedIsNotPermitted(t *testing.T) {
	for expression, want := range map[string]bool{
		"MIT": true, "MIT AND ISC": true, "GPL-3.0-only": false, "MIT AND AGPL-3.0": false, "MIT OR GPL-2.0": false, "": false, "Unlicense": false,
	} {
		if got := sbom.Permitted(expression, sbom.Allowed...); got != want {
			t.Errorf("Permitted(%q) = %v, want %v", expression, got, want)
		}
	}
}

func TestPartsOfTheConsoleAreReadFromItsList(t *testing.T) {
	got := sbom.Parts("# Licenses\n\n## @radix-ui/primitive - 1.2.0 (MIT)\n\nMIT - (c)\n## a heading of a licence\n## react - 19.3.1 (MIT)\r\n## broken - 1\n")
	want := []sbom.Part{{"@radix-ui/primitive", "1.2.0", "MIT"}, {"react", "19.3.1", "MIT"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestTheDocumentHasTheShapeOfCycloneDX checks what the standard's schema
// demands of the fields that are used: their names, that references are
// unique, and that each component can be found by its package URL.
func TestTheDocumentHasTheShapeOfCycloneDX(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Path: "github.com/muster-id/muster"}, Deps: []*debug.Module{
		{Path: "github.com/yuin/goldmark", Version: "v1.8.7", Sum: "h1:x="},
		{Path: "github.com/klauspost/compress", Version: "v1.20.3+incompatible"},
		{Path: "example.com/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/new", Version: "v2.0.0", Sum: "h1:y="}},
	}}
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := sbom.Write(b, info, "v1.2.3", []sbom.Part{{"@a/b", "1.0.0", "MIT"}}); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Error("the same program says different bytes")
	}
	var d map[string]any
	if err := json.Unmarshal(first.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d["bomFormat"] != "CycloneDX" || d["specVersion"] != "1.6" || d["version"] != 1.0 {
		t.Errorf("head is %v %v %v", d["bomFormat"], d["specVersion"], d["version"])
	}
	main := d["metadata"].(map[string]any)["component"].(map[string]any)
	if main["type"] != "application" || main["version"] != "v1.2.3" {
		t.Errorf("the program is %v", main)
	}
	refs := map[any]bool{main["bom-ref"]: true}
	var urls []string
	for _, one := range d["components"].([]any) {
		c := one.(map[string]any)
		if refs[c["bom-ref"]] || c["bom-ref"] == "" || c["name"] == "" || c["type"] != "library" {
			t.Errorf("component %v", c)
		}
		refs[c["bom-ref"]] = true
		urls = append(urls, c["purl"].(string))
	}
	want := []string{"pkg:golang/std@1.26.0", "pkg:golang/github.com/yuin/goldmark@v1.8.7", "pkg:golang/github.com/klauspost/compress@v1.20.3+incompatible", "pkg:golang/example.com/new@v2.0.0", "pkg:npm/%40a/b@1.0.0"}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{`"id": "MIT"`, `"expression": "Apache-2.0 AND BSD-3-Clause AND MIT"`, `"h1:y="`} {
		if !strings.Contains(first.String(), text) {
			t.Errorf("the document lacks %s", text)
		}
	}
}
