package checkpoint

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// A Disk is a folder, as far as a Folder needs it. Tests put one in that fails
// or loses what was not synced. Names have no folders in them.
type Disk interface {
	// Path returns how errors name a file.
	Path(name string) string
	// ReadFile returns what is in a file; an error wraps fs.ErrNotExist when it
	// is not there.
	ReadFile(name string) ([]byte, error)
	// Open opens a file to be read and written, and makes it if need be.
	Open(name string) (Open, error)
	// Create opens an empty file, whatever was there.
	Create(name string) (Open, error)
	// Rename puts a file in another's place.
	Rename(from, to string) error
	// Sync makes durable which files there are.
	Sync() error
}

// Open is a file of a Disk.
type Open interface {
	io.Writer
	io.WriterAt
	io.ReaderAt
	io.Closer
	Truncate(size int64) error
	Size() (int64, error)
	Sync() error
	// Fd is the descriptor that a mapping is made of.
	Fd() uintptr
}

// Dir is the Disk of a folder that is there.
type Dir string

// Path implements Disk.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// ReadFile implements Disk.
func (d Dir) ReadFile(name string) ([]byte, error) { return os.ReadFile(d.Path(name)) }

// Open implements Disk.
func (d Dir) Open(name string) (Open, error) {
	return opened(os.OpenFile(d.Path(name), os.O_CREATE|os.O_RDWR, 0o600))
}

// Create implements Disk.
func (d Dir) Create(name string) (Open, error) {
	return opened(os.OpenFile(d.Path(name), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600))
}

func opened(f *os.File, err error) (Open, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements Disk.
func (d Dir) Rename(from, to string) error { return os.Rename(d.Path(from), d.Path(to)) }

// Sync implements Disk.
func (d Dir) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type osFile struct{ *os.File }

// Size implements Open.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
