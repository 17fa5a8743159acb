package mcp

import (
	"bytes"
	"fmt"
)

// keptBuffer is the largest buffer in bytes that a stream keeps from one event to
// the next.
const keptBuffer = 64 << 10

// events are a stream of server-sent events (WHATWG HTML, section 9.2.6), taken
// apart as it comes. Without anything but longest it begins one.
type events struct {
	longest int    // bytes of an event
	raw     []byte // since the last event ended
	line    int    // where its last line begins
	cr      bool   // the line before ended with a carriage return: a line feed may follow
	next    event
	tail    []byte // what was not looked at when an error came
	used    bool   // something came before: there is no byte order mark any more
}

// An event is one of a stream. It must be copied to be kept.
type event struct {
	raw         []byte // as it came, its end included
	name        string
	id, retry   []byte
	hasID, some bool // some: there is data, be it empty
	odd         bool // its name or id has other signs than those of ASCII that can be seen
	data        []byte
}

// add looks at the next bytes, and calls pass with each event that ends there. It
// stops at the first error.
func (e *events) add(b []byte, pass func(*event) error) error {
	for i, c := range b {
		if len(e.raw) >= e.longest {
			e.tail = b[i:]
			return errReplyLarge
		}
		e.raw = append(e.raw, c)
		if c != '\n' && c != '\r' {
			e.cr = false
			continue
		}
		second := c == '\n' && e.cr
		e.cr = c == '\r'
		if second { // of one end of a line
			e.line = len(e.raw)
			continue
		}
		line := e.raw[e.line : len(e.raw)-1]
		e.line = len(e.raw)
		if len(line) > 0 {
			e.field(line)
			continue
		}
		e.next.raw = e.raw
		if err := pass(&e.next); err != nil {
			e.tail = b[i+1:]
			return err
		}
		e.raw, e.line, e.next, e.used = emptied(e.raw), 0, event{data: emptied(e.next.data)}, true
	}
	return nil
}

// emptied is a buffer to be filled again, unless it is large.
func emptied(b []byte) []byte {
	if cap(b) > keptBuffer {
		return nil
	}
	return b[:0]
}

// rest is what has not been passed.
func (e *events) rest() []byte { return append(e.raw, e.tail...) }

// field takes up a line.
func (e *events) field(line []byte) {
	if !e.used {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		e.used = true
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	n := &e.next
	switch string(name) {
	case "event":
		n.name, n.odd = string(value), n.odd || odd(value)
	case "data":
		if n.some {
			n.data = append(n.data, '\n')
		}
		n.data, n.some = append(n.data, value...), true
	case "id":
		n.odd = n.odd || odd(value)
		if bytes.IndexByte(value, 0) < 0 {
			n.id, n.hasID = bytes.Clone(value), true
		}
	case "retry":
		n.retry = nil
		if len(value) > 0 && len(value) < 10 && len(bytes.Trim(value, "0123456789")) == 0 {
			n.retry = bytes.Clone(value)
		}
	}
}

// odd reports whether there is a sign at which some client could end the line, or
// none that can be seen. The standard ends lines at line feeds and carriage returns
// alone, str.splitlines of Python at ten more.
func odd(value []byte) bool {
	return bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// escaped is JSON without space, in which nothing is left at which some client could
// end a line: control signs and the separators of Unicode are written as \u....
func escaped(text []byte) []byte {
	ends := func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 }
	if !bytes.ContainsFunc(text, ends) {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		if ends(r) { // within a string: elsewhere JSON has only space, which is gone
			out = fmt.Appendf(out, "\\u%04x", r)
			continue
		}
		out = append(out, string(r)...)
	}
	return out
}

// message reports whether clients read the data as messages of the protocol.
func (e *event) message() bool {
	return (e.name == "" || e.name == "message") && len(bytes.TrimSpace(e.data)) > 0
}

// with is the event with other data, and nothing where there is none.
func (e *event) with(data []byte) []byte {
	if data == nil {
		return nil
	}
	out := e.marks()
	out = append(append(append(out, "data: "...), escaped(data)...), '\n')
	return append(out, '\n')
}

// bare is the event without a message: a sign of life, or a place to go on from.
func (e *event) bare() []byte {
	switch {
	case len(bytes.TrimSpace(e.data)) > 0:
		return nil // of another sort: no client of the protocol reads it
	case e.some:
		return append(e.marks(), "data:\n\n"...)
	case e.hasID || e.retry != nil:
		return append(e.marks(), '\n')
	}
	return []byte(":\n\n")
}

// marks are the fields beside data.
func (e *event) marks() (out []byte) {
	if e.name == "message" {
		out = append(out, "event: message\n"...)
	}
	if e.hasID {
		out = append(append(append(out, "id: "...), e.id...), '\n')
	}
	if e.retry != nil {
		out = append(append(append(out, "retry: "...), e.retry...), '\n')
	}
	return out
}
