package config

import (
	"bytes"
	"fmt"
	"strings"
)

const preface = `# Configuration

A server needs no configuration file. What you want otherwise goes into one YAML file:

<!-- test: before mkdir /etc/muster && printf 'retention: {age: 48h}\n' | tee muster.yaml > /etc/muster/muster.yaml -->
` + "```" + `sh
muster serve --data /var/lib/muster --config /etc/muster/muster.yaml
` + "```" + `

Where a value comes from, the later wins: the default, the file, an environment variable, a flag of ` + "`muster serve`" + `.
The variable of a key is ` + "`MUSTER_`" + ` and its path in capitals: ` + "`guards.risk_deny`" + ` is ` + "`MUSTER_GUARDS_RISK_DENY`" + `.
A list in a variable is written with commas, or as YAML in one line. File names in the file are relative to its folder.

A key that does not exist, or a value out of range, is an error with file, line, column and the nearest key; a server
does not start with it.

` + "```" + `sh
muster config check muster.yaml          # every mistake at once; exit status 1 if there is one
muster config print muster.yaml          # what is set, and where
muster config print --effective          # every value that would be used
muster config explain guards.risk_deny   # what a key means
muster config schema > muster.schema.json
` + "```" + `

An editor with a YAML language server completes and checks the file when its first line says where the schema is:

` + "```" + `yaml
# yaml-language-server: $schema=./config.schema.json
` + "```" + `

## Reload

A running server reads the file again when it changes and on SIGHUP. Keys marked *reload* below are taken up at once:
requests that are being answered finish under the old values, none is lost. For the others the server says that a
restart is needed and goes on with the old value. A file with a mistake changes nothing: the old values stay in force,
and the log, ` + "`/readyz?verbose`" + ` (check ` + "`config`" + `) and the metric ` + "`muster_config_reload_ok`" + ` say so.

## Keys

A duration is written with its unit: 90s, 10m, 24h.
`

// Reference is the documentation of every key, in Markdown.
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Code generated from the configuration struct by go generate. DO NOT EDIT. -->\n")
	b.WriteString(preface)
	open := "-"
	for _, k := range Keys() {
		top, _, nested := strings.Cut(k.Path, ".")
		top = strings.TrimSuffix(top, "[]")
		switch {
		case !nested && k.Section():
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", k.Path, sentence(k.Doc))
			heading(&b)
			open = top
			continue
		case !nested && open != "":
			if open == "-" {
				b.WriteString("\n### On the top level\n\n")
			} else {
				fmt.Fprintf(&b, "\n### %s\n\n", k.Path)
			}
			heading(&b)
			open = ""
		}
		row(&b, k)
	}
	return b.Bytes()
}

func heading(b *bytes.Buffer) {
	b.WriteString("| key | type | default | example | taken up by | meaning |\n|---|---|---|---|---|---|\n")
}

func row(b *bytes.Buffer, k Key) {
	kind := k.Type
	if k.Unit != "" {
		kind += ", " + k.Unit
	}
	if len(k.Enum) > 0 {
		kind += ": " + strings.Join(k.Enum, ", ")
	}
	by := "restart"
	if k.Live {
		by = "reload"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", k.Path, cell(kind), code(k.Default), code(k.Example), by, cell(sentence(k.Doc)))
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// sentence gives a comment a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if s[0] != '`' {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
