package nhi

import (
	"crypto/sha256"
	"encoding/binary"
)

// A Number is the 16 bytes behind an id, as two numbers: half the size of the
// text, free of pointers, and ordered. Where there are millions of ids they are
// kept as Numbers.
type Number struct{ Hi, Lo uint64 }

// Less reports whether a comes before b.
func (a Number) Less(b Number) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// NumberOf returns the number of an id that starts with prefix. Every other
// text, the non-canonical spellings of the same bytes included, is odd: its
// number is a part of its SHA-256, from which the text cannot be had back.
func NumberOf(id, prefix string) (n Number, odd bool) {
	if n, ok := parseNumber(id, prefix); ok {
		return n, false
	}
	sum := sha256.Sum256([]byte(id))
	return Number{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}, true
}

// Number returns the number of an identity's id. Two ids have one number only
// by a collision of 128 bits of SHA-256.
func (id ID) Number() Number {
	n, _ := NumberOf(string(id), "nhi_")
	return n
}

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// value of a letter of the alphabet, 255 for any other byte.
var values = func() (v [256]byte) {
	for i := range v {
		v[i] = 255
	}
	for i := range len(alphabet) {
		v[alphabet[i]] = byte(i)
	}
	return v
}()

// parseNumber reads prefix and 26 letters of lower-case base32.
func parseNumber(s, prefix string) (Number, bool) {
	if len(s) != len(prefix)+26 || s[:len(prefix)] != prefix {
		return Number{}, false
	}
	s = s[len(prefix):]
	var out Number
	for i := range 25 { // 125 bits
		v := values[s[i]]
		if v == 255 {
			return Number{}, false
		}
		out.Hi = out.Hi<<5 | out.Lo>>59
		out.Lo = out.Lo<<5 | uint64(v)
	}
	v := values[s[25]]
	if v == 255 || v&3 != 0 { // the last letter carries 3 bits
		return Number{}, false
	}
	out.Hi = out.Hi<<3 | out.Lo>>61
	out.Lo = out.Lo<<3 | uint64(v>>2)
	return out, true
}

// Text is the inverse of [NumberOf] for an id that is not odd. A prefix of more
// than 6 bytes does not fit.
func (a Number) Text(prefix string) string {
	var b [32]byte
	n := copy(b[:6], prefix)
	hi, lo := a.Hi, a.Lo
	b[n+25] = alphabet[lo<<2&31]
	lo, hi = lo>>3|hi<<61, hi>>3
	for i := 24; i >= 0; i-- {
		b[n+i] = alphabet[lo&31]
		lo, hi = lo>>5|hi<<59, hi>>5
	}
	return string(b[:n+26])
}
