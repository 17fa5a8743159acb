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
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// The file: a magic with a version, the stream position, then counted
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

// Save writes all pages and names to path, together with seq, the position in
// the stream up to which they have learned. The file appears whole and synced
// to disk or not at all. Learning waits meanwhile, some four seconds for a
// million pages; deciding does not.
func (l *Learner) Save(path string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "baseline-*.tmp")
	if err != nil {
		return fmt.Errorf("save baseline: %w", err)
	}
	defer os.Remove(f.Name()) // fails once renamed
	err = l.write(f, seq)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("save baseline to %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (l *Learner) write(to io.Writer, seq uint64) error {
	buffered := bufio.NewWriterSize(to, 1<<20)
	sum := crc32.New(castagnoli)
	w := io.MultiWriter(buffered, sum)

	lives := slices.Clone(l.lives)
	slices.SortFunc(lives, func(a, b *life) int { return strings.Compare(string(a.id), string(b.id)) })
	head := binary.BigEndian.AppendUint64([]byte(fileMagic), seq)
	head = binary.BigEndian.AppendUint64(head, uint64(l.peers.last))
	head = binary.BigEndian.AppendUint64(head, uint64(l.peers.events))
	head = binary.BigEndian.AppendUint64(head, uint64(len(lives)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	var row []byte
	for _, life := range lives {
		about, err := json.Marshal(memory{life.group, life.day, life.newToday, life.suspended})
		if err != nil {
			return err
		}
		row = appendText(row[:0], []byte(life.id))
		row = appendText(row, about)
		if row, err = life.page.AppendBinary(row); err != nil {
			return err
		}
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	if err := l.names.write(w); err != nil {
		return err
	}
	if _, err := buffered.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return err
	}
	return buffered.Flush()
}

func (n *names) write(w io.Writer) error {
	var hashes []uint64
	n.words.Range(func(hash, _ any) bool {
		hashes = append(hashes, hash.(uint64))
		return true
	})
	slices.Sort(hashes)
	if _, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(len(hashes)))); err != nil {
		return err
	}
	var row []byte
	for _, hash := range hashes {
		row = binary.BigEndian.AppendUint64(row[:0], hash)
		row = appendText(row, []byte(n.Name(hash)))
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func appendText(b, text []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

// Load fills an empty Learner with what Save wrote and returns the position
// in the stream to go on from. It wraps fs.ErrNotExist if there is no file:
// then learn from the start of the stream. A damaged file or one of another
// version is an error and leaves the Learner empty.
func (l *Learner) Load(path string) (seq uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("load baseline: %w", err)
	}
	defer f.Close()
	image, err := readImage(f)
	if err != nil {
		return 0, fmt.Errorf("load baseline from %s: %w", path, err)
	}
	if err := l.adopt(image); err != nil {
		return 0, fmt.Errorf("load baseline from %s: %w", path, err)
	}
	if l.settings.OnPage != nil {
		for _, life := range image.lives {
			l.settings.OnPage(life.id, life.page)
		}
	}
	return image.seq, nil
}

// An image is the content of a file.
type image struct {
	seq   uint64
	peers peers
	lives []*life
	names map[uint64]string
}

func (l *Learner) adopt(m *image) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lives) != 0 {
		return fmt.Errorf("the learner is not empty: %w", nhi.ErrConflict)
	}
	for _, life := range m.lives {
		life.page.Configure(l.settings.Established)
		l.add(life)
	}
	for hash, text := range m.names {
		l.names.add(hash, text)
	}
	l.peers = m.peers
	l.comparePeers()
	return nil
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

func readImage(from io.Reader) (*image, error) {
	d := &decoder{r: bufio.NewReaderSize(from, 1<<20), sum: crc32.New(castagnoli)}
	if d.bytes(d.row[:8]); d.err != nil || !bytes.HasPrefix(d.row[:8], []byte(fileMagic)) {
		return nil, fmt.Errorf("%w: not a baseline of this version", errMalformed)
	}
	m := &image{seq: d.uint64(), names: map[uint64]string{}}
	m.peers = peers{last: int64(d.uint64()), events: int(min(d.uint64(), 1<<40))}
	n := d.uint64()
	if n > maxPages {
		d.fail("too many pages")
	}
	for i := uint64(0); i < n && d.err == nil; i++ {
		life := d.life()
		if k := len(m.lives); k > 0 && m.lives[k-1].id >= life.id {
			d.fail("identities out of order")
		}
		m.lives = append(m.lives, life)
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

func (d *decoder) life() *life {
	w := &life{id: nhi.ID(d.text(maxID)), page: &surprise.Page{}}
	var about memory
	if text := d.text(maxMemory); d.err == nil {
		if err := json.Unmarshal(text, &about); err != nil || len(about.Suspended) > maxSuspended {
			d.fail("the record of " + fmt.Sprintf("%q", w.id) + " cannot be read")
		}
	}
	w.group, w.day, w.newToday, w.suspended = about.Group, about.Day, about.NewToday, about.Suspended
	if d.bytes(d.row[:]); d.err == nil {
		d.err = w.page.UnmarshalBinary(d.row[:])
	}
	return w
}
