// Package breakglass is the way in when the server is gone for longer than a
// point may decide without it: a code that two people hold in halves opens one
// point, once, for at most an hour.
//
//	prepared, online    two people each get a half ([Mint]); the point gets the verifiers
//	used, offline       both halves at the point itself -> [Box.Open] -> it lets pass, loudly
//	afterwards, online  the point tells the server, which audits it and tells people
//
// A half is 128 random bits in 26 letters and digits and two more to catch
// slips, in groups of four: people read it from paper. Only its SHA-256 is kept
// anywhere. A [Box] is what a point remembers: which codes were used, and until
// when it is open. A code is written down as used before the point opens, so no
// crash gives it back.
//
// Wrong tries are counted in memory, five in a quarter of an hour, so that trying
// is slow and stands in the log. The code does not need it: somebody who has one
// half, and restarts the point every second for five more tries at one of the ten
// codes that it may have, finds the other half after 2^128 / (2 * 10 * 5) seconds,
// which is 10^29 years, and at a million tries a second after 10^23. What is
// counted is not written down, because a disk that is full or broken must not
// keep out the two who are right.
//
// What an open point still refuses is not decided here; see package decision.
package breakglass

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
)

// ErrSlip means that what was typed is no half: a character is wrong or missing.
var ErrSlip = errors.New("this is no half of a code: look for a slip")

// alphabet is Crockford's base32: no I, L, O or U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	secretLetters = 26 // 130 bits, of which the first two are zero
	checkLetters  = 2
	group         = 4
)

// Mint makes a half, as it is shown to the one who keeps it, and its verifier.
func Mint() (half string, verifier [sha256.Size]byte) {
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // it never fails
	letters := encode(secret)
	return spaced(letters + check(letters)), sha256.Sum256([]byte(letters))
}

// Verifier returns the verifier of a half as it was typed: case, spaces and
// hyphens do not matter, O is 0, I and L are 1. The error is ErrSlip.
func Verifier(typed string) ([sha256.Size]byte, error) {
	var letters strings.Builder
	for _, r := range strings.ToUpper(typed) {
		switch r {
		case ' ', '-', '\t', '\r', '\n':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(alphabet, r) || letters.Len() >= secretLetters+checkLetters {
			return [sha256.Size]byte{}, ErrSlip
		}
		letters.WriteRune(r)
	}
	s := letters.String()
	if len(s) != secretLetters+checkLetters || check(s[:secretLetters]) != s[secretLetters:] {
		return [sha256.Size]byte{}, ErrSlip
	}
	return sha256.Sum256([]byte(s[:secretLetters])), nil
}

// encode writes 128 bits as 26 letters, the most significant first.
func encode(secret [16]byte) string {
	var out [secretLetters]byte
	for i := range out {
		value := 0
		for b := range 5 {
			bit := i*5 + b - 2 // two bits of padding come first
			value <<= 1
			if bit >= 0 {
				value |= int(secret[bit/8]>>(7-bit%8)) & 1
			}
		}
		out[i] = alphabet[value]
	}
	return string(out[:])
}

// check is what the last letters must be. It says nothing about the secret
// that the secret's own first bits would not.
func check(letters string) string {
	sum := sha256.Sum256([]byte("muster break-glass check\x00" + letters))
	return string([]byte{alphabet[sum[0]&31], alphabet[sum[1]&31]})
}

func spaced(letters string) string {
	var b strings.Builder
	for i := 0; i < len(letters); i += group {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(letters[i:min(i+group, len(letters))])
	}
	return b.String()
}
