//go:build console

package console

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// embedded is the built console.
var embedded = must(fs.Sub(dist, "dist"))

// index is the file that answers for every page.
const index = "index.html"

func must(files fs.FS, err error) fs.FS {
	if err != nil {
		panic(err)
	}
	return files
}
