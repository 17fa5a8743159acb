package jsonscan

import (
	"unicode/utf16"
	"unicode/utf8"
)

// Append appends the meaning of the span to dst: escapes are resolved, and
// what is no valid UTF-8, or half a surrogate pair, becomes U+FFFD, as
// encoding/json does it.
func (t Span) Append(dst []byte) []byte {
	b := t.Raw
	for len(b) > 0 {
		c := b[0]
		switch {
		case c == '\\' && len(b) > 1:
			var n int
			dst, n = appendEscape(dst, b)
			b = b[n:]
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			b = b[1:]
		default:
			r, n := utf8.DecodeRune(b)
			dst = utf8.AppendRune(dst, r)
			b = b[n:]
		}
	}
	return dst
}

// appendEscape resolves the escape that b starts with and returns how many
// bytes of b it took. b comes from a Scanner, so the escape is well formed;
// any other is copied.
func appendEscape(dst, b []byte) ([]byte, int) {
	switch b[1] {
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'u':
		r, ok := unicodeEscape(b)
		if !ok {
			return append(dst, b[1]), 2
		}
		if utf16.IsSurrogate(r) {
			if low, ok := unicodeEscape(b[6:]); ok {
				if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
					return utf8.AppendRune(dst, both), 12
				}
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(dst, r), 6
	}
	return append(dst, b[1]), 2
}

// unicodeEscape reads the backslash, u and four hexadecimal digits at the
// start of b.
func unicodeEscape(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		d, ok := hex(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func hex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
