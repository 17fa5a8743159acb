package facts

import (
	"crypto/sha256"
	"encoding/binary"
)

// An id is the 16 bytes behind an identity's or credential's id, as two
// numbers: half the size of the text, free of pointers, and ordered.
type id struct{ hi, lo uint64 }

func (a id) less(b id) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

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

// parseID reads prefix and 26 letters of lower-case base32. It reports false
// for every other text, the non-canonical spellings of the same bytes
// included: such an id is odd.
func parseID(s, prefix string) (id, bool) {
	if len(s) != len(prefix)+26 || s[:len(prefix)] != prefix {
		return id{}, false
	}
	s = s[len(prefix):]
	var out id
	for i := range 25 { // 125 bits
		v := values[s[i]]
		if v == 255 {
			return id{}, false
		}
		out.hi = out.hi<<5 | out.lo>>59
		out.lo = out.lo<<5 | uint64(v)
	}
	v := values[s[25]]
	if v == 255 || v&3 != 0 { // the last letter carries 3 bits
		return id{}, false
	}
	out.hi = out.hi<<3 | out.lo>>61
	out.lo = out.lo<<3 | uint64(v>>2)
	return out, true
}

// format is the inverse of parseID.
func (a id) format(prefix string) string {
	var b [32]byte
	n := copy(b[:], prefix)
	hi, lo := a.hi, a.lo
	b[n+25] = alphabet[lo<<2&31]
	lo, hi = lo>>3|hi<<61, hi>>3
	for i := 24; i >= 0; i-- {
		b[n+i] = alphabet[lo&31]
		lo, hi = lo>>5|hi<<59, hi>>5
	}
	return string(b[:n+26])
}

// oddID stands for a text that is no id of the common shape. The text itself
// is kept beside the record and compared on every look-up.
func oddID(s string) id {
	sum := sha256.Sum256([]byte(s))
	return id{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}

const (
	identityPrefix   = "nhi_"
	credentialPrefix = "crd_"
)

// idOf returns the key of s and whether s is odd.
func idOf(s, prefix string) (key id, odd bool) {
	if key, ok := parseID(s, prefix); ok {
		return key, false
	}
	return oddID(s), true
}
