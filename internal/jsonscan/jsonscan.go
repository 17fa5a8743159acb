// Package jsonscan walks JSON text (RFC 8259) once, from left to right, and
// hands out spans of the input instead of copies.
//
// Logs arrive by the gigabyte and a consumer needs a dozen of the hundred
// values in a record. Decoding into structs pays for every value; a Scanner
// pays for the ones that are asked for and merely steps over the rest, still
// checking that they are well formed. It allocates nothing.
//
// A caller walks like this, and consumes each value by exactly one call of
// Text, Number, Bool, Skip, or by entering it with Object or Array:
//
//	var s jsonscan.Scanner
//	s.Reset(data, 64)
//	if s.Object() {
//		for s.Next() {
//			switch string(s.Key()) {
//			case "name":
//				name, _ = s.Text()
//			default:
//				s.Skip()
//			}
//		}
//	}
//	if err := s.Err(); err != nil { ... }
//
// Next and More belong to the container that was entered last, so they may
// only follow an Object or Array that reported true.
//
// The first error sticks: every later call does nothing and Next reports
// false, so one check at the end is enough. ErrShort is told apart from
// ErrSyntax because a reader of streams can mend it by reading more.
//
// What is accepted is what encoding/json accepts, except that nesting is
// bounded (at most MaxDepth); a fuzz test holds the two together. Invalid
// UTF-8 inside strings is accepted, as there, and becomes U+FFFD in Append.
package jsonscan

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// MaxDepth is the deepest nesting that a Scanner follows.
const MaxDepth = 64

// Errors of a Scanner.
var (
	// ErrShort means that the input ended inside a value.
	ErrShort = errors.New("input ends inside a value")
	// ErrSyntax means that the input is not JSON at Pos.
	ErrSyntax = errors.New("not JSON")
	// ErrDepth means that values are nested deeper than allowed.
	ErrDepth = errors.New("nested too deeply")
)

// A Kind says what sort of value comes next.
type Kind byte

// The kinds of value.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	String
	Object
	Array
)

// A Span is the inside of a JSON string as it stands in the input, without
// the quotes. It is valid until the input is changed.
type Span struct {
	Raw     []byte
	Escaped bool // Raw contains a backslash; use Append to read it
}

// A Scanner walks one JSON text. Its zero value has no input; call Reset. It
// must not be used by several goroutines at once.
type Scanner struct {
	data  []byte
	pos   int
	depth int
	max   int
	first bool // the container was just entered
	key   Span
	err   error
}

// Reset starts over at the beginning of data, following at most depth levels
// of nesting (zero, or more than MaxDepth, means MaxDepth). The Scanner keeps
// data and never changes it.
func (s *Scanner) Reset(data []byte, depth int) {
	if depth <= 0 || depth > MaxDepth {
		depth = MaxDepth
	}
	*s = Scanner{data: data, max: depth}
}

// Pos returns the offset of the next unread byte; after an error, where it
// was found.
func (s *Scanner) Pos() int { return s.pos }

// Err returns the first error, or nil.
func (s *Scanner) Err() error { return s.err }

// Data returns the input between two offsets.
func (s *Scanner) Data(from, to int) []byte { return s.data[from:to] }

// Key returns the name of the member that Next stopped at. Ask before
// consuming the value: members of a skipped object have names, too.
func (s *Scanner) Key() []byte { return s.key.Raw }

// KeySpan returns the name of the member that Next stopped at, and whether it
// holds escapes.
func (s *Scanner) KeySpan() Span { return s.key }

// Kind skips white space and reports the kind of the next value by its first
// byte, without consuming it.
func (s *Scanner) Kind() Kind {
	switch c := s.peek(); {
	case c == '"':
		return String
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	case c == '-' || (c >= '0' && c <= '9'):
		return Number
	}
	return Invalid
}

// Object enters the next value when it is an object and reports true; any
// other value is skipped.
func (s *Scanner) Object() bool { return s.enter('{') }

// Array enters the next value when it is an array and reports true; any other
// value is skipped.
func (s *Scanner) Array() bool { return s.enter('[') }

func (s *Scanner) enter(open byte) bool {
	if s.peek() != open {
		s.Skip()
		return false
	}
	if s.depth == s.max {
		return s.fail(ErrDepth)
	}
	s.pos++
	s.depth++
	s.first = true
	return true
}

// Next goes to the next member of the object that was entered last and
// reports whether there is one; Key is its name. After the last member it
// leaves the object and reports false.
func (s *Scanner) Next() bool {
	if !s.advance('}') {
		return false
	}
	if s.peek() != '"' {
		return s.fail(ErrSyntax)
	}
	s.key = s.text()
	if s.err != nil {
		return false
	}
	if s.peek() != ':' {
		return s.fail(ErrSyntax)
	}
	s.pos++
	return true
}

// More goes to the next element of the array that was entered last and
// reports whether there is one. After the last it leaves the array and
// reports false.
func (s *Scanner) More() bool { return s.advance(']') }

// advance steps over the comma before the next member or element, or over
// the closing bracket.
func (s *Scanner) advance(end byte) bool {
	c := s.peek()
	if s.err != nil {
		return false
	}
	if c == end {
		s.pos++
		s.depth--
		s.first = false
		return false
	}
	if s.first {
		s.first = false
		return true
	}
	if c != ',' {
		return s.fail(ErrSyntax)
	}
	s.pos++
	if s.peek() == end { // a trailing comma is no JSON
		return s.fail(ErrSyntax)
	}
	return s.err == nil
}

// Text consumes the next value. It returns the string and true, or, for any
// other kind of value, false.
func (s *Scanner) Text() (Span, bool) {
	if s.peek() != '"' {
		s.Skip()
		return Span{}, false
	}
	t := s.text()
	return t, s.err == nil
}

// Bool consumes the next value and reports its value when it is a boolean;
// ok is false for any other kind.
func (s *Scanner) Bool() (value, ok bool) {
	c := s.peek()
	s.Skip()
	return c == 't' && s.err == nil, (c == 't' || c == 'f') && s.err == nil
}

// Span consumes the next value, whatever it is, and returns it as it stands
// in the input, without the white space around it.
func (s *Scanner) Span() []byte {
	s.peek()
	from := s.pos
	s.Skip()
	if s.err != nil {
		return nil
	}
	return s.data[from:s.pos]
}

// Skip consumes the next value and checks that it is well formed.
func (s *Scanner) Skip() {
	switch c := s.peek(); c {
	case '"':
		s.text()
	case '{':
		if s.enter('{') {
			for s.Next() {
				s.Skip()
			}
		}
	case '[':
		if s.enter('[') {
			for s.More() {
				s.Skip()
			}
		}
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

// End reports whether nothing but white space is left.
func (s *Scanner) End() bool {
	if s.err != nil {
		return false
	}
	for s.pos < len(s.data) && space(s.data[s.pos]) {
		s.pos++
	}
	return s.pos == len(s.data)
}

// Valid reports whether data is exactly one JSON value within depth.
func Valid(data []byte, depth int) bool {
	var s Scanner
	s.Reset(data, depth)
	s.Skip()
	return s.End()
}

func (s *Scanner) fail(err error) bool {
	if s.err == nil {
		s.err = err
	}
	return false
}

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// peek skips white space and returns the next byte, or 0 at the end and after
// an error. A NUL byte in the input is 0 as well and fails where it is used.
func (s *Scanner) peek() byte {
	if s.err != nil {
		return 0
	}
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		if c > ' ' || !space(c) {
			return c
		}
		s.pos++
	}
	s.err = ErrShort
	return 0
}

func (s *Scanner) literal(word string) {
	for i := range len(word) {
		if s.pos == len(s.data) {
			s.fail(ErrShort)
			return
		}
		if s.data[s.pos] != word[i] {
			s.fail(ErrSyntax)
			return
		}
		s.pos++
	}
}

// number follows RFC 8259, section 6. A number that touches the end of the
// input is complete; whoever reads a stream must not cut it there.
func (s *Scanner) number() {
	if s.err != nil {
		return
	}
	if s.data[s.pos] == '-' {
		s.pos++
	}
	switch {
	case s.pos == len(s.data):
		s.fail(ErrShort)
		return
	case s.data[s.pos] == '0':
		s.pos++
	case !s.digits():
		return
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if !s.digits() {
			return
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		s.digits()
	}
}

// digits steps over one or more digits.
func (s *Scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	if s.pos > from {
		return true
	}
	if s.pos == len(s.data) {
		return s.fail(ErrShort)
	}
	return s.fail(ErrSyntax)
}

// Every byte of a word is looked at together: the lowest set bit of the sum
// of the three tests marks the first byte that is a quote, a backslash or a
// control character. (Borrows can set higher bits wrongly, never a lower one.)
const (
	ones = 0x0101010101010101
	high = 0x8080808080808080
)

// text consumes a string whose quote is the next byte.
func (s *Scanner) text() Span {
	s.pos++
	from, escaped := s.pos, false
	for {
		i := plain(s.data, s.pos)
		s.pos = i
		if i == len(s.data) {
			s.fail(ErrShort)
			return Span{}
		}
		switch s.data[i] {
		case '"':
			s.pos = i + 1
			return Span{Raw: s.data[from:i], Escaped: escaped}
		case '\\':
			escaped = true
			if !s.escape() {
				return Span{}
			}
		default:
			s.fail(ErrSyntax)
			return Span{}
		}
	}
}

// plain returns the offset of the first byte from i on that ends or interrupts
// a string: a quote, a backslash, a control character, or the end of data.
func plain(data []byte, i int) int {
	for i+8 <= len(data) {
		w := binary.LittleEndian.Uint64(data[i:])
		quote := w ^ ones*'"'
		slash := w ^ ones*'\\'
		m := ((quote - ones) & ^quote) | ((slash - ones) & ^slash) | ((w - ones*0x20) & ^w)
		if m &= high; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
		i += 8
	}
	for i < len(data) && data[i] != '"' && data[i] != '\\' && data[i] >= 0x20 {
		i++
	}
	return i
}

// escape steps over one escape sequence that begins at pos.
func (s *Scanner) escape() bool {
	if s.pos+1 >= len(s.data) {
		s.pos = len(s.data)
		return s.fail(ErrShort)
	}
	s.pos++
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return true
	case 'u':
		s.pos++
		for range 4 {
			if s.pos == len(s.data) {
				return s.fail(ErrShort)
			}
			if _, ok := hex(s.data[s.pos]); !ok {
				return s.fail(ErrSyntax)
			}
			s.pos++
		}
		return true
	}
	return s.fail(ErrSyntax)
}
