// Package checkpoint keeps a folder of files that change together.
//
// What is large and changes a little at a time lies in tables: files of rows of
// one size. What is small is kept whole, as parts. A [Folder.Commit] takes the
// rows that changed since the one before, and all parts, and is there wholly or
// not at all, whatever happens meanwhile:
//
//  1. parts and changed rows are written to checkpoint.next, which is synced,
//     gets its name (checkpoint), and the folder is synced: this is the commit;
//  2. then the rows are written to their tables, which are synced.
//
// So a commit writes twice what changed, and reads nothing. After a crash the
// tables may be torn, but only in rows that the checkpoint has as well: [Open]
// lays those over the tables, and who opened the folder hands them to its next
// commit again. The same holds for a commit that failed half-way: its rows must
// be part of the next one. Opening writes nothing.
//
// Before the first commit the tables mean nothing, so the rows of the first one
// go to them directly, and [Folder.Spill] may bring more of them than memory
// should hold.
//
// The checkpoint carries a CRC-32C over all of it. Rows of tables carry sums of
// their own, by the one who makes them: [Seal] and [Sealed] are for that.
package checkpoint

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"sync"
)

// File is the name of the file whose appearance is the commit.
const File = "checkpoint"

const (
	magic   = "MCHECK01"
	next    = File + ".next"
	maxName = 64
	// maxRows bounds how many rows a table may claim to have.
	maxRows = 1 << 26
)

// ErrDamaged is wrapped by every error about a file whose content is not what
// was written.
var ErrDamaged = errors.New("damaged")

// A Spec names a table and says how long its rows are.
type Spec struct {
	Name string // of the file in the folder
	Size int    // of a row, in bytes
}

// A Delta is what changed in a table.
type Delta struct {
	Table  string
	Count  int      // rows that the table has now
	Places []uint32 // of the rows that changed, ascending, below Count
	Rows   []byte   // as many, one after the other
}

// A Part is something small that is kept whole.
type Part struct {
	Name string
	Data []byte
}

// A State is what a folder held when it was opened.
type State struct {
	Number uint32            // of the commit, from 1
	Parts  map[string][]byte // by name
	Deltas map[string]Delta  // by table: what lies over it; there is one for each
}

// A Folder is open for one process. Commit and Spill exclude each other.
type Folder struct {
	disk    Disk
	specs   []Spec
	history uint32

	mu        sync.Mutex      // guards what follows
	files     map[string]Open // tables
	number    uint32          // of the last commit
	committed bool            // there may be a checkpoint on disk
}

// OpenFolder opens the folder that disk stands for. The State is nil when
// nothing was ever committed to it; what lies in its tables then is thrown away.
// An error names the file that cannot be used, and wraps ErrDamaged if it can
// never be.
func OpenFolder(disk Disk, specs ...Spec) (*Folder, *State, error) {
	f := &Folder{disk: disk, specs: specs, files: map[string]Open{}}
	data, err := disk.ReadFile(File)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, nil, err
	}
	var s *State
	if !fresh {
		if s, err = f.decode(data); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", disk.Path(File), err)
		}
		f.committed = true
	} else {
		var b [4]byte
		rand.Read(b[:]) // never fails, see crypto/rand
		f.history = binary.LittleEndian.Uint32(b[:])
	}
	for _, spec := range specs {
		if err := f.open(spec, fresh, s); err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
	}
	return f, s, nil
}

func (f *Folder) open(spec Spec, fresh bool, s *State) error {
	file, err := f.disk.Open(spec.Name)
	if err != nil {
		return err
	}
	f.files[spec.Name] = file
	size, err := file.Size()
	if err != nil {
		return err
	}
	if fresh {
		if size > 0 {
			return file.Truncate(0)
		}
		return nil
	}
	// Every row must be in the table or over it.
	d, have := s.Deltas[spec.Name], int(size/int64(spec.Size))
	from, _ := slices.BinarySearch(d.Places, uint32(min(have, d.Count)))
	if missing := d.Count - have - (len(d.Places) - from); missing > 0 {
		return fmt.Errorf("%s: %w: %d of its %d rows are missing", f.disk.Path(spec.Name), ErrDamaged, missing, d.Count)
	}
	return nil
}

// Close closes the files. Nothing is saved by it.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for _, file := range f.files {
		failed = errors.Join(failed, file.Close())
	}
	clear(f.files)
	return failed
}

// Table returns the file of a table, to be mapped or read. Its rows are those
// of the last commit, except where the State's deltas lie over them.
func (f *Folder) Table(name string) Open {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files[name]
}

// History returns a number that is drawn when a folder is used first: rows
// may carry it, to be told from those of another folder.
func (f *Folder) History() uint32 { return f.history }

// Number returns the number of the last commit, 0 before the first.
func (f *Folder) Number() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.number
}

// Hold runs do while no commit runs and none can begin: what it copies of the
// folder is of one commit.
func (f *Folder) Hold(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return do()
}

// Commit makes all parts and what changed in the tables the state of the
// folder. It blocks until that is on disk. After an error the state is the one
// before or this one; the deltas, and what changed since, must be in the next
// Commit then.
func (f *Folder) Commit(parts []Part, deltas []Delta) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(deltas); err != nil {
		return err
	}
	if !f.committed {
		return f.first(parts, deltas)
	}
	if err := f.write(parts, deltas); err != nil {
		return err
	}
	return f.apply(deltas)
}

// first commits what never was: rows go to tables that nothing speaks of yet.
func (f *Folder) first(parts []Part, deltas []Delta) error {
	if err := f.apply(deltas); err != nil {
		return err
	}
	for _, spec := range f.specs { // what was spilled is in none of the deltas
		if err := f.files[spec.Name].Sync(); err != nil {
			return err
		}
	}
	if err := f.disk.Sync(); err != nil {
		return err
	}
	empty := make([]Delta, len(deltas))
	for i, d := range deltas {
		empty[i] = Delta{Table: d.Table, Count: d.Count}
	}
	return f.write(parts, empty)
}

// Spill writes rows to their table before the first commit, which then need
// not be in it.
func (f *Folder) Spill(d Delta) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.committed {
		return errors.New("spill into a folder with a checkpoint")
	}
	if err := f.check([]Delta{d}); err != nil {
		return err
	}
	return f.put(&d)
}

func (f *Folder) check(deltas []Delta) error {
	for i := range deltas {
		d := &deltas[i]
		size := f.size(d.Table)
		if size == 0 || f.files[d.Table] == nil || len(d.Rows) != size*len(d.Places) || d.Count > maxRows {
			return fmt.Errorf("commit %d rows in %d bytes to the table %q of %s, which is closed or has other rows", len(d.Places), len(d.Rows), d.Table, f.disk.Path(File))
		}
	}
	return nil
}

func (f *Folder) size(table string) int {
	for _, s := range f.specs {
		if s.Name == table {
			return s.Size
		}
	}
	return 0
}

// apply writes rows to their tables and syncs those.
func (f *Folder) apply(deltas []Delta) error {
	for i := range deltas {
		if err := f.put(&deltas[i]); err != nil {
			return err
		}
	}
	for i := range deltas {
		if len(deltas[i].Places) == 0 {
			continue
		}
		if err := f.files[deltas[i].Table].Sync(); err != nil {
			return err
		}
	}
	return nil
}

// put writes rows, those that lie beside each other at once.
func (f *Folder) put(d *Delta) error {
	size := f.size(d.Table)
	for i := 0; i < len(d.Places); {
		n := 1
		for i+n < len(d.Places) && d.Places[i+n] == d.Places[i]+uint32(n) {
			n++
		}
		if _, err := f.files[d.Table].WriteAt(d.Rows[i*size:(i+n)*size], int64(d.Places[i])*int64(size)); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// write makes the checkpoint appear.
func (f *Folder) write(parts []Part, deltas []Delta) (err error) {
	file, err := f.disk.Create(next)
	if err != nil {
		return err
	}
	err = f.encode(file, f.number+1, parts, deltas)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	f.committed = true
	if err := f.disk.Rename(next, File); err != nil {
		return err
	}
	if err := f.disk.Sync(); err != nil {
		return err
	}
	f.number++
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal puts the sum of a row into its last four bytes.
func Seal(row []byte) {
	n := len(row) - 4
	binary.LittleEndian.PutUint32(row[n:], crc32.Checksum(row[:n], castagnoli))
}

// Sealed reports whether a row is as it was when it was sealed.
func Sealed(row []byte) bool {
	n := len(row) - 4
	return binary.LittleEndian.Uint32(row[n:]) == crc32.Checksum(row[:n], castagnoli)
}

// Sum is the sum that everything here is checked by, CRC-32C.
func Sum(data []byte) uint32 { return crc32.Checksum(data, castagnoli) }

// Rows calls do with each row of a table as it was when the folder was opened:
// those of the state's delta, and beside them those of the file, read in large
// pieces. over says that a row is of the delta, which the checkpoint's sum
// covers. The row is only valid during the call.
func (f *Folder) Rows(s *State, table string, do func(place uint32, row []byte, over bool) error) error {
	d, file, size := s.Deltas[table], f.Table(table), f.size(table)
	const piece = 4096
	buffer := make([]byte, piece*size)
	at := 0 // in the delta
	for from := 0; from < d.Count; from += piece {
		rows := buffer[:min(piece, d.Count-from)*size]
		if err := readUpTo(file, rows, int64(from)*int64(size)); err != nil {
			return fmt.Errorf("%s: %w", f.disk.Path(table), err)
		}
		for i := 0; i < len(rows)/size; i++ {
			place, row, over := uint32(from+i), rows[i*size:(i+1)*size], false
			if at < len(d.Places) && d.Places[at] == place {
				row, over = d.Rows[at*size:(at+1)*size], true
				at++
			}
			if err := do(place, row, over); err != nil {
				return fmt.Errorf("%s: %w", f.disk.Path(table), err)
			}
		}
	}
	return nil
}

// readUpTo reads what there is; the rest of b is zeros.
func readUpTo(from Open, b []byte, at int64) error {
	size, err := from.Size()
	if err != nil {
		return err
	}
	n := max(0, min(int64(len(b)), size-at))
	clear(b[n:])
	if n == 0 {
		return nil
	}
	_, err = from.ReadAt(b[:n], at)
	return err
}

func isMagic(data []byte) bool { return bytes.HasPrefix(data, []byte(magic)) }
