// Command gen writes modules.txt of package sbom: the Go modules that may be
// linked into the program, on every system and with every build tag that is
// released, each with the licence that its licence file states. It reads the
// files where the go command keeps the modules, and fails when it does not
// know a text. Run it through go generate in internal/sbom.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	out := flag.String("out", "modules.txt", "`file` to write")
	flag.Parse()
	text, err := list()
	if err == nil {
		err = os.WriteFile(*out, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom/gen:", err)
		os.Exit(1)
	}
}

// list returns the content of modules.txt.
func list() ([]byte, error) {
	found := map[string]string{} // folder by module path
	for _, system := range []string{"linux", "darwin"} {
		cmd := exec.Command("go", "list", "-deps", "-tags", "console,pkcs11",
			"-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "github.com/muster-id/muster/cmd/muster")
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=1")
		text, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return nil, fmt.Errorf("go list for %s: %w: %s", system, err, exit.Stderr)
			}
			return nil, fmt.Errorf("go list for %s: %w", system, err)
		}
		for line := range strings.Lines(string(text)) {
			if path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				found[path] = dir
			}
		}
	}
	type row struct{ path, licence string }
	var rows []row
	for path, dir := range found {
		licence, err := licenceOf(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		rows = append(rows, row{path, licence})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.path, b.path) })
	var b bytes.Buffer
	b.WriteString("# The Go modules of the program and their licences. Generated from the modules' licence files: run make generate.\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "%s %s\n", r.path, r.licence)
	}
	return b.Bytes(), nil
}

var fileName = regexp.MustCompile(`(?i)^(licen[cs]e|copying)(\.(txt|md))?$`)

func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !fileName.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		if licence := classify(string(text)); licence != "" {
			return licence, nil
		}
		return "", fmt.Errorf("%s is no licence that is known here: see what it is, and whether it is allowed", e.Name())
	}
	return "", errors.New("it has no licence file")
}

// classify names the licences whose texts stand in text, joined by " AND ";
// empty when there is none, or one that forbids.
func classify(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(s string) bool { return strings.Contains(text, s) }
	if has("gnu general public") || has("gnu lesser") || has("gnu affero") || has("server side public license") || has("business source license") || has("commons clause") {
		if !has("mozilla public license") { // which names them as secondary licences
			return ""
		}
	}
	var all []string
	add := func(ok bool, name string) {
		if ok {
			all = append(all, name)
		}
	}
	add(has("apache license") && has("version 2.0"), "Apache-2.0")
	add(has("redistribution and use in source and binary forms") && has("neither the name"), "BSD-3-Clause")
	add(has("redistribution and use in source and binary forms") && !has("neither the name"), "BSD-2-Clause")
	permission := has("permission to use, copy, modify, and/or distribute this software") || has("permission to use, copy, modify, and distribute this software")
	add(permission && !has("appear in all copies"), "0BSD")
	add(permission && has("appear in all copies"), "ISC")
	add(has("permission is hereby granted, free of charge"), "MIT")
	add(has("mozilla public license") && has("2.0"), "MPL-2.0")
	return strings.Join(all, " AND ")
}
