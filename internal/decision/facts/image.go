package facts

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/muster-id/muster/internal/nhi"
)

// An image is a file with everything that one Snapshot holds, so that a start
// need not read the tables: a [Mark], then words, identities and credentials
// in order of their numbers, what is few as JSON, and an HMAC-SHA256 of all
// before it under a key of the installation. So an image that is cut off,
// damaged, or written by somebody else is no image. It holds no secret:
// verifiers are hashes. Numbers are little endian, texts carry their length.
const imageMagic = "MFACTS01"

// ErrNoImage is wrapped by the error about every file that cannot be used as
// an image, whatever the reason; a file that is not there is fs.ErrNotExist.
var ErrNoImage = errors.New("not an image of these facts")

// A Mark says what an image is an image of.
type Mark struct {
	// Installation is the database the facts come from, at most 64 bytes.
	Installation string
	// Basis is a digest of what facts depend on besides the tables.
	Basis [32]byte
	// Last is a digest of the change with the number Generation, so that an
	// image never goes on with a history that is not its own.
	Last       [32]byte
	Generation nhi.Generation
}

// Bounds on what an image may claim.
const (
	maxRecords = 1 << 28
	maxText    = 1 << 20
	maxJSON    = 1 << 24
)

// Save writes the snapshot as an image to path. The file appears whole and
// synced to disk, readable by the owner only, or not at all. Others may go on
// reading and applying changes meanwhile: a snapshot never changes. One Save
// to one path at a time.
func (s *Snapshot) Save(path string, key []byte, mark Mark) error {
	if mark.Generation != s.generation || len(mark.Installation) > 64 {
		return nhi.Invalidf("save the image of facts %d marked %d for %q", s.generation, mark.Generation, mark.Installation)
	}
	next := path + ".next" // one name, so that crashes leave no pile
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save the image of facts: %w", err)
	}
	err = s.write(f, key, &mark)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("save the image of facts: %w", err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// An imageWriter adds rows to a file and sums them up. It keeps the first
// error.
type imageWriter struct {
	out *bufio.Writer
	sum hash.Hash
	row []byte
	err error
}

// flush writes the row and empties it.
func (w *imageWriter) flush() {
	if w.err == nil {
		w.sum.Write(w.row)
		_, w.err = w.out.Write(w.row)
	}
	w.row = w.row[:0]
}

func (w *imageWriter) u64(v uint64)   { w.row = binary.LittleEndian.AppendUint64(w.row, v) }
func (w *imageWriter) u32(v uint32)   { w.row = binary.LittleEndian.AppendUint32(w.row, v) }
func (w *imageWriter) id(v id)        { w.u64(v.Hi); w.u64(v.Lo) }
func (w *imageWriter) text(s string)  { w.u32(uint32(len(s))); w.row = append(w.row, s...) }
func (w *imageWriter) bytes(b []byte) { w.row = append(w.row, b...) }

func (w *imageWriter) json(v any) {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.u32(uint32(len(b)))
	w.bytes(b)
	w.flush()
}

func (s *Snapshot) write(to io.Writer, key []byte, mark *Mark) error {
	w := &imageWriter{out: bufio.NewWriterSize(to, 1<<20), sum: hmac.New(sha256.New, key)}
	w.bytes([]byte(imageMagic))
	w.text(mark.Installation)
	w.bytes(mark.Basis[:])
	w.bytes(mark.Last[:])
	w.u64(uint64(mark.Generation))
	w.u64(uint64(s.routesSince))
	w.flush()
	w.u32(uint32(len(s.words)))
	for _, text := range s.words {
		w.text(text)
		w.flush()
	}
	for _, sh := range s.shards {
		w.u32(uint32(len(sh.identities)))
		w.u32(uint32(len(sh.credentials)))
	}
	w.flush()
	for _, sh := range s.shards {
		for i := range sh.identities {
			w.identity(sh, &sh.identities[i])
		}
		for i := range sh.credentials {
			w.credential(sh, &sh.credentials[i])
		}
		w.flush()
	}
	s.writeFew(w)
	if w.err == nil {
		_, w.err = w.out.Write(w.sum.Sum(nil))
	}
	return errors.Join(w.err, w.out.Flush())
}

func (w *imageWriter) identity(sh *shard, r *identityRecord) {
	w.id(r.key)
	w.u64(uint64(r.notBefore))
	for _, v := range [...]word{r.kind, r.state, r.environment, r.class, r.owner} {
		w.u32(uint32(v))
	}
	w.bytes([]byte{byte(r.risk), r.flags})
	if r.flags&(flagOdd|flagAliased) != 0 {
		o := sh.oddIdentities[r.key]
		w.text(o.id)
		w.text(string(o.alias))
	}
}

func (w *imageWriter) credential(sh *shard, r *credentialRecord) {
	w.id(r.key)
	w.id(r.identity)
	w.bytes(r.verifier[:])
	w.bytes(r.public[:])
	w.bytes([]byte{r.length, byte(r.risk), r.flags})
	w.u64(uint64(r.expires))
	w.u32(uint32(r.kind))
	w.u32(uint32(r.state))
	if r.flags&oddCredential != 0 {
		o := sh.oddCredentials[r.key]
		w.text(o.id)
		w.text(string(o.identity))
		w.text(string(o.consumer))
		w.text(o.public)
	}
}

// oddCredential are the flags of a credential that has an odd.
const oddCredential = flagOdd | flagConsumer | flagLongPublic | flagOddIdentity

// writeFew writes what is few.
func (s *Snapshot) writeFew(w *imageWriter) {
	w.u32(uint32(s.counts.Resources))
	for _, sh := range s.shards {
		for _, r := range sh.resources {
			w.json(r)
		}
	}
	w.u32(uint32(len(s.points)))
	for _, p := range s.points {
		w.json(p)
	}
	w.u32(uint32(len(s.sources)))
	for _, src := range s.sources {
		w.json(src)
	}
	w.json(s.routes)
	w.u32(uint32(s.counts.Revocations))
	for _, sh := range s.shards {
		for kind, m := range [...]map[string]revoked{sh.tokens, sh.keys, sh.sessions} {
			for name, r := range m {
				w.bytes([]byte{byte(kind)})
				w.text(name)
				w.u64(uint64(r.at))
				w.u64(uint64(r.expires))
			}
		}
		w.flush()
	}
}

// Restore replaces the facts by the image at path, if accept agrees to its
// mark, and makes them current as of its generation. Whatever the error, the
// facts are as they were; it wraps fs.ErrNotExist when there is no file,
// ErrNoImage when the file cannot be used, and what accept returned.
func (f *Facts) Restore(path string, key []byte, accept func(Mark) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the image of facts: %w", err)
	}
	defer file.Close()
	l := f.Begin()
	defer l.Abandon()
	mark, err := l.read(file, key, accept)
	if err != nil {
		return fmt.Errorf("read the image of facts: %w", err)
	}
	return l.Commit(mark.Generation)
}

// An imageReader reads a file and sums it up. After the first error it returns
// zeros.
type imageReader struct {
	in    *bufio.Reader
	sum   hash.Hash
	err   error
	row   [256]byte
	words int
}

func (r *imageReader) fail(why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrNoImage, why)
	}
}

// bytes returns the next n bytes, valid until the next call.
func (r *imageReader) bytes(n int) []byte {
	b := r.row[:min(n, len(r.row))]
	if n > len(b) {
		b = make([]byte, n)
	}
	if r.err == nil {
		if _, err := io.ReadFull(r.in, b); err != nil {
			r.fail("it is cut off")
		}
	}
	if r.err != nil {
		clear(b)
		return b
	}
	r.sum.Write(b)
	return b
}

func (r *imageReader) u64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }
func (r *imageReader) u32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }

// count reads how many of something follow.
func (r *imageReader) count() int {
	n := r.u32()
	if n > maxRecords {
		r.fail("it claims too much")
		return 0
	}
	return int(n)
}

func (r *imageReader) text() string { return string(r.sized(maxText)) }

func (r *imageReader) sized(limit int) []byte {
	n := r.u32()
	if n > uint32(limit) {
		r.fail("a text is too long")
		return nil
	}
	// What the file claims is not believed before it is there: a large text
	// grows with what was read of it.
	if n <= 1<<16 {
		return r.bytes(int(n))
	}
	var b bytes.Buffer
	for left := int(n); left > 0 && r.err == nil; left -= 1 << 16 {
		b.Write(r.bytes(min(left, 1<<16)))
	}
	return b.Bytes()
}

func (r *imageReader) word(raw []byte) word {
	w := word(binary.LittleEndian.Uint32(raw))
	if int(w) >= r.words {
		r.fail("a word is missing")
		return 0
	}
	return w
}

func (r *imageReader) json(into any) {
	if b := r.sized(maxJSON); r.err == nil {
		if err := json.Unmarshal(b, into); err != nil {
			r.fail("a piece of it cannot be read")
		}
	}
}

// read fills the loading with an image.
func (l *Loading) read(from io.Reader, key []byte, accept func(Mark) error) (Mark, error) {
	r := &imageReader{in: bufio.NewReaderSize(from, 1<<20), sum: hmac.New(sha256.New, key)}
	if string(r.bytes(len(imageMagic))) != imageMagic {
		return Mark{}, fmt.Errorf("%w: it is of another version", ErrNoImage)
	}
	mark := Mark{Installation: string(r.sized(64))}
	copy(mark.Basis[:], r.bytes(32))
	copy(mark.Last[:], r.bytes(32))
	mark.Generation = nhi.Generation(r.u64())
	since := nhi.Generation(r.u64())
	if r.err == nil {
		r.err = accept(mark)
	}
	if r.err != nil {
		return Mark{}, r.err
	}
	l.readMany(r)
	l.readFew(r, since)
	want := r.sum.Sum(nil)
	if got := r.bytes(len(want)); r.err == nil && !hmac.Equal(got, want) {
		r.fail("it is damaged, or another installation wrote it")
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		r.fail("something follows its end")
	}
	return mark, r.err
}

// readMany reads words, identities and credentials, which come in order.
func (l *Loading) readMany(r *imageReader) {
	b := l.batch
	n := r.count()
	for i := 0; i < n && r.err == nil; i++ {
		if text := r.text(); r.err == nil && int(b.word(text)) != i {
			r.fail("a word comes twice")
		}
	}
	r.words = len(b.next.words)
	var sizes [shards][2]int
	for i := range sizes {
		sizes[i] = [2]int{r.count(), r.count()}
	}
	b.sorted = true
	for i := range shards {
		if sizes[i] == [2]int{} || r.err != nil {
			continue
		}
		sh := b.shard(i, partIdentities|partCredentials)
		sh.identities = make([]identityRecord, 0, min(sizes[i][0], 1<<16))
		sh.credentials = make([]credentialRecord, 0, min(sizes[i][1], 1<<16))
		for j := 0; j < sizes[i][0] && r.err == nil; j++ {
			r.identity(i, sh)
		}
		for j := 0; j < sizes[i][1] && r.err == nil; j++ {
			r.credential(i, sh)
		}
	}
}

// id reads a number that belongs into shard i.
func (r *imageReader) id(raw []byte) id {
	return id{Hi: binary.LittleEndian.Uint64(raw), Lo: binary.LittleEndian.Uint64(raw[8:])}
}

func (r *imageReader) identity(i int, sh *shard) {
	const size = 16 + 8 + 5*4 + 2
	raw := r.bytes(size)
	v := identityRecord{
		key: r.id(raw), notBefore: int64(binary.LittleEndian.Uint64(raw[16:])), kind: r.word(raw[24:]), state: r.word(raw[28:]),
		environment: r.word(raw[32:]), class: r.word(raw[36:]), owner: r.word(raw[40:]), risk: int8(min(raw[44], 100)), flags: raw[45],
	}
	if v.flags&(flagOdd|flagAliased) != 0 {
		o := odd{id: r.text()}
		o.alias = nhi.ID(r.text())
		sh.oddIdentities = setOdd(sh.oddIdentities, v.key, o)
	}
	if n := len(sh.identities); r.err == nil && (shardOf(v.key.Hi) != i || n > 0 && !sh.identities[n-1].key.Less(v.key)) {
		r.fail("identities are out of order")
	}
	sh.identities = append(sh.identities, v)
}

func (r *imageReader) credential(i int, sh *shard) {
	const size = 16 + 16 + 32 + 22 + 3 + 8 + 4 + 4
	raw := r.bytes(size)
	v := credentialRecord{
		key: r.id(raw), identity: r.id(raw[16:]), length: raw[86], risk: int8(min(raw[87], 100)), flags: raw[88],
		expires: int64(binary.LittleEndian.Uint64(raw[89:])), kind: r.word(raw[97:]), state: r.word(raw[101:]),
	}
	copy(v.verifier[:], raw[32:])
	copy(v.public[:], raw[64:])
	if int(v.length) > len(v.public) {
		r.fail("a public id is too long")
		v.length = 0
	}
	if v.flags&oddCredential != 0 {
		o := odd{id: r.text()}
		o.identity = nhi.ID(r.text())
		o.consumer = nhi.ID(r.text())
		o.public = r.text()
		sh.oddCredentials = setOdd(sh.oddCredentials, v.key, o)
	}
	if n := len(sh.credentials); r.err == nil && (shardOf(v.key.Hi) != i || n > 0 && !sh.credentials[n-1].key.Less(v.key)) {
		r.fail("credentials are out of order")
	}
	sh.credentials = append(sh.credentials, v)
}

// readFew reads what writeFew wrote.
func (l *Loading) readFew(r *imageReader, since nhi.Generation) {
	each(r, func(v *nhi.Resource) { l.Resource(v) })
	each(r, func(v *nhi.Point) { l.Point(v) })
	each(r, func(v *nhi.Source) { l.Source(v) })
	var routes []nhi.Route
	r.json(&routes)
	l.Routes(routes, since)
	n := r.count()
	for i := 0; i < n && r.err == nil; i++ {
		kind := r.bytes(1)[0]
		name := r.text()
		v := revoked{at: int64(r.u64()), expires: int64(r.u64())}
		switch kind {
		case 0:
			l.batch.revoke(name, v, func(sh *shard) *map[string]revoked { return &sh.tokens })
		case 1:
			l.batch.revoke(name, v, func(sh *shard) *map[string]revoked { return &sh.keys })
		case 2:
			l.batch.revoke(name, v, func(sh *shard) *map[string]revoked { return &sh.sessions })
		default:
			r.fail("a revocation of an unknown kind")
		}
	}
}

func each[T any](r *imageReader, add func(*T)) {
	n := r.count()
	for i := 0; i < n && r.err == nil; i++ {
		var v T
		if r.json(&v); r.err == nil {
			add(&v)
		}
	}
}
