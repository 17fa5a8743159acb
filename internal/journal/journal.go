// Package journal is an append-only record of what must not be lost: every
// record is on disk before Append returns, and nobody can later change,
// remove or reorder one without Verify naming it.
//
// A journal is a folder of segments, files named for the first sequence
// number they hold. A record is a 64-byte header, the payload and one end
// mark:
//
//	length  u32   bytes of payload, 1 to MaxRecord
//	sum     u32   CRC-32C of the payload
//	seq     u64   1 for the first record ever, then gapless
//	time    i64   microseconds since 1970, when the record was handed in
//	flags   u32   zero in this version
//	check   u32   CRC-32C of the rest of this header
//	prev    [32]  hash of the record before
//
// All numbers are little endian. The hash of a record is SHA-256 over its
// header and payload; as the header holds the hash before it, the last hash
// speaks for the whole history. The checksums find accidents, and the header
// has its own so that a damaged length is never mistaken for a short file.
// The hashes find changes that fixed the checksums. Someone who may write
// the folder can still recompute everything or cut the end: that is shown by
// a signature over a hash kept elsewhere, which is the audit log's work.
//
// Appends are grouped: while one group is being written and synced, the next
// collects, so that many callers share one sync and a lone caller waits for
// nobody. The work is done by a goroutine that lives only while there is
// something to write.
//
// What goes wrong, and what then happens:
//
//   - The process or the machine dies during a write. The end of the last
//     segment holds part of a record that nobody was told is safe. Open
//     removes it, and Recovered says what it removed.
//   - Bytes elsewhere are damaged. Open, Read and Verify return a *Fault
//     naming segment, offset and record. Nothing is skipped.
//   - A write or sync fails. The state of the disk is unknown, and a second
//     sync may report success for data that is gone. The journal refuses
//     everything from then on (ErrBroken) until it is opened anew.
//   - The disk is full. The journal goes on in a reserve file whose blocks
//     were allocated beforehand, so that nobody else can take them. When that
//     is spent too, Append returns ErrFull, and works again once there is
//     room.
//   - The folder may not be written, or its disk has become read-only: Append
//     returns ErrReadOnly as long as that is so. Nothing was written, so
//     nothing is in doubt.
//
// [Journal.Rearm] looks whether the cause is gone, so that a journal is well
// again before somebody appends.
//
// A journal grows until it is pruned: [Journal.Outdated] says how far that may
// go by age and size, [Journal.Prune] does it. The chain stays provable from the
// first record that is left; that the ones before were there is for the caller
// to keep.
//
// A folder belongs to one process: Open takes a lock. Readers need none:
// Read and Verify, the functions, work beside a running server.
package journal

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"time"
)

// MaxRecord is the largest payload in bytes.
const MaxRecord = 1 << 20

// DefaultReserve is the size of the reserve in production, in bytes.
const DefaultReserve = 256 << 20

// Errors that callers tell apart. They are wrapped with the folder or file.
var (
	ErrClosed = errors.New("journal is closed")
	ErrLocked = errors.New("journal is in use by another process")
	ErrNewer  = errors.New("journal was written by a newer version")
	ErrBroken = errors.New("journal refuses records after a failed write")
	ErrFull   = errors.New("disk is full and the journal's reserve is spent")
	// ErrReadOnly means that nothing may be written where the journal is.
	ErrReadOnly = errors.New("journal's folder cannot be written")
	ErrQueue    = errors.New("journal's queue is full")
	ErrSize     = errors.New("record is empty or too large")
	ErrPruned   = errors.New("record was pruned")
)

// Settings of a journal. The zero value is ready for use, without a reserve.
type Settings struct {
	// SegmentSize in bytes: a segment that has reached it is closed and the
	// next one begun. Opening reads one segment. Zero means 64 MB.
	SegmentSize int64
	// SegmentAge closes a segment that is older at the next record, so that
	// pruning by age is no coarser. Zero means never.
	SegmentAge time.Duration
	// QueueSize bounds the bytes that wait to be written. Append waits for
	// room, AppendAsync returns ErrQueue. Zero means 8 MB.
	QueueSize int
	// Reserve is the size in bytes of the file kept for a full disk. Zero
	// means none; production uses DefaultReserve.
	Reserve int64

	// Wrote, if set, is told how long each group of records took to become
	// durable, waiting for the group before it not counted. It must not call
	// the journal.
	Wrote func(time.Duration)
	// Lost, if set, is told how many records of AppendAsync a failed write took
	// along; of the others their Append says so. It must not call the journal.
	Lost   func(records int)
	noSync bool // for the benchmark that shows what a sync costs
}

func (s Settings) withDefaults() Settings {
	if s.SegmentSize <= 0 {
		s.SegmentSize = 64 << 20
	}
	if s.QueueSize <= 0 {
		s.QueueSize = 8 << 20
	}
	s.QueueSize = max(s.QueueSize, recordSize(MaxRecord))
	if s.Reserve > 0 {
		s.Reserve = max(s.Reserve, int64(headerSize+recordSize(MaxRecord)))
	}
	return s
}

// Hash is the SHA-256 of a record and, through it, of all records before.
type Hash [32]byte

// Position says where a record is and what the chain says up to it.
type Position struct {
	Seq     uint64 // number of the record, from 1
	Segment uint64 // the segment's first sequence number, which is its name
	Offset  int64  // of the record's header in the segment, in bytes
	Hash    Hash   // of the record
}

// Torn tells of an unfinished record at the end of the last segment. It was
// never acknowledged. The zero value means that there was none.
type Torn struct {
	Segment string // file name
	Offset  int64  // where the record started
	Bytes   int64  // how much of it was there, not counting zeros at its end
}

// Health says whether the journal takes records and what it lives on.
type Health struct {
	Err       error // why records are refused; nil while they are taken
	Reserve   int64 // bytes of the reserve that waits; 0 if it is in use or was never set
	OnReserve bool  // the disk was full: records go to the reserve
	Left      int64 // bytes left of the reserve that records go to
}

// Journal is an open journal. All methods may be called concurrently.
type Journal struct {
	dir  string
	set  Settings
	lock *os.File
	torn Torn

	flushing sync.WaitGroup // the writer, while there is one
	hurry    chan struct{}  // room for one: somebody waits for the group that gathers

	reserving sync.Mutex // guards the reserve file; taken before mu

	mu      sync.Mutex // guards everything below
	next    *group     // collects records while the writer works
	spare   *group     // an emptied group's buffers, for use again
	writing bool       // a writer is running
	wrote   time.Time  // when the last group was written
	closed  bool
	health  Health
	last    Position // of the last durable record; Seq 0 if there is none
	latest  time.Time
	first   uint64 // the oldest sequence number that is kept

	// Only the writer touches cur, or whoever holds mu while none runs.
	cur segment
}

// A group is a batch of records that share one write and one sync.
type group struct {
	buf    []byte   // headers and payloads; the writer fills the headers in
	starts []int    // where each record starts in buf
	alone  int      // records that nobody waits for
	hashes []Hash   // by record, once written
	base   Position // Seq, Segment and Offset of the first record
	done   chan struct{}
	err    error // read after done is closed
}

// Open opens the journal in dir, creates it if need be, locks it, removes an
// unfinished record at its end and makes what it found durable. It reads the
// last segment in full; Verify reads all. A damaged record is a *Fault.
func Open(dir string, set Settings) (_ *Journal, err error) {
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, set: set.withDefaults(), lock: lock, hurry: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			j.cur.close()
			lock.Close()
		}
	}()
	if err := j.restore(); err != nil {
		return nil, err
	}
	// A disk without room for the reserve is a state to report, not a reason
	// to refuse: Health shows it, Rearm tries again.
	if err := j.rearm(); err != nil && !isFull(err) {
		return nil, err
	}
	j.next = newGroup()
	return j, nil
}

// restore finds the end of the journal, removes what is unfinished there and
// leaves cur ready for the next record.
func (j *Journal) restore() error {
	if err := removeLeftovers(j.dir); err != nil {
		return err
	}
	names, err := segments(j.dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		j.first = 1
		j.cur, err = createSegment(j.dir, 1, Hash{})
		return err
	}
	for _, first := range names[:len(names)-1] {
		// It is ours and of a version that we read; more is Verify's work.
		if _, err := readHeader(j.dir, first); err != nil {
			return err
		}
	}
	j.first = names[0]
	return j.recoverLast(names[len(names)-1])
}

func (j *Journal) recoverLast(first uint64) error {
	f, err := os.OpenFile(segmentPath(j.dir, first), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open journal segment: %w", err)
	}
	j.cur = segment{f: f, first: first}
	sc, err := newScanner(f, first, -1)
	if err != nil {
		return err
	}
	j.cur.began = sc.head.at
	ch := sc.chain()
	j.last = Position{Seq: first - 1, Segment: first, Offset: 0, Hash: sc.head.prev}
	for {
		rec, err := ch.read(sc)
		if err == errEnd {
			break
		}
		if err != nil {
			return err
		}
		j.last, j.latest = rec.Position, rec.At
	}
	j.torn = sc.torn
	j.cur.size = sc.off
	if sc.size != sc.off {
		if err := f.Truncate(sc.off); err != nil {
			return fmt.Errorf("remove unfinished record: %w", err)
		}
	}
	if j.set.noSync {
		return nil
	}
	// What was read may so far live only in the page cache.
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return syncFolder(j.dir)
}

// Latest is the latest time by the wall clock at which a record was handed in
// since the journal was opened, or the time of the record that it ended with
// then. A clock that says less was set back. Zero when there is no record.
func (j *Journal) Latest() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.latest
}

// Append adds one record and returns once it is durable. It copies payload.
// An error means that the record may or may not be in the journal, except
// for ErrClosed, ErrFull, ErrReadOnly and ErrSize: then it is not.
func (j *Journal) Append(payload []byte) (Position, error) {
	for {
		g, i, err := j.enqueue(payload, 0)
		if err == ErrQueue {
			<-g.done // room comes with the next group
			continue
		}
		if err != nil {
			return Position{}, err
		}
		<-g.done
		if g.err != nil {
			return Position{}, g.err
		}
		return g.position(i), nil
	}
}

// AppendAsync adds one record without waiting for it to be durable. It
// copies payload. It returns ErrQueue when too much is waiting. In a stream of
// such records some milliseconds of them share one sync. Records are
// written in the order they were handed in, so once a later Append has
// returned without error, this record is durable too.
func (j *Journal) AppendAsync(payload []byte) error {
	_, _, err := j.enqueue(payload, 1)
	return err
}

// enqueue puts payload into the next group and says where it is in it. With
// ErrQueue it returns the group whose end makes room. alone is 1 when nobody waits
// for it, else 0.
func (j *Journal) enqueue(payload []byte, alone int) (*group, int, error) {
	if len(payload) == 0 || len(payload) > MaxRecord {
		return nil, 0, fmt.Errorf("append %d bytes: %w", len(payload), ErrSize)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, 0, ErrClosed
	case errors.Is(j.health.Err, ErrBroken):
		return nil, 0, j.health.Err
	case len(j.next.buf)+recordSize(len(payload)) > j.set.QueueSize:
		j.press()
		return j.next, 0, ErrQueue
	}
	g := j.next
	now := time.Now()
	if now.After(j.latest) {
		j.latest = now.Round(0)
	}
	i := g.add(payload, now)
	g.alone += alone
	if alone == 0 || len(g.buf) > j.set.QueueSize/4 {
		j.press()
	}
	if !j.writing {
		j.writing = true
		j.flushing.Go(j.write)
	}
	return g, i, nil
}

// press ends the gathering of records.
func (j *Journal) press() {
	select {
	case j.hurry <- struct{}{}:
	default:
	}
}

// gathering is how long records that nobody waits for collect behind a group
// that was just written, so that a stream of them shares syncs.
const gathering = 5 * time.Millisecond

// gather waits while more records may join a group that nobody waits for. Who
// comes after a pause does not wait.
func (j *Journal) gather() {
	j.mu.Lock()
	left := gathering - time.Since(j.wrote)
	if g := j.next; left <= 0 || j.closed || g.alone < len(g.starts) || len(g.buf) > j.set.QueueSize/4 {
		j.mu.Unlock()
		return
	}
	select {
	case <-j.hurry: // of a group that is written
	default:
	}
	j.mu.Unlock()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-j.hurry:
	}
}

// write writes groups until none is waiting.
func (j *Journal) write() {
	for {
		j.gather()
		j.mu.Lock()
		g := j.next
		if len(g.starts) == 0 {
			j.writing = false
			j.mu.Unlock()
			return
		}
		j.next = j.takeSpare()
		last, broken := j.last, j.health.Err
		j.mu.Unlock()

		if !errors.Is(broken, ErrBroken) {
			began := time.Now()
			g.err = j.commit(g, last)
			if j.set.Wrote != nil && g.err == nil {
				j.set.Wrote(time.Since(began))
			}
		} else {
			g.err = broken
		}
		if g.err != nil && g.alone > 0 && j.set.Lost != nil {
			j.set.Lost(g.alone)
		}

		j.mu.Lock()
		if g.err == nil {
			j.last = g.position(len(g.starts) - 1)
		}
		j.health.Err = g.err
		if j.health.OnReserve {
			j.health.Left = j.cur.fixed - j.cur.size
		}
		j.recycle(g)
		j.wrote = time.Now()
		j.mu.Unlock()
		close(g.done)
	}
}

// commit makes a group durable.
func (j *Journal) commit(g *group, last Position) error {
	err := j.room(int64(len(g.buf)), last)
	if err == nil {
		err = j.put(g, last)
	}
	if isFull(err) { // the disk filled up: move to the reserve and try once more
		if err = j.takeReserve(last); err == nil {
			err = j.room(int64(len(g.buf)), last)
		}
		if err == nil {
			err = j.put(g, last)
		}
	}
	switch {
	case err == nil:
		return nil
	case isFull(err):
		return fmt.Errorf("append to journal %s: %w", j.dir, ErrFull)
	case errors.Is(err, ErrFull):
		return err
	case errors.Is(err, errUntouched):
		return fmt.Errorf("append to journal %s: %w: %w", j.dir, ErrReadOnly, err)
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// put seals the group behind last, writes it to the current segment and
// syncs it. A full disk leaves the segment as it was.
func (j *Journal) put(g *group, last Position) error {
	g.seal(last, j.cur)
	if n, err := j.cur.f.WriteAt(g.buf, j.cur.size); err != nil {
		if n == 0 && isReadOnly(err) {
			return fmt.Errorf("write journal: %w: %w", errUntouched, err)
		}
		if !isFull(err) {
			return fmt.Errorf("write journal: %w", err)
		}
		if cut := errors.Join(j.cur.trim(), j.cur.f.Sync()); cut != nil {
			return fmt.Errorf("take back half a write: %v", cut)
		}
		return err
	}
	if !j.set.noSync {
		if err := j.cur.f.Sync(); err != nil {
			// Not %w: a full disk found this late is not the mild kind.
			return fmt.Errorf("sync journal: %v", err)
		}
	}
	j.cur.size += int64(len(g.buf))
	return nil
}

// room begins a new segment if the current one has no room for n bytes.
func (j *Journal) room(n int64, last Position) error {
	limit := j.set.SegmentSize
	if j.cur.fixed > 0 {
		limit = j.cur.fixed
	}
	aged := j.set.SegmentAge > 0 && j.cur.fixed == 0 && time.Since(j.cur.began) > j.set.SegmentAge
	if j.cur.size+n <= limit && !aged || (j.cur.size == headerSize && j.cur.fixed == 0) {
		return nil
	}
	if j.cur.size == headerSize {
		return fmt.Errorf("a group of %d bytes: %w", n, ErrFull)
	}
	seg, err := createSegment(j.dir, last.Seq+1, last.Hash)
	if err != nil {
		return err
	}
	if err := j.leave(seg); err != nil {
		return err
	}
	// Without a reserve the journal still works; Health shows that it is gone.
	_ = j.rearm()
	return nil
}

// leave closes the current segment, giving back what it did not use, and
// makes seg the current one.
func (j *Journal) leave(seg segment) error {
	old := j.cur
	j.cur = seg
	j.mu.Lock()
	j.health.OnReserve = seg.fixed > 0
	j.mu.Unlock()
	if old.fixed > 0 {
		if err := old.trim(); err != nil {
			return fmt.Errorf("close journal segment: %w", err)
		}
	}
	if err := old.close(); err != nil {
		return fmt.Errorf("close journal segment: %w", err)
	}
	return nil
}

// Last returns the position of the last durable record. Its Seq is 0 and its
// Hash zero while the journal is empty; Offset is 0 if the record is in the
// segment before the one that Open found last.
func (j *Journal) Last() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// First returns the oldest sequence number that has not been pruned.
func (j *Journal) First() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first
}

// Recovered returns what Open removed from the end.
func (j *Journal) Recovered() Torn { return j.torn }

// Health returns the state of the journal now.
func (j *Journal) Health() Health {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.health
}

// Read yields the durable records from sequence number from on, oldest
// first, up to the last one at the time of the call; from 0 means from the
// oldest. It ends after the first error. It may run beside Append.
func (j *Journal) Read(from uint64) iter.Seq2[Record, error] {
	return read(j.dir, from, Position{}, j.Last().Seq)
}

// ReadAfter is Read from the record behind pos on, which Read, ReadAfter or
// Append told. It does not read what lies before pos, so that following a
// journal costs what is new and not what is there. A record that has another
// hash than the position says is a *Fault.
func (j *Journal) ReadAfter(pos Position) iter.Seq2[Record, error] {
	return read(j.dir, pos.Seq+1, pos, j.Last().Seq)
}

// At returns the record at a position that Append returned. A record that
// has another hash than the position says is a *Fault.
func (j *Journal) At(pos Position) (Record, error) {
	f, err := os.Open(segmentPath(j.dir, pos.Segment))
	if errors.Is(err, os.ErrNotExist) {
		return Record{}, fmt.Errorf("read record %d: %w", pos.Seq, ErrPruned)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read record %d: %w", pos.Seq, err)
	}
	defer f.Close()
	sc, err := newScanner(f, pos.Segment, -1)
	if err != nil {
		return Record{}, err
	}
	sc.seek(pos.Offset)
	rec, err := sc.next()
	if err == errEnd || (err == nil && rec.Position != pos) {
		return Record{}, &Fault{Kind: Changed, Segment: sc.name, Offset: pos.Offset, Seq: pos.Seq,
			Reason: "another record is here than the position says"}
	}
	return rec, err
}

// A Prefix is the beginning of a journal that may go. The zero Prefix says
// that nothing may go.
type Prefix struct {
	First    uint64 // the oldest record that stays, for Prune
	Before   Hash   // of the record before that
	Segments int    // that go
	Bytes    int64  // of these
}

// Outdated says how far the journal may be pruned so that what is left is
// younger than since and not larger than most bytes, whichever cuts more. Zero
// sets no such bound. No record after upTo is in what may go, and never the
// segment that is being written: by age it is as coarse as Settings.SegmentAge.
func (j *Journal) Outdated(since time.Time, most int64, upTo uint64) (Prefix, error) {
	names, err := segments(j.dir)
	if err != nil {
		return Prefix{}, err
	}
	sizes, total := make([]int64, len(names)), int64(0)
	for i, first := range names {
		info, err := os.Stat(segmentPath(j.dir, first))
		if err != nil {
			return Prefix{}, fmt.Errorf("measure the journal: %w", err)
		}
		sizes[i] = info.Size()
		total += sizes[i]
	}
	var cut Prefix
	var ended time.Time // the latest beginning of a segment so far: a clock may have been wrong
	for i := 0; i+1 < len(names) && names[i+1]-1 <= upTo; i++ {
		next, err := readHeader(j.dir, names[i+1])
		if err != nil {
			return Prefix{}, err
		}
		if next.at.After(ended) {
			ended = next.at
		}
		large := most > 0 && total-cut.Bytes > most
		if !large && (since.IsZero() || !ended.Before(since)) {
			break
		}
		cut = Prefix{First: names[i+1], Before: next.prev, Segments: cut.Segments + 1, Bytes: cut.Bytes + sizes[i]}
	}
	return cut, nil
}

// Prune removes the segments all of whose records are older than seq. The
// current segment always stays. The chain goes on from the first one kept.
func (j *Journal) Prune(seq uint64) error {
	names, err := segments(j.dir)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(names) && names[i+1] <= seq; i++ {
		// Before the file goes, so that First never names a missing record.
		j.mu.Lock()
		j.first = names[i+1]
		j.mu.Unlock()
		if err := os.Remove(segmentPath(j.dir, names[i])); err != nil {
			return fmt.Errorf("prune journal: %w", err)
		}
	}
	return syncFolder(j.dir)
}

// Close writes and syncs what is waiting, then releases the folder. Records
// handed in later are refused. Closing again does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.press()
	j.mu.Unlock()
	j.flushing.Wait()

	var err error
	if j.cur.fixed > 0 {
		err = j.cur.trim()
	}
	if h := j.Health(); errors.Is(h.Err, ErrBroken) {
		err = errors.Join(err, h.Err)
	}
	if err = errors.Join(err, j.cur.close(), j.lock.Close()); err != nil {
		return fmt.Errorf("close journal %s: %w", j.dir, err)
	}
	return nil
}
