//go:build !linux

package journal

import "os"

// allocate gives f n bytes of zeros that have their blocks.
func allocate(f *os.File, n int64) error { return fill(f, n) }
