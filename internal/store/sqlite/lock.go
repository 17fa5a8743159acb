//go:build unix

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/muster-id/muster/internal/nhi"
)

// lockFile holds the number of the process that uses the folder, for people;
// what counts is the lock on it.
const lockFile = "muster.lock"

// Lock claims the data folder for this process and returns how to give it up:
// what else lies in it belongs to one process too, wherever the store is. A
// folder in use is refused with an error wrapping nhi.ErrConflict.
func Lock(dir string) (release func() error, err error) {
	file := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0) // only for the message
		f.Close()
		return nil, fmt.Errorf("data folder %s is in use by another muster process (%s): stop it first or choose another folder: %w",
			dir, strings.TrimSpace("pid "+strings.ToValidUTF8(string(holder[:n]), "?")), nhi.ErrConflict)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", file, err)
	}
	return f.Close, nil // closing gives up the lock
}

func writePID(f *os.File) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%d", os.Getpid()), 0)
	return err
}
