// Package docs is the documentation itself, embedded so that a server can show
// it at /docs without a network. README.md is its table of contents: sections
// and their order are read from there. Package manual turns it into pages.
package docs

import "embed"

// Files are the Markdown files and their pictures, by their paths below docs/.
//
//go:embed *.md adr explanation guide images reference results tutorial
var Files embed.FS
