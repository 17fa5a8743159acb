//go:build !unix

package dir

import (
	"errors"
	"io"
	"os"
)

// errSpecial means that a path is neither file nor folder.
var errSpecial = errors.New("not a regular file")

// open opens a regular file and returns its size.
func open(path string, named bool) (io.ReadCloser, int64, error) {
	if !named {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, 0, err
		}
		if !info.Mode().IsRegular() {
			return nil, 0, errSpecial
		}
	}
	f, err := os.Open(path)
	return f, 0, err
}
