package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	version    = 1
	headerSize = 64 // of a segment and of a record
	// A record ends with a byte that is not zero, so that a record whose end
	// never reached the disk is told from one that did and was damaged later.
	endMark = 0xA5
	suffix  = ".seg"
)

var (
	magic      = [8]byte{'M', 'U', 'S', 'T', 'E', 'R', 'J', 'L'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errEnd     = errors.New("end of segment")
)

// recordSize is what a payload of n bytes takes in a segment.
func recordSize(n int) int { return headerSize + n + 1 }

// headerSum sums a record's header without the sum itself.
func headerSum(head []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:28], castagnoli), castagnoli, head[32:headerSize])
}

// file is what the writer needs of an *os.File; tests put a failing one in.
type file interface {
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// A segment is the file that is being written.
type segment struct {
	f     file
	first uint64 // sequence number of its first record
	size  int64  // bytes that are in use, header included
	fixed int64  // bytes allocated beforehand if it was the reserve, else 0
	began time.Time
}

func (s segment) trim() error { return s.f.Truncate(s.size) }

func (s segment) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// A segment starts with: magic, version u32, CRC-32C of the rest u32, first
// sequence number u64, time of creation i64 in microseconds, and the hash of
// the last record before it.
type segmentHeader struct {
	first uint64
	prev  Hash
	at    time.Time // when it was begun, to the microsecond
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic[:])
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], h.first)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.at.UnixMicro()))
	copy(b[32:], h.prev[:])
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[16:], castagnoli))
	return b
}

func decodeSegmentHeader(b []byte) (segmentHeader, error) {
	if len(b) < headerSize || !bytes.Equal(b[:8], magic[:]) {
		return segmentHeader{}, errors.New("not a journal segment")
	}
	// The version first: a newer header may look different from here on.
	if v := binary.LittleEndian.Uint32(b[8:]); v > version {
		return segmentHeader{}, fmt.Errorf("version %d, this program reads up to %d: %w", v, version, ErrNewer)
	} else if v == 0 {
		return segmentHeader{}, errors.New("version 0 never existed")
	}
	if binary.LittleEndian.Uint32(b[12:]) != crc32.Checksum(b[16:headerSize], castagnoli) {
		return segmentHeader{}, errors.New("segment header was changed")
	}
	return segmentHeader{
		first: binary.LittleEndian.Uint64(b[16:]), at: time.UnixMicro(int64(binary.LittleEndian.Uint64(b[24:]))), prev: Hash(b[32:headerSize]),
	}, nil
}

// createSegment makes a segment durable under its name before anything is
// written to it, so that a segment never lacks its header.
func createSegment(dir string, first uint64, prev Hash) (_ segment, err error) {
	path := segmentPath(dir, first)
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if isReadOnly(err) {
		return segment{}, fmt.Errorf("create journal segment: %w: %w", errUntouched, err)
	}
	if err != nil {
		return segment{}, fmt.Errorf("create journal segment: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path + ".tmp")
		}
	}()
	return startSegment(f, dir, segmentHeader{first: first, prev: prev, at: time.Now()})
}

// startSegment writes the header into f, which has a name of its own so far,
// and gives it the segment's name.
func startSegment(f *os.File, dir string, h segmentHeader) (segment, error) {
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return segment{}, fmt.Errorf("write journal segment header: %w", err)
	}
	if err := f.Sync(); err != nil {
		return segment{}, fmt.Errorf("sync journal segment header: %w", err)
	}
	if err := os.Rename(f.Name(), segmentPath(dir, h.first)); err != nil {
		return segment{}, fmt.Errorf("name journal segment: %w", err)
	}
	return segment{f: f, first: h.first, size: headerSize, began: h.at}, syncFolder(dir)
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, segmentName(first))
}

// segments lists the segments in dir by their first sequence number.
func segments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var names []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || len(digits) != 20 {
			continue
		}
		first, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || first == 0 {
			return nil, &Fault{Kind: Changed, Segment: e.Name(), Reason: "the name is no sequence number"}
		}
		names = append(names, first)
	}
	slices.Sort(names)
	return names, nil
}

// removeLeftovers removes segments whose creation was interrupted.
func removeLeftovers(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil {
		return fmt.Errorf("list journal: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove unfinished segment: %w", err)
		}
	}
	return nil
}

// Record is one record as read back. Payload belongs to the receiver.
type Record struct {
	Position
	At      time.Time // when it was handed in, UTC, to the microsecond
	Prev    Hash      // of the record before; zero for the first ever
	Payload []byte
}

// A scanner reads the records of one segment and checks each by itself; a
// chain checks that they follow one another.
type scanner struct {
	r    io.ReaderAt
	buf  *bufio.Reader
	name string
	head segmentHeader
	off  int64 // of the next record
	size int64 // of the file
	torn Torn
	// closed says that another segment follows, so an unfinished record at
	// the end is damage. Unused space may be there: the segment was a reserve.
	closed bool
}

// sized is what a scanner reads: an *os.File, or bytes in tests.
type sized interface {
	io.ReaderAt
	io.Seeker
}

// newScanner reads the header of the segment named first. It looks no
// further than limit bytes; -1 means to the end of the file.
func newScanner(r sized, first uint64, limit int64) (*scanner, error) {
	name := segmentName(first)
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if limit >= 0 {
		size = min(size, limit)
	}
	b := make([]byte, headerSize)
	n, err := r.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	head, err := decodeSegmentHeader(b[:n])
	if errors.Is(err, ErrNewer) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if err != nil {
		return nil, &Fault{Kind: Changed, Segment: name, Seq: first, Reason: err.Error()}
	}
	if head.first != first {
		return nil, &Fault{Kind: Reordered, Segment: name, Seq: first,
			Reason: fmt.Sprintf("the file holds the segment that starts with record %d", head.first)}
	}
	s := &scanner{r: r, name: name, head: head, size: size}
	s.seek(headerSize)
	return s, nil
}

// seek makes the record at off the next one.
func (s *scanner) seek(off int64) {
	s.off = off
	s.buf = bufio.NewReaderSize(io.NewSectionReader(s.r, off, max(0, s.size-off)), 64<<10)
}

// next returns the next record, errEnd after the last, or a *Fault.
func (s *scanner) next() (Record, error) {
	left := s.size - s.off
	if left <= 0 {
		return Record{}, errEnd
	}
	if left < headerSize {
		return s.end(headerSize, "the header is incomplete")
	}
	var head [headerSize]byte
	if _, err := io.ReadFull(s.buf, head[:]); err != nil {
		return Record{}, fmt.Errorf("read %s at offset %d: %w", s.name, s.off, err)
	}
	if binary.LittleEndian.Uint32(head[28:]) != headerSum(head[:]) {
		return s.end(headerSize, "the header does not match its checksum")
	}
	size := int64(binary.LittleEndian.Uint32(head[0:]))
	rec := Record{
		Position: Position{Seq: binary.LittleEndian.Uint64(head[8:]), Segment: s.head.first, Offset: s.off},
		At:       time.UnixMicro(int64(binary.LittleEndian.Uint64(head[16:]))).UTC(),
		Prev:     Hash(head[32:]),
	}
	full := headerSize + size + 1
	switch {
	case size == 0 || size > MaxRecord:
		return Record{}, s.fault(rec.Seq, "the length is out of range")
	case binary.LittleEndian.Uint32(head[24:]) != 0:
		return Record{}, s.fault(rec.Seq, "the flags are unknown")
	case left < full:
		return s.end(full, "the record is incomplete")
	}
	body := make([]byte, size+1)
	if _, err := io.ReadFull(s.buf, body); err != nil {
		return Record{}, fmt.Errorf("read %s at offset %d: %w", s.name, s.off, err)
	}
	rec.Payload = body[:size:size]
	if body[size] != endMark || crc32.Checksum(rec.Payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return s.end(full, "the payload does not match its checksum")
	}
	sum := sha256.New()
	sum.Write(head[:])
	sum.Write(rec.Payload)
	sum.Sum(rec.Hash[:0])
	s.off += full
	return rec, nil
}

// end decides what a bad record at off means, of which full bytes are
// expected. If the file holds nothing but zeros from somewhere inside the
// record, or ends there, then its end was never written: it was not
// acknowledged, and reading stops. Otherwise it is a *Fault.
func (s *scanner) end(full int64, reason string) (Record, error) {
	used, err := usedBytes(s.r, s.off, s.size)
	if err != nil {
		return Record{}, fmt.Errorf("read %s at offset %d: %w", s.name, s.off, err)
	}
	if used >= full || (used > 0 && s.closed) {
		return Record{}, s.fault(0, reason)
	}
	if used > 0 {
		s.torn = Torn{Segment: s.name, Offset: s.off, Bytes: used}
	}
	return Record{}, errEnd
}

func (s *scanner) fault(seq uint64, reason string) error {
	return &Fault{Kind: Changed, Segment: s.name, Offset: s.off, Seq: seq, Reason: reason}
}

// usedBytes counts the bytes from off to size without trailing zeros.
func usedBytes(r io.ReaderAt, off, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > off; {
		start := max(off, end-int64(len(buf)))
		part := buf[:end-start]
		if _, err := r.ReadAt(part, start); err != nil {
			return 0, err
		}
		if n := len(bytes.TrimRight(part, "\x00")); n > 0 {
			return start + int64(n) - off, nil
		}
		end = start
	}
	return 0, nil
}

// readHeader reads what stands at the beginning of a segment.
func readHeader(dir string, first uint64) (segmentHeader, error) {
	f, err := os.Open(segmentPath(dir, first))
	if err != nil {
		return segmentHeader{}, fmt.Errorf("open journal segment: %w", err)
	}
	defer f.Close()
	sc, err := newScanner(f, first, -1)
	if err != nil {
		return segmentHeader{}, err
	}
	return sc.head, nil
}

// makeFolder creates dir, durably, unless it is there.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create journal folder: %w", err)
	}
	return syncFolder(filepath.Dir(dir))
}

// syncFolder makes names in dir durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}
