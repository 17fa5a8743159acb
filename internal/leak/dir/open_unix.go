//go:build unix

package dir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// errSpecial means that a path is neither file nor folder.
var errSpecial = errors.New("not a regular file")

// A descriptor reads a file without the runtime's poller, which regular files
// do not need: it saves a system call and an allocation for each of them.
type descriptor int

// open opens a regular file and returns its size. A path that became a link or
// a pipe since it was listed is refused and does not block. What the caller
// named himself may be anything.
func open(path string, named bool) (io.ReadCloser, int64, error) {
	if named {
		f, err := os.Open(path)
		return f, 0, err
	}
	const flags = syscall.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	for {
		fd, err := syscall.Open(path, flags, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
			return nil, 0, errSpecial
		}
		if err != nil {
			return nil, 0, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			_ = syscall.Close(fd)
			return nil, 0, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if stat.Mode&syscall.S_IFMT != syscall.S_IFREG {
			_ = syscall.Close(fd)
			return nil, 0, errSpecial
		}
		return descriptor(fd), stat.Size, nil
	}
}

// Read implements io.Reader.
func (d descriptor) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(d), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Close implements io.Closer.
func (d descriptor) Close() error { return syscall.Close(int(d)) }
