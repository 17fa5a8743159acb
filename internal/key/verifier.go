package key

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
)

// maxPresented bounds what a caller can make us hash. Registered keys of other
// systems may be longer than ours; none comes near this.
const maxPresented = 16 << 10

var errVerifierText = errors.New("verifier is not 64 lower-case hexadecimal digits")

// A Verifier is the SHA-256 of a whole credential: enough to recognise it,
// useless to present it. It is sound only for secrets of 128 random bits or
// more; a password needs a slow hash instead. The zero Verifier matches nothing.
type Verifier [sha256.Size]byte

// VerifierOf returns the verifier of a credential's whole text.
func VerifierOf(secret string) Verifier {
	// A stack buffer: converting a string to bytes allocates beyond 32.
	var short [128]byte
	if len(secret) <= len(short) {
		return sha256.Sum256(short[:copy(short[:], secret)])
	}
	return sha256.Sum256([]byte(secret))
}

// Matches reports whether presented is the credential behind v. The comparison
// takes the same time wherever the first difference lies.
func (v Verifier) Matches(presented string) bool {
	if v.IsZero() || len(presented) > maxPresented {
		return false
	}
	got := VerifierOf(presented)
	return subtle.ConstantTimeCompare(v[:], got[:]) == 1
}

// IsZero reports whether v was never set.
func (v Verifier) IsZero() bool { return v == Verifier{} }

// String returns v as 64 lower-case hexadecimal digits.
func (v Verifier) String() string { return hex.EncodeToString(v[:]) }

// MarshalText returns v as 64 lower-case hexadecimal digits.
func (v Verifier) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes and nothing else: one verifier
// has one text, so that texts can be compared.
func (v *Verifier) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(v)) {
		return errVerifierText
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return errVerifierText
		}
	}
	_, err := hex.Decode(v[:], text)
	return err
}
