package activity

import (
	"bytes"

	"github.com/muster-id/muster/internal/jsonscan"
)

// resync hands over a broken, cut or oversized piece and finds where the next
// record may begin. at is the offset, in what is unread, where reading it
// failed.
//
// Outside a list a record that breaks on its first line ends with that line,
// and one that spans lines ends where a line begins with a bracket. Inside a
// list a piece that is merely too large or too deep is well formed, so its
// brackets tell where it ends; a malformed one cannot be trusted in that, so
// the next object that begins as records do is looked for first.
func (d *Decoder) resync(reason error, at int) error {
	if d.list {
		if reason == jsonscan.ErrSyntax {
			d.fillRecord()
			if n := d.nextInList(at); n >= 0 {
				return d.refuse(reason, n)
			}
		}
		var b balance
		return d.discard(reason, 0, b.end)
	}
	if bytes.IndexByte(d.in.unread()[:at], '\n') < 0 {
		return d.discard(reason, at, lineEnd)
	}
	return d.discard(reason, at, lineStart())
}

// lineEnd finds the end of a line.
func lineEnd(b []byte) (int, bool) {
	i := bytes.IndexByte(b, '\n')
	return i + 1, i >= 0
}

// lineStart finds a line that begins with a bracket; it remembers across
// calls whether the last byte ended a line.
func lineStart() func([]byte) (int, bool) {
	newline := false
	return func(b []byte) (int, bool) {
		for i := 0; i < len(b); {
			if newline && (b[i] == '{' || b[i] == '[') {
				return i, true
			}
			n, found := lineEnd(b[i:])
			if newline = found; !found {
				return 0, false
			}
			i += n
		}
		return 0, false
	}
}

// fillRecord reads until as much is unread as one record may hold.
func (d *Decoder) fillRecord() {
	for len(d.in.unread()) < d.Options.MaxRecord && d.in.more() {
	}
}

// nextInList returns the offset of the next object that begins as a record
// usually does, or -1.
func (d *Decoder) nextInList(at int) int {
	if d.format.First == "" {
		return -1
	}
	b := d.in.unread()
	first := []byte(`"` + d.format.First + `"`)
	for at < len(b) {
		i := bytes.Index(b[at:], first)
		if i < 0 {
			return -1
		}
		start := at + i
		for start > 0 && bytes.IndexByte([]byte(" \t\r\n"), b[start-1]) >= 0 {
			start--
		}
		if start > 1 && b[start-1] == '{' {
			return start - 1
		}
		at += i + len(first)
	}
	return -1
}

// discard hands over everything up to where end says, reading on as needed.
// Only the first MaxRecord bytes are kept, so the size of the piece does not
// matter. end is given the bytes from at on, each byte once, and returns how
// many of them belong to the piece and whether it ends there.
func (d *Decoder) discard(reason error, at int, end func([]byte) (int, bool)) error {
	u := Unparsable{Reason: reason.Error(), Offset: d.in.offset, Line: d.in.line}
	for {
		b := d.in.unread()
		n, done := end(b[at:])
		n += at
		if !done {
			n = len(b)
		} else if u.Size == 0 {
			n = max(n, 1) // whatever end thinks, go forward
		}
		u.Size += int64(n)
		if room := d.Options.MaxRecord - len(u.Raw); room > 0 {
			u.Raw = append(u.Raw, b[:min(n, room)]...)
		}
		d.in.consume(n)
		at = 0
		if done || !d.in.more() {
			return d.handOver(u, 0)
		}
	}
}

// A balance follows brackets and strings until the first value is complete.
type balance struct {
	depth   int
	text    bool // inside a string
	escaped bool // the last byte was a backslash in a string
}

// end returns how many bytes of b belong to the value, and whether it ends
// there. A value that was never opened ends before a closing bracket or after
// a comma.
func (s *balance) end(b []byte) (int, bool) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case s.escaped:
			s.escaped = false
		case s.text:
			// Strings are nearly all there is of what is too large.
			i += interruption(b[i:])
			if i == len(b) {
				return 0, false
			}
			s.escaped = b[i] == '\\'
			s.text = b[i] != '"'
		case c == '"':
			s.text = true
		case c == '{' || c == '[':
			s.depth++
		case c == '}' || c == ']':
			if s.depth--; s.depth == 0 {
				return i + 1, true
			}
			if s.depth < 0 {
				return i, true
			}
		case c == ',' && s.depth == 0:
			return i + 1, true
		}
	}
	return 0, false
}

// interruption returns the offset of the first quote or backslash in b, or
// its length.
func interruption(b []byte) int {
	if i := bytes.IndexByte(b, '"'); i >= 0 {
		b = b[:i]
	}
	if i := bytes.IndexByte(b, '\\'); i >= 0 {
		return i
	}
	return len(b)
}
