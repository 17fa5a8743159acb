package journal

import (
	"errors"
	"os"
	"syscall"
)

// allocate gives f n bytes of zeros that have their blocks.
func allocate(f *os.File, n int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, n)
		switch {
		case err == nil:
			return nil
		case err == syscall.EINTR:
		case errors.Is(err, errors.ErrUnsupported) || err == syscall.ENOSYS:
			return fill(f, n)
		default:
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		}
	}
}
