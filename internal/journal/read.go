package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"sort"
)

// Read yields the records of the journal in dir from sequence number from
// on, oldest first; from 0 means from the oldest. It needs no lock and works
// beside the process that writes. An unfinished record ends it without an
// error: it may just be under way. It ends after the first error.
func Read(dir string, from uint64) iter.Seq2[Record, error] {
	return read(dir, from, Position{}, math.MaxUint64)
}

// read yields the records from sequence number from up to and including to.
// After is where the one before from stands, if that is known.
func read(dir string, from uint64, after Position, to uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		names, err := segments(dir)
		if err != nil {
			yield(Record{}, err)
			return
		}
		if from > to || len(names) == 0 {
			return
		}
		if after.Seq > 0 {
			from = after.Segment
		}
		if from > 0 && from < names[0] {
			yield(Record{}, fmt.Errorf("read record %d of journal %s, the oldest is %d: %w", from, dir, names[0], ErrPruned))
			return
		}
		// The last segment that starts at or before from.
		i := max(0, sort.Search(len(names), func(i int) bool { return names[i] > from })-1)
		w := walker{dir: dir, names: names[i:], after: after}
		for rec, err := range w.records() {
			if err != nil {
				yield(Record{}, explain(dir, names, err))
				return
			}
			if rec.Seq < from {
				continue // it is read to check the chain
			}
			if rec.Seq > to || !yield(rec, nil) || rec.Seq == to {
				return
			}
		}
	}
}

// A chain checks that records follow one another without gap or change.
type chain struct {
	seq  uint64 // the next one
	prev Hash
	name string
}

// chain starts behind the segment's header.
func (s *scanner) chain() chain {
	return chain{seq: s.head.first, prev: s.head.prev, name: s.name}
}

// read returns the scanner's next record if it follows, errEnd after the
// last, or a *Fault that names the record.
func (c *chain) read(s *scanner) (Record, error) {
	rec, err := s.next()
	if err == nil {
		return rec, c.follow(rec)
	}
	var f *Fault
	if errors.As(err, &f) && f.Seq == 0 {
		f.Seq = c.seq // too damaged to say its own number
	}
	return Record{}, err
}

// follow moves on to rec if it comes next.
func (c *chain) follow(rec Record) error {
	f := &Fault{Segment: c.name, Offset: rec.Offset, Seq: c.seq}
	switch {
	case rec.Seq > c.seq:
		f.Kind = Cut
		f.Reason = fmt.Sprintf("record %d stands here", rec.Seq)
		return f
	case rec.Seq < c.seq:
		f.Kind = Reordered
		f.Reason = fmt.Sprintf("record %d stands here", rec.Seq)
		return f
	case rec.Prev != c.prev:
		f.Kind = Changed
		f.Reason = "it is not chained to the record before: that one or this one is not what was written"
		if rec.Seq > 1 {
			f.Seq = rec.Seq - 1 // the one whose hash no longer fits
		}
		return f
	}
	c.seq, c.prev = rec.Seq+1, rec.Hash
	return nil
}

// skip moves on to behind the record at pos, which must be the one that pos
// says.
func (c *chain) skip(s *scanner, pos Position) error {
	s.seek(pos.Offset)
	rec, err := s.next()
	if err == errEnd || err == nil && rec.Position != pos {
		return &Fault{Kind: Changed, Segment: c.name, Offset: pos.Offset, Seq: pos.Seq, Reason: "another record is here than the position says"}
	}
	c.seq, c.prev = rec.Seq+1, rec.Hash
	return err
}

// A walker goes through segments in order and checks the chain.
type walker struct {
	dir   string
	names []uint64
	after Position // in the first segment, where to begin; zero: at its first record
	torn  Torn     // after the walk
	bytes int64
	next  uint64 // the sequence number after the last one read
	last  Hash
}

func (w *walker) records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for i, first := range w.names {
			if !w.segment(first, i == 0, i == len(w.names)-1, yield) {
				return
			}
		}
	}
}

// segment yields one segment's records and reports whether to go on.
func (w *walker) segment(first uint64, isFirst, isLast bool, yield func(Record, error) bool) bool {
	f, err := os.Open(segmentPath(w.dir, first))
	if errors.Is(err, fs.ErrNotExist) {
		yield(Record{}, fmt.Errorf("read %s: %w", segmentName(first), ErrPruned))
		return false
	}
	if err != nil {
		yield(Record{}, fmt.Errorf("read journal: %w", err))
		return false
	}
	defer f.Close()
	sc, err := newScanner(f, first, -1)
	if err != nil {
		yield(Record{}, err)
		return false
	}
	sc.closed = !isLast
	if isFirst {
		w.next, w.last = sc.head.first, sc.head.prev
	}
	ch := chain{seq: w.next, prev: w.last, name: sc.name}
	if err := ch.follow(Record{Position: Position{Seq: first}, Prev: sc.head.prev}); err != nil {
		yield(Record{}, err)
		return false
	}
	ch = sc.chain()
	if isFirst && w.after.Seq > 0 {
		if err := ch.skip(sc, w.after); err != nil {
			yield(Record{}, err)
			return false
		}
		w.next, w.last = ch.seq, ch.prev
	}
	for {
		rec, err := ch.read(sc)
		if err == errEnd {
			w.torn = sc.torn
			w.bytes += sc.off
			return true
		}
		if err != nil {
			yield(Record{}, err)
			return false
		}
		w.next, w.last = ch.seq, ch.prev
		if !yield(rec, nil) {
			return false
		}
	}
}
