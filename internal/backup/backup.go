// Package backup is the file that a whole installation fits into: a sequence of
// named parts that is compressed, and encrypted to whom it is meant for. The
// file is layers of plain tools, so that it can be opened in need without
// Muster:
//
//	age -d -i identity.txt FILE | zstd -d | tar t
//
// The first part is the [Manifest], the last a list of all parts with their
// sizes and SHA-256. A [Reader] hands out parts as they come; only the error
// io.EOF at the end says that all of them were there, whole and in order. A cut
// or changed file is an error before that, but parts that were read earlier were
// genuine: put them aside until the end was seen.
//
// Whoever knows a recipient can make a file for it, so what comes out is hostile
// until somebody vouches for it: names are a short list of plain words, and
// sizes, numbers and the degree of compression are bounded.
package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-id/muster/internal/seal/agefile"
)

const (
	format       = 1
	manifestName = "manifest.json"
	contentsName = "contents.json"

	chunk       = 4 << 20 // of a part whose size is not known beforehand
	maxPart     = 2 << 30
	maxParts    = 200_000
	maxManifest = 64 << 10
	maxContents = 64 << 20
	maxWindow   = 32 << 20
	// A file may become this many times larger, and this much more: journals
	// on their reserve are mostly zeros, everything else is text.
	ratio = 200
	grace = 1 << 30
)

var (
	// ErrDamaged means that the file is cut, was changed, or is none of ours.
	ErrDamaged = errors.New("backup is damaged")
	// ErrNewer means that a later release wrote the file.
	ErrNewer = errors.New("backup was written by a newer release")
)

// names are what parts may be called: no way leads out of a folder.
var names = regexp.MustCompile(`^[a-z]{1,32}(/[a-z0-9][a-z0-9._-]{0,63})?(\.[a-z]{1,8})?$`)

// A Manifest is the first part: what the file is.
type Manifest struct {
	Format  int       `json:"muster_backup"`
	Program string    `json:"program"` // version of the muster that wrote it
	At      time.Time `json:"at"`      // when it was begun
}

// A Part is one entry of the list at the end.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type contents struct {
	Parts []Part `json:"parts"`
}

// A Writer writes a backup. Its methods are called by one at a time.
type Writer struct {
	lock  io.WriteCloser
	zip   *zstd.Encoder
	tar   *tar.Writer
	at    time.Time
	parts []Part
}

// NewWriter begins a backup that only who fits lock can read.
func NewWriter(to io.Writer, lock agefile.Lock, program string) (*Writer, error) {
	w := &Writer{at: time.Now().UTC().Truncate(time.Second)}
	var err error
	if w.lock, err = agefile.Encrypt(to, lock); err != nil {
		return nil, err
	}
	if w.zip, err = zstd.NewWriter(w.lock, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20)); err != nil {
		return nil, err
	}
	w.tar = tar.NewWriter(w.zip)
	text, err := json.Marshal(Manifest{format, program, w.at})
	if err != nil {
		return nil, err
	}
	return w, w.add(manifestName, text)
}

func (w *Writer) add(name string, data []byte) error {
	sum := sha256.Sum256(data)
	if err := w.header(name, int64(len(data))); err != nil {
		return err
	}
	if _, err := w.tar.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.parts = append(w.parts, Part{name, int64(len(data)), hex.EncodeToString(sum[:])})
	return nil
}

func (w *Writer) header(name string, size int64) error {
	if !names.MatchString(name) || size < 0 || size > maxPart {
		return fmt.Errorf("write part %.80q of %d bytes: a backup holds no such part", name, size)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: w.at, Format: tar.FormatUSTAR}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Add writes a part of size bytes from r, which must have them.
func (w *Writer) Add(name string, size int64, r io.Reader) error {
	if err := w.header(name, size); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(r, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.parts = append(w.parts, Part{name, size, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// Stream returns a writer for parts folder/00000000, folder/00000001, and so on,
// of a size that is not known beforehand. Close it before the next part.
func (w *Writer) Stream(folder string) io.WriteCloser { return &stream{w: w, folder: folder} }

type stream struct {
	w      *Writer
	folder string
	n      int
	buf    []byte
}

func (s *stream) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(len(p), chunk-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		if p = p[n:]; len(s.buf) == chunk {
			if err := s.flush(); err != nil {
				return 0, err
			}
		}
	}
	return written, nil
}

func (s *stream) flush() error {
	err := s.w.add(fmt.Sprintf("%s/%08d", s.folder, s.n), s.buf)
	s.n++
	s.buf = s.buf[:0]
	return err
}

func (s *stream) Close() error {
	if len(s.buf) == 0 {
		return nil
	}
	return s.flush()
}

// Close writes the list of parts and completes the file. It does not close
// where the file goes.
func (w *Writer) Close() error {
	text, err := json.Marshal(contents{w.parts})
	if err != nil {
		return err
	}
	if err := w.add(contentsName, text); err != nil {
		return err
	}
	return errors.Join(w.tar.Close(), w.zip.Close(), w.lock.Close())
}

// A Reader reads a backup. Close frees its memory.
type Reader struct {
	Manifest Manifest

	in       *counting
	zip      *zstd.Decoder
	tar      *tar.Reader
	parts    []Part
	current  *part
	produced int64
}

type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// NewReader opens a backup and reads its manifest. An error wraps
// agefile.ErrKey when key is not the one, ErrNewer, or ErrDamaged.
func NewReader(from io.Reader, key agefile.Key) (_ *Reader, err error) {
	r := &Reader{in: &counting{r: from}}
	plain, err := agefile.Decrypt(r.in, key)
	if err != nil {
		return nil, err
	}
	if r.zip, err = zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow*2)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	r.tar = tar.NewReader(bounded{r})
	name, body, err := r.Next()
	if err != nil {
		return nil, err
	}
	if name != manifestName {
		return nil, fmt.Errorf("%w: it begins with %q", ErrDamaged, name)
	}
	text, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &r.Manifest) != nil || r.Manifest.Format < 1 {
		return nil, fmt.Errorf("%w: it has no manifest", ErrDamaged)
	}
	if r.Manifest.Format > format {
		return nil, fmt.Errorf("%w: format %d, this release reads up to %d", ErrNewer, r.Manifest.Format, format)
	}
	return r, nil
}

// Close frees the memory of the reader.
func (r *Reader) Close() { r.zip.Close() }

// bounded is what the compression holds, until it is too much.
type bounded struct{ r *Reader }

func (b bounded) Read(p []byte) (int, error) {
	n, err := b.r.zip.Read(p)
	if b.r.produced += int64(n); b.r.produced > ratio*b.r.in.n+grace {
		return 0, fmt.Errorf("%w: %d bytes become over %d", ErrDamaged, b.r.in.n, b.r.produced)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

// Next returns the next part. Its body is good until the next call, which reads
// what was left of it. The error is io.EOF once all parts were there and whole;
// any other one means that the file must not be used.
func (r *Reader) Next() (name string, body io.Reader, err error) {
	if err := r.finish(); err != nil {
		return "", nil, err
	}
	h, err := r.tar.Next()
	if err == io.EOF {
		return "", nil, fmt.Errorf("%w: it ends before its list of parts", ErrDamaged)
	}
	if err != nil {
		return "", nil, damaged(err)
	}
	plain := h.Typeflag == tar.TypeReg && h.Format == tar.FormatUSTAR && len(h.PAXRecords) == 0 && h.Linkname == ""
	if !plain || !names.MatchString(h.Name) || h.Size < 0 || h.Size > maxPart || len(r.parts) >= maxParts {
		return "", nil, fmt.Errorf("%w: part %d, %.80q, is none that a backup has", ErrDamaged, len(r.parts)+1, h.Name)
	}
	if h.Name == contentsName {
		return "", nil, r.end(h.Size)
	}
	r.current = &part{r: r, name: h.Name, size: h.Size, sum: sha256.New()}
	return h.Name, r.current, nil
}

func damaged(err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// finish reads the rest of the current part and notes what it was.
func (r *Reader) finish() error {
	p := r.current
	if p == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, p); err != nil {
		return err
	}
	r.parts = append(r.parts, Part{p.name, p.size, hex.EncodeToString(p.sum.Sum(nil))})
	r.current = nil
	return nil
}

// end compares what was read with the list, and reads to the last byte: only
// there the encryption tells whether something was cut off.
func (r *Reader) end(size int64) error {
	if size > maxContents {
		return fmt.Errorf("%w: its list of parts has %d bytes", ErrDamaged, size)
	}
	text, err := io.ReadAll(r.tar)
	if err != nil {
		return damaged(err)
	}
	var want contents
	if json.Unmarshal(text, &want) != nil || len(want.Parts) != len(r.parts) {
		return fmt.Errorf("%w: %d parts are there, its list has %d", ErrDamaged, len(r.parts), len(want.Parts))
	}
	for i, p := range r.parts {
		if p != want.Parts[i] {
			return fmt.Errorf("%w: part %q is not what its list says", ErrDamaged, p.Name)
		}
	}
	if _, err := r.tar.Next(); err != io.EOF {
		return fmt.Errorf("%w: something follows its list of parts", ErrDamaged)
	}
	if n, err := io.Copy(io.Discard, bounded{r}); err != nil || n > tarPadding {
		return damaged(errors.Join(err, errors.New("something follows its end")))
	}
	return io.EOF
}

// tarPadding is how many zeros may follow the end of a tar file.
const tarPadding = 10 << 10

// A part is the body of one part.
type part struct {
	r    *Reader
	name string
	size int64
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (p *part) Read(b []byte) (int, error) {
	n, err := p.r.tar.Read(b)
	_, _ = p.sum.Write(b[:n]) // a hash never fails
	if err != nil && err != io.EOF {
		err = damaged(err)
	}
	return n, err
}
