package baseline

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// The file of the previous release: a magic with a version, the stream position, then counted
// sections (lives in order of their id, names in order of their hash) and a
// CRC-32C of all before it. Numbers are big endian; texts and JSON carry
// their length.
const (
	fileMagic = "MBASE001"

	maxPages  = 1 << 24
	maxID     = 256
	maxMemory = 64 << 10 // bytes of JSON about one life
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	errMalformed = errors.New("malformed baseline file")
)

// A memory is what the file keeps of a life besides its page.
type memory struct {
	Group     string      `json:"group"`
	Day       int64       `json:"day,omitempty"`
	NewToday  int         `json:"new_today,omitempty"`
	Suspended []suspended `json:"suspended,omitempty"`
}

// Adopt fills an empty Learner with the file that the previous release wrote, and
// returns the position in the stream to go on from. It wraps fs.ErrNotExist if
// there is no file. A damaged file or one of another version is an error, and the
// Learner must not be used then. spill is called whenever many pages have come;
// it may take them off (see [Learner.Snapshot]).
func (l *Learner) Adopt(path string, spill func()) (seq uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read what the previous release learned: %w", err)
	}
	defer f.Close()
	if seq, err = l.adopt(f, spill); err != nil {
		return 0, fmt.Errorf("read what the previous release learned from %s: %w", path, err)
	}
	return seq, nil
}

// adopt reads the file twice: nothing is taken from one that is not whole.
func (l *Learner) adopt(from io.ReadSeeker, spill func()) (uint64, error) {
	if l.Stats().Pages != 0 {
		return 0, fmt.Errorf("the learner is not empty: %w", nhi.ErrConflict)
	}
	if _, err := readOld(from, func(*oldLife) error { return nil }); err != nil {
		return 0, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	m, err := readOld(from, func(old *oldLife) error {
		if err := l.takeOver(old); err != nil {
			return err
		}
		if l.Dirty() >= MaxDirty {
			spill()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for hash, text := range m.names {
		l.names.add(hash, text)
	}
	l.peers = m.peers
	l.comparePeers()
	return m.seq, nil
}

// takeOver makes a page of an old one.
func (l *Learner) takeOver(old *oldLife) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot, err := l.book.Add(old.id.Number(), l.groups.number(old.about.Group))
	if err != nil {
		return err
	}
	page, _ := l.book.Write(slot)
	if err := page.UnmarshalBinary(old.page[:]); err != nil {
		return err
	}
	page.Configure(l.settings.Established)
	*l.book.Note(slot) = pages.Note{Day: int32(old.about.Day), Count: uint32(old.about.NewToday)}
	if len(old.about.Suspended) > 0 {
		l.withheld.set(slot, old.about.Suspended)
	}
	return nil
}

// An oldImage is what the file holds besides lives.
type oldImage struct {
	seq   uint64
	peers peers
	names map[uint64]string
}

// An oldLife is one identity in the file.
type oldLife struct {
	id    nhi.ID
	about memory
	page  [surprise.PageSize]byte
}

// A decoder reads a file and sums it up. After the first error it returns
// zeros.
type decoder struct {
	r   *bufio.Reader
	sum hash.Hash32
	err error
	row [surprise.PageSize]byte
}

func (d *decoder) bytes(into []byte) {
	if d.err == nil {
		if _, d.err = io.ReadFull(d.r, into); d.err == nil {
			d.sum.Write(into)
		}
	}
	if d.err != nil {
		clear(into)
	}
}

func (d *decoder) uint64() uint64 {
	d.bytes(d.row[:8])
	return binary.BigEndian.Uint64(d.row[:8])
}

func (d *decoder) text(limit int) []byte {
	d.bytes(d.row[:4])
	n := binary.BigEndian.Uint32(d.row[:4])
	if n > uint32(limit) {
		d.fail("a text is too long")
		return nil
	}
	b := make([]byte, n)
	d.bytes(b)
	return b
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errMalformed, why)
	}
}

// readOld reads a file and calls do for each life, in order of their ids. What
// do was given is good only if there is no error.
func readOld(from io.Reader, do func(*oldLife) error) (*oldImage, error) {
	d := &decoder{r: bufio.NewReaderSize(from, 1<<20), sum: crc32.New(castagnoli)}
	if d.bytes(d.row[:8]); d.err != nil || !bytes.HasPrefix(d.row[:8], []byte(fileMagic)) {
		return nil, fmt.Errorf("%w: not a baseline of this version", errMalformed)
	}
	m := &oldImage{seq: d.uint64(), names: map[uint64]string{}}
	m.peers = peers{last: int64(d.uint64()), events: int(min(d.uint64(), 1<<40))}
	n := d.uint64()
	if n > maxPages {
		d.fail("too many pages")
	}
	life, last := &oldLife{}, nhi.ID("")
	for i := uint64(0); i < n && d.err == nil; i++ {
		if d.life(life); i > 0 && last >= life.id {
			d.fail("identities out of order")
		}
		if last = life.id; d.err == nil {
			d.err = do(life)
		}
	}
	if n = d.uint64(); n > maxNames {
		d.fail("too many names")
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		hash := d.uint64()
		m.names[hash] = string(d.text(maxNameSize))
	}
	want := d.sum.Sum32()
	if d.bytes(d.row[:4]); d.err == nil && binary.BigEndian.Uint32(d.row[:4]) != want {
		d.fail("the checksum is wrong")
	}
	if _, err := d.r.ReadByte(); d.err == nil && err != io.EOF {
		d.fail("bytes after the end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}

func (d *decoder) life(w *oldLife) {
	*w = oldLife{id: nhi.ID(d.text(maxID))}
	if text := d.text(maxMemory); d.err == nil {
		if err := json.Unmarshal(text, &w.about); err != nil || len(w.about.Suspended) > maxSuspended {
			d.fail("the record of " + fmt.Sprintf("%q", w.id) + " cannot be read")
		}
	}
	if d.bytes(w.page[:]); d.err == nil {
		d.err = new(surprise.Page).UnmarshalBinary(w.page[:])
	}
}
