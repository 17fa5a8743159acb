// Package internal_test keeps the house in order: it executes the layers of
// docs/ARCHITECTURE.md over the imports of every package of the module.
package internal_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/muster-id/muster"

// A layer is a floor of the house. A package may import what lies below it.
type layer int

const (
	library  layer = iota // nhi and the small libraries
	contract              // client: what the API speaks; stands on nothing
	domain                // one noun each
	state                 // store and stream
	leaf                  // extensions: one folder each
	list                  // builtin: the generated lists of leaves
	surface               // config, world, api, console
	root                  // server: composes everything
	stage                 // demo
	command               // cli
	program               // cmd and other mains
	testonly              // conformance kits and the tests' own helpers
)

var names = [...]string{"library", "client", "domain", "state", "leaf", "builtin", "surface", "server", "demo", "cli", "program", "test kit"}

func (l layer) String() string { return names[l] }

// house places every package that is not placed by its shape. A package that
// is missing here fails the test: decide where it lives before writing it.
var house = map[string]layer{
	"nhi": library, "key": library, "jose": library, "seal": library, "fingerprint": library, "journal": library,
	"geo": library, "useragent": library, "surprise": library, "jsonscan": library, "strictyaml": library, "health": library, "output": library,
	"certs": library, "backup": library, "checkpoint": library, "sbom": library, "telemetry": library,
	"filter": library, "clause": library, "request": library, "awsops": library, "feed": library, "breakglass": library,
	"connector": domain, "inventory": domain, "activity": domain, "baseline": domain, "detect": domain, "leak": domain,
	"attest": domain, "policy": domain, "decision": domain, "enforce": domain, "issuer": domain, "respond": domain,
	"notify": domain, "signals": domain, "usage": domain, "audit": domain, "access": domain,
	"store": state, "stream": state,
	"builtin": list,
	"config":  surface, "world": surface, "learning": surface, "api": surface, "console": surface, "manual": surface, "agent": surface,
	"server": root, "demo": stage, "cli": command,
}

// why gives the reason for each edge that is forbidden although it might look
// handy.
func why(from, to layer) string {
	switch {
	case from == library:
		return "a small library stands on nothing of ours but other libraries, so that anybody can use and test it alone"
	case from == contract:
		return "client is what users import: it must not drag the server's insides along"
	case to == contract && from < surface:
		return "only what serves or calls the API knows its types; the core speaks nhi"
	case from == domain && to == domain:
		return "domains never import each other: meet through nhi types or an interface that the asking side declares"
	case from == domain:
		return "a domain knows no database, stream or surface: declare an interface and let server fill it in"
	case from == state && to >= leaf:
		return "store and stream serve the domains; they must not know extensions or surfaces"
	case from == leaf && to == leaf:
		return "an extension stands alone: it imports its own parent, nhi and small libraries"
	case from == leaf:
		return "an extension may be removed without anybody noticing: it imports its own parent, nhi and small libraries"
	case to == testonly:
		return "test kits are imported by tests only"
	default:
		return "imports point down: " + from.String() + " stands below " + to.String()
	}
}

// place returns the layer of a package path below internal/, and the package
// whose leaf or room it is; a package that stands alone is its own.
func place(rel string) (layer, string, bool) {
	if first, _, nested := strings.Cut(rel, "/"); nested {
		switch {
		case strings.HasSuffix(rel, "test"):
			return testonly, first, true
		case strings.HasSuffix(rel, "/gen"):
			return program, first, true // generators run by go generate
		case first == "store":
			return state, first, true
		}
		switch l, ok := house[first]; {
		case !ok:
			return 0, "", false
		case l == domain || l == state:
			return leaf, first, true
		default:
			return l, first, true // a room: docs/adr/0008-rooms.md
		}
	}
	l, ok := house[rel]
	return l, rel, ok
}

// allowed says whether from may import to.
func allowed(from, to layer, fromParent, toName string) bool {
	if house, _, room := strings.Cut(toName, "/"); room && from == to && from >= surface && from <= command && house == fromParent {
		return true // a house knows its rooms, and they each other
	}
	switch from {
	case testonly, program:
		return to != program
	case library:
		return to == library
	case contract:
		return toName == "client/policies" || toName == "client/points" // the types of one subject
	case domain:
		return to == library
	case leaf:
		return to == library || toName == fromParent
	default:
		if to == testonly || (to == contract && from < surface) {
			return false
		}
		return to < from || (from == state && to == state)
	}
}

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func locate(path string) (layer, string, string, bool) {
	if path == module+"/client" {
		return contract, "", "client", true
	}
	if rel, ok := strings.CutPrefix(path, module+"/client/"); ok {
		return contract, "", "client/" + rel, true
	}
	if path == module+"/docs" {
		return library, "", "docs", true // the documentation, as files
	}
	if rel, ok := strings.CutPrefix(path, module+"/internal/"); ok {
		l, parent, ok := place(rel)
		return l, parent, rel, ok
	}
	if strings.HasPrefix(path, module+"/") {
		return program, "", strings.TrimPrefix(path, module+"/"), true
	}
	return 0, "", "", false
}

func TestImportsKeepTheLayers(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		from, parent, rel, ok := locate(p.ImportPath)
		if !ok {
			t.Errorf("%s has no place in the house: add it to internal/arch_test.go with a decision record", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to, _, toRel, ok := locate(imp)
			if rel == "nhi" {
				t.Errorf("nhi imports %s: the vocabulary imports nothing of ours, or everything would depend on everything", toRel)
			}
			if ok && !allowed(from, to, parent, toRel) {
				t.Errorf("%s (%s) imports %s (%s): %s", rel, from, toRel, to, why(from, to))
			}
		}
	}
}

// vendors are module prefixes that only some packages may import.
var vendors = map[string][]string{
	"modernc.org/sqlite":            {"store/sqlite"},
	"github.com/jackc/":             {"store/postgres", "store/postgres/pgtest"},
	"github.com/nats-io/":           {"stream/nats", "stream/nats/natstest"},
	"github.com/cedar-policy/":      {"policy", "policy/compare", "clause", "request"},
	"github.com/danielgtaylor/huma": {"api", "api/export", "api/frame", "api/glass", "api/library", "api/rehearse"},
	"github.com/spf13/cobra":        {"cli", "cli/command", "cli/author", "cli/operate", "cli/people"},
	"github.com/cloudflare/circl":   {"fingerprint"},
	"github.com/go-jose/":           {"jose"},
	"github.com/coreos/go-oidc":     {"access/oidc"},
	"golang.org/x/oauth2":           {"access/oidc"},
	"github.com/prometheus/":        {"server", "server/measure"},
	"filippo.io/age":                {"seal/agefile"},
	"github.com/ThalesGroup/":       {"seal/pkcs11"},
	"golang.org/x/crypto/acme":      {"certs"},
	"github.com/yuin/goldmark":      {"manual"},
	"go.opentelemetry.io/":          {"telemetry"},
	"github.com/wneessen/":          {"notify/email"},
	"google.golang.org/grpc":        {"enforce/extauthz"},
	"github.com/envoyproxy/":        {"enforce/extauthz"},
	"github.com/spiffe/":            {"attest/svid"},
}

func TestVendorLibrariesStayBehindOneDoor(t *testing.T) {
	for _, p := range listPackages(t) {
		rel, ok := strings.CutPrefix(p.ImportPath, module+"/internal/")
		if !ok {
			continue
		}
		for _, imp := range p.Imports {
			for prefix, doors := range vendors {
				if strings.HasPrefix(imp, prefix) && !slices.Contains(doors, rel) {
					t.Errorf("%s imports %s: only %s may, so that the library can be replaced in one place", rel, imp, strings.Join(doors, ", "))
				}
			}
		}
	}
}

func TestEveryPackageHasACommentToLearnFrom(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		doc := packageDoc(t, p)
		if len(doc) < 80 {
			t.Errorf("%s: the package comment has %d characters; say what the package is for and what flows through it", p.ImportPath, len(doc))
		}
		if name := filepath.Base(p.ImportPath); slices.Contains([]string{"util", "common", "helper", "base", "misc", "types", "models"}, name) {
			t.Errorf("%s: a package is a noun of the domain, not a drawer", p.ImportPath)
		}
	}
}

func packageDoc(t *testing.T, p goPackage) string {
	t.Helper()
	var doc string
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			doc += f.Doc.Text()
		}
	}
	return doc
}

func TestNoInitAndPackagesStaySmall(t *testing.T) {
	for _, p := range listPackages(t) {
		lines := 0
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(string(src), "// Code generated") {
				continue
			}
			lines += strings.Count(string(src), "\n")
			f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s has an init function: nothing happens before main", path)
				}
			}
		}
		if lines > 2500 {
			t.Errorf("%s has %d lines: split it by noun before 2,500", p.ImportPath, lines)
		}
	}
}

// TestTheLayerTestCanFail proves that the rules bite.
func TestTheLayerTestCanFail(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"policy", "nhi", true},
		{"policy", "decision", false},
		{"inventory", "store", false},
		{"store/inventory", "inventory", true},
		{"attest/oidc", "attest", true},
		{"attest/oidc", "attest/apikey", false},
		{"attest/oidc", "issuer", false},
		{"jose", "nhi", true},
		{"nhi", "inventory", false},
		{"server", "api", true},
		{"api", "server", false},
		{"demo", "server", true},
		{"world", "server", false},
		{"server", "store/storetest", false},
		{"server", "server/intake", true},
		{"server/intake", "server/document", true},
		{"server/intake", "server", false},
		{"cli/operate", "cli/command", true},
		{"cli/operate", "cli", false},
		{"cli/operate", "server", true},
		{"api/page", "server", false},
		{"api/page", "console", false},
	} {
		from, parent, _ := place(tt.from)
		to, _, _ := place(tt.to)
		if got := allowed(from, to, parent, tt.to); got != tt.want {
			t.Errorf("%s may import %s = %v, want %v (%s)", tt.from, tt.to, got, tt.want, why(from, to))
		}
	}
}
