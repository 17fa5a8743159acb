// Package checkpointtest is a disk that dies: after a number of operations the
// next one happens by half, and all after it fail. Then [Disk.Crash] leaves the
// folder as a killed process does, or as a loss of power does, which may undo
// whatever was not synced.
package checkpointtest

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/muster-id/muster/internal/checkpoint"
)

// ErrDied is what a disk returns that has died.
var ErrDied = errors.New("the disk has died")

// A Disk is a folder that dies after Left operations that change something.
type Disk struct {
	checkpoint.Dir
	Left int

	t       *testing.T
	undo    string // folder of what renames replaced
	dead    bool
	writes  []write  // not synced
	renamed []string // not synced
}

// A write is what was in a file where something was written.
type write struct {
	name string
	at   int64
	was  []byte
}

// New returns a Disk of a folder.
func New(t *testing.T, dir string, left int) *Disk {
	return &Disk{Dir: checkpoint.Dir(dir), Left: left, t: t, undo: t.TempDir()}
}

// Died reports whether the disk has died.
func (d *Disk) Died() bool { return d.dead }

// Revive lets the disk work again, for good.
func (d *Disk) Revive() { d.dead, d.Left = false, 1<<30 }

// step counts an operation; half says that it is the last one and happens by
// half.
func (d *Disk) step() (half bool, err error) {
	if d.dead {
		return false, ErrDied
	}
	if d.Left--; d.Left < 0 {
		d.dead = true
		return true, ErrDied
	}
	return false, nil
}

// Crash ends the disk. Without power, chance undoes some of what was not synced,
// or with all everything.
func (d *Disk) Crash(power bool, all bool, chance *rand.Rand) {
	d.dead = true
	if !power {
		return
	}
	for i := len(d.renamed) - 1; i >= 0; i-- {
		if name := d.renamed[i]; all || chance.IntN(2) == 0 {
			d.restore(name)
		} else {
			break // names come back in order
		}
	}
	for i := len(d.writes) - 1; i >= 0; i-- {
		if w := d.writes[i]; all || chance.IntN(2) == 0 {
			d.must(d.patch(w))
		}
	}
}

// forget forgets what was written to a file.
func (d *Disk) forget(name string) {
	d.writes = slices.DeleteFunc(d.writes, func(w write) bool { return w.name == name })
}

func (d *Disk) restore(name string) {
	d.forget(name)
	err := os.Rename(filepath.Join(d.undo, name), d.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Remove(d.Path(name))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		d.must(err)
	}
}

func (d *Disk) patch(w write) error {
	f, err := os.OpenFile(d.Path(w.name), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(w.was, w.at)
	return errors.Join(err, f.Close())
}

func (d *Disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// ReadFile implements checkpoint.Disk.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	if d.dead {
		return nil, ErrDied
	}
	return d.Dir.ReadFile(name)
}

// Open implements checkpoint.Disk.
func (d *Disk) Open(name string) (checkpoint.Open, error) {
	if _, err := d.step(); err != nil {
		return nil, err
	}
	f, err := d.Dir.Open(name)
	return &file{f, d, name, 0}, err
}

// Create implements checkpoint.Disk.
func (d *Disk) Create(name string) (checkpoint.Open, error) {
	if _, err := d.step(); err != nil {
		return nil, err
	}
	f, err := d.Dir.Create(name)
	return &file{f, d, name, 0}, err
}

// Rename implements checkpoint.Disk.
func (d *Disk) Rename(from, to string) error {
	half, err := d.step()
	if err != nil && !half {
		return err
	}
	d.must(os.RemoveAll(filepath.Join(d.undo, to)))
	if link := os.Link(d.Path(to), filepath.Join(d.undo, to)); link != nil && !errors.Is(link, fs.ErrNotExist) {
		d.must(link)
	}
	d.forget(to)
	for i := range d.writes { // what is not synced is not so under its new name either
		if d.writes[i].name == from {
			d.writes[i].name = to
		}
	}
	d.renamed = append(d.renamed[:0], to) // one commit syncs before the next renames
	return errors.Join(d.Dir.Rename(from, to), err)
}

// Sync implements checkpoint.Disk.
func (d *Disk) Sync() error {
	if _, err := d.step(); err != nil {
		return err
	}
	d.renamed = nil
	return nil
}

type file struct {
	checkpoint.Open
	disk *Disk
	name string
	end  int64 // where Write goes on
}

func (f *file) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.end)
	f.end += int64(n)
	return n, err
}

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	half, err := f.disk.step()
	if err != nil && !half {
		return 0, err
	}
	if half {
		b = b[:len(b)/2]
	}
	was := make([]byte, len(b))
	if size, err := f.Size(); err == nil && at < size {
		if _, err := f.ReadAt(was[:min(int64(len(b)), size-at)], at); err != nil {
			f.disk.t.Fatal(err)
		}
	}
	f.disk.writes = append(f.disk.writes, write{f.name, at, was})
	n, failed := f.Open.WriteAt(b, at)
	return n, errors.Join(failed, err)
}

func (f *file) Truncate(size int64) error {
	if _, err := f.disk.step(); err != nil {
		return err
	}
	return f.Open.Truncate(size)
}

// Sync makes what was written to the file outlive a loss of power. It spares the
// real disk.
func (f *file) Sync() error {
	if _, err := f.disk.step(); err != nil {
		return err
	}
	f.disk.forget(f.name)
	return nil
}
