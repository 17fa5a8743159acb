// Package sbom says what a program consists of: the Go modules that the linker
// put in, as debug.BuildInfo tells them, and the packages of the console, as
// its build listed them. It writes both as a CycloneDX 1.6 document, so that a
// scanner of vulnerabilities or licences needs nothing but the program. The
// licences of the modules are in a list of their own, modules.txt, that
// `make generate` makes from the modules' licence files; Allowed are those that
// may be linked into the product.
//
// The document holds neither a time nor a serial number: the same program says
// the same bytes.
package sbom

import (
	_ "embed"
	"encoding/json"
	"io"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
)

//go:generate go run ./gen -out modules.txt

//go:embed modules.txt
var modules string

// Allowed are the licences, as SPDX identifiers, under which something may be
// part of the program. Fonts and data have more.
var Allowed = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "MPL-2.0", "ISC", "0BSD"}

// AllowedData are the licences for fonts and data, beside Allowed.
var AllowedData = []string{"OFL-1.1", "CC0-1.0", "CC-BY-4.0", "PDDL-1.0"}

// A Part is one package of the console.
type Part struct {
	Name    string
	Version string // empty: unknown
	Licence string // an SPDX expression
}

// Licences returns the SPDX expression of each Go module that the product
// uses, by module path.
func Licences() map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(modules) {
		if name, licence, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(name, "#") {
			all[name] = licence
		}
	}
	return all
}

// Permitted says whether every licence that a conjunction ("MIT AND ISC")
// names is one of allowed. Other expressions are not permitted.
func Permitted(expression string, allowed ...string) bool {
	for one := range strings.SplitSeq(expression, " AND ") {
		if !slices.Contains(allowed, one) {
			return false
		}
	}
	return true
}

// Parts reads the headings of the list of licences that the console's build
// writes: "## name - version (licence)" each.
func Parts(list string) []Part {
	var all []Part
	for line := range strings.Lines(list) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "## ")
		name, rest, found := strings.Cut(rest, " - ")
		version, licence, closed := strings.Cut(strings.TrimSuffix(rest, ")"), " (")
		if ok && found && closed && name != "" && !strings.Contains(name, " ") {
			all = append(all, Part{name, version, licence})
		}
	}
	return all
}

// The shapes of CycloneDX 1.6 that are used here.
type (
	document struct {
		Format     string      `json:"bomFormat"`
		Spec       string      `json:"specVersion"`
		Version    int         `json:"version"`
		Metadata   metadata    `json:"metadata"`
		Components []component `json:"components"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version,omitempty"`
		Licences   []licence  `json:"licenses,omitempty"`
		URL        string     `json:"purl,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	licence struct {
		License    *named `json:"license,omitempty"`
		Expression string `json:"expression,omitempty"`
	}
	named struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// Write writes the CycloneDX document of the program whose build info is given
// and that calls itself version.
func Write(w io.Writer, info *debug.BuildInfo, version string, console []Part) error {
	d := document{Format: "CycloneDX", Spec: "1.6", Version: 1}
	d.Metadata.Component = part("application", "pkg:golang/"+info.Main.Path, "muster", version, "Apache-2.0")
	d.Components = append(d.Components, part("library", "pkg:golang/std", "std", strings.TrimPrefix(info.GoVersion, "go"), "BSD-3-Clause"))
	licences := Licences()
	for _, m := range info.Deps {
		sum := m.Sum
		if r := m.Replace; r != nil {
			m, sum = r, r.Sum
		}
		c := part("library", "pkg:golang/"+m.Path, m.Path, m.Version, licences[m.Path])
		if sum != "" {
			c.Properties = []property{{"go:sum", sum}}
		}
		d.Components = append(d.Components, c)
	}
	for _, p := range console {
		d.Components = append(d.Components, part("library", "pkg:npm/"+strings.ReplaceAll(p.Name, "@", "%40"), p.Name, p.Version, p.Licence))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// part is one component; its package URL is also its reference.
func part(kind, purl, name, version, spdx string) component {
	if version != "" {
		purl += "@" + url.PathEscape(version)
	}
	c := component{Type: kind, Ref: purl, URL: purl, Name: name, Version: version}
	switch {
	case spdx == "":
	case strings.Contains(spdx, " "):
		c.Licences = []licence{{Expression: spdx}}
	default:
		c.Licences = []licence{{License: &named{spdx}}}
	}
	return c
}
