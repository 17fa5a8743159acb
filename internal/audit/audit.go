// Package audit is the tamper-evident log of acts: who did what to whom, why
// and with what outcome. An act is on disk before Append returns, so whoever
// acts appends first, or says that it could not.
//
// The log is a journal of JSON records, each chained to the one before by
// its hash. Some records are checkpoints: a signature over the number and
// the hash of the record right before. The chain shows damage and clumsy
// changes; the signature shows a history that was rewritten with all hashes
// computed anew; and a checkpoint kept elsewhere shows that the end was cut
// off, even if the signed records went with it. So:
//
//	attack                                   shown by
//	change, removal or exchange of records   the chain
//	history rewritten, hashes recomputed     the next checkpoint
//	end cut off                              a checkpoint kept outside
//	all replaced, signed by another key      the public key kept outside
//	acts after the last checkpoint rewritten nothing, hence one every few acts
//
// The last row is bounded: checkpoints come every Settings.Every acts, at
// Close and on demand, each says how often, and Verify faults a log that
// went on for much longer without.
//
// Beside the segments lie audit.pub, the public keys in PEM, and
// checkpoint.json, the last checkpoint. Both are copied elsewhere by whoever
// wants proof against somebody who may write this folder. Verify needs only
// the folder and the keys: no server, no lock, no network.
//
// Acts are appended at least once and recorded once: an entry with a Key is
// not written again, also after a crash, if a recent entry has that Key.
package audit

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/journal"
)

const (
	version = 1
	// remembered is how many of the last records are searched for a Key.
	remembered = 1 << 16
	// A page of entries is found by reading a segment from its start.
	segmentSize = 4 << 20
)

// Settings of a log. The zero value is ready for use.
type Settings struct {
	// Every is the number of entries between checkpoints. Zero means 100.
	Every int
	// Reserve in bytes for a full disk, see journal.Settings.
	Reserve int64
	// Clean, if set, may change an entry before it is written, to take out
	// what must not be kept. It is called concurrently.
	Clean func(*Entry)
	// Wrote, if set, is told how long each write took, see journal.Settings.
	Wrote func(time.Duration)
	// Export, if set, is given each new checkpoint, to keep it elsewhere. It
	// is called one at a time and must not call the log.
	Export func(Checkpoint)
}

// Health says whether acts can be recorded and signed.
type Health struct {
	journal.Health
	// Sign is why the last checkpoint failed; nil if it did not. Acts are
	// recorded all the same, and the next one tries again.
	Sign error
	// Unsigned counts the entries since the last checkpoint.
	Unsigned int
}

// Log is an open audit log. All methods may be called concurrently.
type Log struct {
	dir    string
	set    Settings
	signer crypto.Signer
	keyID  string
	j      *journal.Journal

	// Held for reading while an entry is appended and for writing while a
	// checkpoint is: so a checkpoint always follows the record it signs.
	order sync.RWMutex

	mu       sync.Mutex // guards everything below
	keys     map[string]*slot
	recent   []recentKey // oldest first
	unsigned int
	signErr  error
	last     Checkpoint
}

// A slot is one Key's place: taken when an append begins, filled when done.
type slot struct {
	done chan struct{}
	seq  uint64 // read after done is closed; 0 if the append failed
	err  error
}

type recentKey struct {
	key string
	seq uint64
}

// record is what the journal holds: exactly one of entry and checkpoint.
type record struct {
	Version    int         `json:"v"`
	Entry      *Entry      `json:"entry,omitempty"`
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
}

// Open opens the log in dir, creates it if need be and locks it. It signs
// with signer, an Ed25519 or P-256 key, whose public half it adds to
// audit.pub. A new log begins with a checkpoint over nothing.
func Open(dir string, signer crypto.Signer, set Settings) (_ *Log, err error) {
	set.Every = cmp.Or(max(set.Every, 0), 100)
	keyID, err := KeyID(signer.Public())
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(dir, journal.Settings{SegmentSize: segmentSize, Reserve: set.Reserve, Wrote: set.Wrote})
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	defer func() {
		if err != nil {
			j.Close()
		}
	}()
	if err := addKey(dir, signer.Public()); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, set: set, signer: signer, keyID: keyID, j: j, keys: map[string]*slot{}}
	if err := l.remember(); err != nil {
		return nil, err
	}
	if j.Last().Seq == 0 {
		if _, err := l.Checkpoint(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// remember reads the end of the log: keys in use and the last checkpoint.
func (l *Log) remember() error {
	from := l.j.First()
	if last := l.j.Last().Seq; last > remembered {
		from = max(from, last-remembered)
	}
	done := make(chan struct{})
	close(done)
	for rec, err := range l.j.Read(from) {
		if err != nil {
			return fmt.Errorf("open audit log: %w", err)
		}
		r, err := decode(rec)
		if err != nil {
			return fmt.Errorf("open audit log: %w", err)
		}
		if r.Checkpoint != nil {
			l.last, l.unsigned = *r.Checkpoint, 0
			continue
		}
		l.unsigned++
		if key := r.Entry.Key; key != "" {
			l.keys[key] = &slot{done: done, seq: rec.Seq}
			l.keep(recentKey{key, rec.Seq})
		}
	}
	return nil
}

// keep remembers a used key and forgets those too old. The caller holds mu.
func (l *Log) keep(k recentKey) {
	l.recent = append(l.recent, k)
	old := 0
	for old < len(l.recent) && l.recent[old].seq+remembered < k.seq {
		delete(l.keys, l.recent[old].key)
		old++
	}
	l.recent = slices.Delete(l.recent, 0, old)
}

// Append records one act and returns its number once it is durable. An entry
// whose Key a recent entry has is not written again: the earlier number is
// returned. If At is zero it is set to now. Text that is too long or not
// UTF-8 is clipped and cleaned rather than refused, so that a hostile name
// cannot keep its own act out of the log. ctx is looked at before the
// write, which then is not interrupted.
func (l *Log) Append(ctx context.Context, e Entry) (uint64, error) {
	seq, _, err := l.AppendOnce(ctx, e.Key, e)
	return seq, err
}

// AppendOnce is Append with key as the entry's Key, and says whether it was
// added. If another caller is just appending the same key, it waits for it.
func (l *Log) AppendOnce(ctx context.Context, key string, e Entry) (seq uint64, added bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("record %s: %w", e.Act, err)
	}
	e.Key = key
	payload, err := l.encode(e)
	if err != nil {
		return 0, false, err
	}
	if key == "" {
		seq, err := l.write(payload)
		return seq, err == nil, err
	}
	l.mu.Lock()
	if s, ok := l.keys[key]; ok {
		l.mu.Unlock()
		select {
		case <-s.done:
			return s.seq, false, s.err
		case <-ctx.Done():
			return 0, false, fmt.Errorf("record %s: %w", e.Act, ctx.Err())
		}
	}
	s := &slot{done: make(chan struct{})}
	l.keys[key] = s
	l.mu.Unlock()

	s.seq, s.err = l.write(payload)
	l.mu.Lock()
	if s.err != nil {
		delete(l.keys, key)
	} else {
		l.keep(recentKey{key, s.seq})
	}
	l.mu.Unlock()
	close(s.done)
	return s.seq, s.err == nil, s.err
}

func (l *Log) encode(e Entry) ([]byte, error) {
	e.Seq = 0 // the journal numbers it
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	if l.set.Clean != nil {
		l.set.Clean(&e)
	}
	if err := e.tidy(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(record{Version: version, Entry: &e})
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", e.Act, err)
	}
	return b, nil
}

// write appends an encoded entry, and a checkpoint when one is due.
func (l *Log) write(payload []byte) (uint64, error) {
	l.order.RLock()
	pos, err := l.j.Append(payload)
	l.order.RUnlock()
	if err != nil {
		return 0, fmt.Errorf("append to audit log: %w", err)
	}
	l.mu.Lock()
	l.unsigned++
	due := l.unsigned >= l.set.Every
	l.mu.Unlock()
	if due {
		// The act is recorded whether or not it can be signed now; Health
		// tells of a failure, and the next act tries again.
		_, _ = l.checkpoint(l.set.Every)
	}
	return pos.Seq, nil
}

// Checkpoint signs the log as it is now and returns the signature once it is
// durable in the log. If nothing was added since the last one, that is
// returned.
func (l *Log) Checkpoint() (Checkpoint, error) { return l.checkpoint(1) }

// checkpoint signs if at least pending entries are unsigned.
func (l *Log) checkpoint(pending int) (c Checkpoint, err error) {
	l.order.Lock()
	defer l.order.Unlock()
	l.mu.Lock()
	c = l.last
	enough := l.unsigned >= pending
	l.mu.Unlock()
	end := l.j.Last()
	if !enough && end.Seq > 0 {
		return c, nil
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.signErr = err; err == nil {
			l.last, l.unsigned = c, 0
		}
	}()
	c, err = sign(l.signer, Checkpoint{
		Seq: end.Seq, Hash: Hash(end.Hash), At: time.Now().UTC().Truncate(time.Microsecond),
		Every: l.set.Every, KeyID: l.keyID,
	})
	if err != nil {
		return Checkpoint{}, err
	}
	b, err := json.Marshal(record{Version: version, Checkpoint: &c})
	if err != nil {
		return Checkpoint{}, fmt.Errorf("encode checkpoint: %w", err)
	}
	if _, err := l.j.Append(b); err != nil {
		return Checkpoint{}, fmt.Errorf("append checkpoint: %w", err)
	}
	if err := writeCheckpoint(l.dir, c); err != nil {
		return Checkpoint{}, err
	}
	if l.set.Export != nil {
		l.set.Export(c)
	}
	return c, nil
}

// Health returns the state of the log now.
func (l *Log) Health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Health{Health: l.j.Health(), Sign: l.signErr, Unsigned: l.unsigned}
}

// Latest is the latest time at which an act was recorded, see
// [journal.Journal.Latest].
func (l *Log) Latest() time.Time { return l.j.Latest() }

// Rearm sets up the reserve again once there is room, see journal.Rearm.
func (l *Log) Rearm() error { return l.j.Rearm() }

// Read yields the entries from number from on, oldest first, up to the last
// at the time of the call. It ends after the first error.
func (l *Log) Read(from uint64) iter.Seq2[Entry, error] { return entries(l.j.Read(from)) }

// Read yields the entries of the log in dir without a lock, like Log.Read.
func Read(dir string, from uint64) iter.Seq2[Entry, error] { return entries(journal.Read(dir, from)) }

func entries(records iter.Seq2[journal.Record, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for rec, err := range records {
			var r record
			if err == nil {
				r, err = decode(rec)
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("read audit log: %w", err))
				return
			}
			if r.Entry != nil && !yield(*r.Entry, nil) {
				return
			}
		}
	}
}

// Page returns the newest entries with numbers below before, newest first,
// limit of them at most; before 0 means from the end. It stops early when
// ctx ends.
func (l *Log) Page(ctx context.Context, before uint64, limit int) ([]Entry, error) {
	end := l.j.Last().Seq + 1
	if before > 0 {
		end = min(end, before)
	}
	var page []Entry // newest first
	// Checkpoints lie in between, so a stretch may hold fewer than it is long.
	for len(page) < limit && end > l.j.First() {
		start := max(l.j.First(), end-min(end, uint64(limit)+uint64(limit/l.set.Every)+1))
		var stretch []Entry
		for e, err := range l.Read(start) {
			if err != nil {
				return nil, err
			}
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("read audit log: %w", err)
			}
			if e.Seq >= end {
				break
			}
			stretch = append(stretch, e)
		}
		slices.Reverse(stretch)
		page = append(page, stretch...)
		end = start
	}
	return page[:min(len(page), limit)], nil
}

// Close signs what is unsigned and releases the folder.
func (l *Log) Close() error {
	_, err := l.Checkpoint()
	if errors.Is(err, journal.ErrClosed) {
		err = nil // closed before; what was left was signed then
	}
	return errors.Join(err, l.j.Close())
}
