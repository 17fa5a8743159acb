//go:build !console

package console

import (
	"embed"
	"io/fs"
)

//go:embed dist/placeholder.html
var dist embed.FS

// embedded is the page that says that the console was not built.
var embedded = must(fs.Sub(dist, "dist"))

// index is the file that answers for every page.
const index = "placeholder.html"

func must(files fs.FS, err error) fs.FS {
	if err != nil {
		panic(err)
	}
	return files
}
