package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"
)

// A Span is one segment of a journal, as it can be read by itself.
type Span struct {
	First uint64    // sequence number of its first record, which is its name
	Began time.Time // when it was begun: its records are not older
}

// Spans lists the segments of the journal in dir, the oldest first. One that
// goes away meanwhile is left out.
func Spans(dir string) ([]Span, error) {
	names, err := segments(dir)
	if err != nil {
		return nil, err
	}
	out := make([]Span, 0, len(names))
	for _, first := range names {
		head, err := readHeader(dir, first)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Span{First: first, Began: head.at})
	}
	return out, nil
}

// Scan yields the records of one segment from a record's offset on; 0 means
// from its first. It checks every record and not the chain of them, so that it
// can begin in the middle: whoever wants proof calls Verify. An unfinished
// record ends it without an error, and a segment that was pruned yields
// ErrPruned.
func Scan(dir string, first uint64, offset int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		f, err := os.Open(segmentPath(dir, first))
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrPruned
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("read %s: %w", segmentName(first), err))
			return
		}
		defer f.Close()
		sc, err := newScanner(f, first, -1)
		if err != nil {
			yield(Record{}, err)
			return
		}
		if offset > headerSize {
			sc.seek(offset)
		}
		for {
			rec, err := sc.next()
			if err == errEnd {
				return
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}
