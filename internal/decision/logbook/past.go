package logbook

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// blockSize is how many records one entry of the index stands for.
const blockSize = 512

// early is by how much a decision may be older than its record, and how far
// clocks may have been set back while a record was written.
const early = 2 * time.Minute

// Past finds decisions in a journal, however old. It keeps a sparse index in
// memory, one entry for some hundred decisions, which it makes of a segment
// when that is first asked for; the journal itself is not changed. It reads
// beside the process that writes. All methods may be called concurrently.
type Past struct {
	dir string

	mu       sync.Mutex // guards what follows, and is held while an index is made
	segments map[uint64]*indexed
}

// NewPast returns what finds decisions in the journal in dir.
func NewPast(dir string) *Past { return &Past{dir: dir, segments: map[uint64]*indexed{}} }

// An indexed is one segment. Only the newest one grows.
type indexed struct {
	blocks []block
	whole  bool // another one had begun when it was read
}

// A block is some records that follow one another.
type block struct {
	seq         uint64 // of the first
	offset      int64
	n           int
	first, last time.Time    // earliest and latest record
	made        [2]time.Time // earliest and latest decision, by their ids; zero: none has one
}

// holds reports whether a decision that was made at a time may be in the block.
func (b *block) holds(made time.Time) bool {
	return !b.made[0].IsZero() && !made.Before(b.made[0]) && !made.After(b.made[1])
}

// later reports whether everything in the block was made, and not only recorded,
// after a time.
func (b *block) later(at time.Time) bool {
	return b.first.After(at) && (b.made[0].IsZero() || b.made[0].After(at))
}

// add takes a record in.
func (b *block) add(rec *journal.Record) {
	b.n++
	if rec.At.Before(b.first) {
		b.first = rec.At
	}
	if rec.At.After(b.last) {
		b.last = rec.At
	}
	if !bytes.HasPrefix(rec.Payload, opens) || len(rec.Payload) < len(opens)+idLength {
		return
	}
	made, ok := madeAt(string(rec.Payload[len(opens) : len(opens)+idLength]))
	if !ok {
		return
	}
	if b.made[0].IsZero() || made.Before(b.made[0]) {
		b.made[0] = made
	}
	if made.After(b.made[1]) {
		b.made[1] = made
	}
}

// idLength is that of an id, and opens is what stands before it in a record.
const idLength = 36

var opens = []byte(`{"id":"`)

// Get returns a decision by its id, which says when it was made: one place is
// read, or several of one that a point reported later, because it is looked for
// from when it was made up to now. The error wraps nhi.ErrNotFound when it is not
// there.
func (p *Past) Get(ctx context.Context, id string) (nhi.Decision, error) {
	rec, err := p.find(ctx, id)
	if err != nil {
		return nhi.Decision{}, err
	}
	return Decode(rec.Payload)
}

// Before returns up to some hundred decisions that were recorded before the one
// with this id, the newest first, and none older than since. If that one is
// not on record, or id is empty, those made before at are meant, also when they
// were reported after that. No decisions mean that there are none.
func (p *Past) Before(ctx context.Context, id string, at, since time.Time) ([]nhi.Decision, error) {
	before := uint64(1<<64 - 1)
	if rec, err := p.find(ctx, id); err == nil {
		before, at = rec.Seq, time.Time{}
	} else if !errors.Is(err, nhi.ErrNotFound) {
		return nil, err
	}
	spans, err := journal.Spans(p.dir)
	if err != nil {
		return nil, fmt.Errorf("look for decisions: %w", err)
	}
	for i := len(spans) - 1; i >= 0; i-- {
		if spans[i].First >= before {
			continue
		}
		blocks, err := p.index(ctx, spans[i].First, i == len(spans)-1)
		if errors.Is(err, journal.ErrPruned) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for j := len(blocks) - 1; j >= 0; j-- {
			b := &blocks[j]
			if b.seq >= before || !at.IsZero() && b.later(at.Add(early)) {
				continue
			}
			if !since.IsZero() && b.last.Before(since) {
				return nil, nil
			}
			out, err := p.block(ctx, spans[i].First, b, before, at, since)
			if err != nil || len(out) > 0 {
				return out, err
			}
		}
	}
	return nil, nil
}

// block decodes what is asked for of one block, the newest first.
func (p *Past) block(ctx context.Context, segment uint64, b *block, before uint64, at, since time.Time) ([]nhi.Decision, error) {
	var out []nhi.Decision
	for rec, err := range p.records(ctx, segment, b) {
		if err != nil {
			return nil, fmt.Errorf("look for decisions: %w", err)
		}
		if rec.Seq >= before {
			break
		}
		d, err := Decode(rec.Payload)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", rec.Seq, err)
		}
		if (at.IsZero() || d.At.Before(at)) && !d.At.Before(since) {
			out = append(out, d)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// records yields the records of a block.
func (p *Past) records(ctx context.Context, segment uint64, b *block) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		n := 0
		for rec, err := range journal.Scan(p.dir, segment, b.offset) {
			if err == nil {
				err = ctx.Err()
			}
			if n++; n > b.n || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// find returns the record of a decision.
func (p *Past) find(ctx context.Context, id string) (journal.Record, error) {
	none := fmt.Errorf("decision %.64q: %w", id, nhi.ErrNotFound)
	made, ok := madeAt(id)
	if !ok {
		return journal.Record{}, none
	}
	spans, err := journal.Spans(p.dir)
	if err != nil {
		return journal.Record{}, fmt.Errorf("look for a decision: %w", err)
	}
	begins := []byte(`{"id":"` + id + `"`)
	for i := range spans {
		if i+1 < len(spans) && spans[i+1].Began.Before(made.Add(-early)) {
			continue // it was over when the decision was made
		}
		blocks, err := p.index(ctx, spans[i].First, i == len(spans)-1)
		if errors.Is(err, journal.ErrPruned) {
			continue
		}
		if err != nil {
			return journal.Record{}, err
		}
		for j := range blocks {
			b := &blocks[j]
			if !b.holds(made) {
				continue
			}
			for rec, err := range p.records(ctx, spans[i].First, b) {
				if err != nil {
					return journal.Record{}, fmt.Errorf("look for a decision: %w", err)
				}
				if bytes.HasPrefix(rec.Payload, begins) {
					return rec, nil
				}
			}
		}
	}
	return journal.Record{}, none
}

// index returns the blocks of a segment. That of the newest segment is brought
// up to date; the slice is the caller's.
func (p *Past) index(ctx context.Context, segment uint64, newest bool) ([]block, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.segments[segment]
	if ok && !newest && s.whole {
		return s.blocks, nil
	}
	if !ok {
		s = &indexed{}
	}
	blocks, offset := slices.Clone(s.blocks), int64(0)
	if len(blocks) > 0 { // the last one may have grown
		offset = blocks[len(blocks)-1].offset
		blocks = blocks[:len(blocks)-1]
	}
	for rec, err := range journal.Scan(p.dir, segment, offset) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("index decisions: %w", err)
		}
		if len(blocks) == 0 || blocks[len(blocks)-1].n == blockSize {
			blocks = append(blocks, block{seq: rec.Seq, offset: rec.Offset, first: rec.At, last: rec.At})
		}
		blocks[len(blocks)-1].add(&rec)
	}
	p.segments[segment] = &indexed{blocks: blocks, whole: !newest}
	p.forget()
	return blocks, nil
}

// maxIndexed bounds the segments whose index is kept: a segment takes some
// kilobytes.
const maxIndexed = 4096

// forget needs p.mu.
func (p *Past) forget() {
	for segment := range p.segments {
		if len(p.segments) <= maxIndexed {
			return
		}
		delete(p.segments, segment)
	}
}

// madeAt returns when a decision was made, by its id (RFC 9562, section 5.7).
func madeAt(id string) (time.Time, bool) {
	if len(id) != idLength || id[8] != '-' || id[13] != '-' || id[14] != '7' {
		return time.Time{}, false
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(id[:13], "-", ""))
	if err != nil || strings.ContainsAny(id, `"\`) {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range raw {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms), true
}
