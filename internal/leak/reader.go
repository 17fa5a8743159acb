package leak

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// chunkSize is how much of a stream is in memory at a time.
	chunkSize = 8 << 20

	// overlap is how far verifiers and decoders look, both ways, with room to
	// spare: twice the largest encoded run.
	overlap = 128 << 10
)

// A Buffer is working memory for [Scanner.ScanReader]. Reusing one saves
// allocations; it must not be shared between calls at the same time. The zero
// Buffer is ready. It holds what was read last: Wipe it, or let it go.
type Buffer struct {
	text []byte // the part of the stream in memory, as UTF-8
	raw  []byte // UTF-16 input on its way to text
}

// Wipe overwrites what was read.
func (b *Buffer) Wipe() {
	clear(b.text[:cap(b.text)])
	clear(b.raw[:cap(b.raw)])
}

// ScanReader is Scan for a stream of any length. It keeps at most some 8 MB in
// memory; what lies across the border of two parts is found once. It returns
// how many bytes it read, and the error of r or nil at its end, wrapped.
func (s *Scanner) ScanReader(r io.Reader, buf *Buffer, yield func(*Match) bool) (int64, error) {
	if buf == nil {
		buf = &Buffer{}
	}
	in := &source{r: r, buf: buf}
	if err := in.start(); err != nil {
		return in.read, err
	}
	at := newCursor(in.order != nil)
	base, fresh := 0, 0 // offset of the part in the stream; matches before fresh are known
	for {
		err := in.fill()
		if err != nil {
			return in.read, err
		}
		text := buf.text
		limit := len(text) // matches from here on belong to the next part
		if !in.done {
			limit -= overlap
		}
		var last seen
		more := s.scan(text, 0, func(m *Match) bool {
			if m.Start < fresh || m.Start >= limit || last.again(m) {
				m.Wipe()
				return true
			}
			at.place(text, base, m)
			return yield(m)
		})
		if in.done || !more {
			return in.read, nil
		}
		keep := limit - overlap // the next part sees this much before its own
		at.move(text, base, keep)
		at.first = at.lineStart
		base += keep
		fresh = overlap
		buf.text = text[:copy(text, text[keep:])]
	}
}

// A source fills a Buffer from a reader and undoes UTF-16.
type source struct {
	r     io.Reader
	buf   *Buffer
	order binary.ByteOrder // of UTF-16, else nil
	read  int64
	idle  int // reads in a row that gave nothing
	done  bool
}

// start reads the first bytes to see how the text is encoded.
func (in *source) start() error {
	if cap(in.buf.text) == 0 {
		in.buf.text = make([]byte, 0, 64<<10)
	}
	in.buf.text = in.buf.text[:0]
	in.buf.raw = in.buf.raw[:0]
	for len(in.buf.text) < 1024 && !in.done {
		if err := in.readInto(&in.buf.text, cap(in.buf.text)); err != nil {
			return err
		}
	}
	if in.order = byteOrder(in.buf.text); in.order != nil {
		in.buf.raw = append(in.buf.raw, in.buf.text[2:]...)
		in.buf.text = in.buf.text[:0]
		in.convert()
	}
	return nil
}

// fill reads until the buffer holds a whole part or the stream ends.
func (in *source) fill() error {
	for !in.done && len(in.buf.text) < chunkSize {
		if in.order == nil {
			if err := in.readInto(&in.buf.text, chunkSize); err != nil {
				return err
			}
			continue
		}
		if err := in.readInto(&in.buf.raw, 64<<10); err != nil {
			return err
		}
		in.convert()
	}
	return nil
}

// readInto appends one read to b, which grows up to limit bytes.
func (in *source) readInto(b *[]byte, limit int) error {
	if len(*b) == cap(*b) {
		grown := make([]byte, len(*b), min(limit, max(64<<10, 4*cap(*b))))
		copy(grown, *b)
		*b = grown
	}
	n, err := in.r.Read((*b)[len(*b):min(cap(*b), limit)])
	*b = (*b)[:len(*b)+n]
	in.read += int64(n)
	if in.idle++; n > 0 {
		in.idle = 0
	}
	if errors.Is(err, io.EOF) {
		in.done = true
		return nil
	}
	if err == nil && in.idle > 100 {
		err = io.ErrNoProgress
	}
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// convert moves raw UTF-16 to text, except for a code unit or a surrogate pair
// that is not complete yet.
func (in *source) convert() {
	raw := in.buf.raw
	n := len(raw) &^ 1
	if n >= 2 && !in.done {
		if last := in.order.Uint16(raw[n-2:]); last >= 0xd800 && last < 0xdc00 {
			n -= 2
		}
	}
	in.buf.text = appendUTF8(in.buf.text, raw[:n], in.order)
	in.buf.raw = raw[:copy(raw, raw[n:])]
}
