package activity

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"

	"github.com/muster-id/muster/internal/nhi"
)

const chunk = 256 << 10

// An input is a window that slides over the decompressed bytes of a reader.
type input struct {
	ctx    context.Context
	src    io.Reader
	buf    []byte
	start  int   // first unread byte in buf
	offset int64 // of the first unread byte in the whole input
	line   int   // of the first unread byte, from 1
	read   int64 // bytes read so far, after decompression
	max    int64 // bound of read; 0 is none
	err    error // why nothing more can be read; io.EOF at the end
}

func (in *input) reset(ctx context.Context, max int64) {
	*in = input{ctx: ctx, buf: in.buf[:0], line: 1, max: max}
	if cap(in.buf) > 4*chunk {
		in.buf = nil // a receiver does not keep the largest record it ever saw
	}
}

// open finds out what r holds by its first bytes. A file that can only be a
// mistake is refused before anything is handed over.
func (in *input) open(r io.Reader) error {
	b := bufio.NewReaderSize(r, 4096)
	head, err := b.Peek(512)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read: %w", err)
	}
	in.src = b
	for _, m := range []struct{ magic, what string }{
		{"\x28\xb5\x2f\xfd", "compressed with zstd"},
		{"PK\x03\x04", "a zip archive"},
		{"BZh", "compressed with bzip2"},
		{"\xfd7zXZ", "compressed with xz"},
		{"\xff\xfe", "UTF-16 text"},
		{"\xfe\xff", "UTF-16 text"},
		{"PAR1", "a Parquet file"},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return nhi.Invalidf("input is %s; JSON or gzip of it is needed", m.what)
		}
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		// Several members one after another are one input (RFC 1952, section 2.2).
		z, err := gzip.NewReader(b)
		if err != nil {
			return nhi.Invalidf("gzip header is damaged: %v", err)
		}
		in.src = z
		return nil
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nhi.Invalidf("input is binary; JSON or gzip of it is needed")
	}
	return nil
}

// unread returns what was read and not yet consumed. It is valid until more
// is called.
func (in *input) unread() []byte { return in.buf[in.start:] }

// ended reports whether nothing will follow what is unread.
func (in *input) ended() bool { return in.err != nil }

// empty reports whether everything was consumed and nothing will follow.
func (in *input) empty() bool { return in.err != nil && in.start == len(in.buf) }

// consume marks n unread bytes as done. It moves no bytes.
func (in *input) consume(n int) {
	in.line += bytes.Count(in.buf[in.start:in.start+n], []byte{'\n'})
	in.start += n
	in.offset += int64(n)
}

// more reads until there is about twice as much unread as before, so that
// trying again and again over small reads stays linear. It reports whether
// anything was added.
func (in *input) more() bool {
	if in.err != nil {
		return false
	}
	have := len(in.unread())
	in.makeRoom(max(have, chunk))
	for in.err == nil && len(in.unread()) < max(2*have, 1) {
		in.fill()
	}
	return len(in.unread()) > have
}

// makeRoom makes place for n more bytes behind what is unread.
func (in *input) makeRoom(n int) {
	have := len(in.unread())
	if cap(in.buf)-len(in.buf) >= n {
		return
	}
	to := in.buf[:0]
	if cap(in.buf) < have+n {
		to = make([]byte, 0, have+n)
	}
	in.buf = append(to, in.unread()...)
	in.start = 0
}

// fill reads once.
func (in *input) fill() {
	if err := in.ctx.Err(); err != nil {
		in.err = err
		return
	}
	n, err := in.src.Read(in.buf[len(in.buf):cap(in.buf)])
	in.buf = in.buf[:len(in.buf)+n]
	in.read += int64(n)
	switch {
	case in.max > 0 && in.read > in.max:
		in.err = fmt.Errorf("input is larger than %d bytes: %w", in.max, nhi.ErrTooLarge)
	case err == io.ErrUnexpectedEOF:
		in.err = nhi.Invalidf("gzip is cut: %v", err)
	case err == gzip.ErrChecksum || err == gzip.ErrHeader:
		in.err = nhi.Invalidf("gzip is damaged: %v", err)
	case err != nil && err != io.EOF:
		in.err = fmt.Errorf("read: %w", err)
		if _, ok := in.src.(*gzip.Reader); ok {
			in.err = nhi.Invalidf("gzip is damaged: %v", err)
		}
	case err == io.EOF:
		in.err = io.EOF
	}
}

// peek goes to the next byte that is neither white space, nor a comma, nor a
// byte order mark, and returns it. At the end it returns 0 and empty reports
// true.
func (in *input) peek() (byte, error) {
	for {
		c, err := in.peekByte()
		if err != nil || in.empty() {
			return 0, err
		}
		switch {
		case c == ',':
			in.consume(1)
		case c == 0xef && in.mark():
			in.consume(3)
		default:
			return c, nil
		}
	}
}

// mark reports whether a UTF-8 byte order mark is next.
func (in *input) mark() bool {
	if len(in.unread()) < 3 && !in.ended() {
		in.more()
	}
	return bytes.HasPrefix(in.unread(), []byte("\ufeff"))
}

// peekByte skips white space and returns the next byte without consuming it.
func (in *input) peekByte() (byte, error) {
	for {
		b := in.unread()
		n := 0
		for n < len(b) && (b[n] == ' ' || b[n] == '\n' || b[n] == '\r' || b[n] == '\t') {
			n++
		}
		in.consume(n)
		if n < len(b) {
			return b[n], nil
		}
		if err := in.ctx.Err(); err != nil {
			return 0, err
		}
		if !in.more() {
			return 0, nil
		}
	}
}
