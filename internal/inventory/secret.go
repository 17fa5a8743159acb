package inventory

import (
	"math"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/nhi"
)

// minBits is the least that a registered secret must be able to hold: its
// verifier is one plain SHA-256, sound only where guessing is hopeless.
const minBits = 128

// checkClaim refuses a class or a public id that does not fit.
func checkClaim(class fingerprint.Class, publicID string) error {
	switch {
	case class == fingerprint.Muster:
		return nhi.Invalidf("keys of Muster are created here, not registered")
	case class == fingerprint.AWS && !accessKeyID(publicID):
		return nhi.Invalidf("class aws needs an access key id, such as AKIAIOSFODNN7EXAMPLE")
	case publicID != "":
		return checkName(publicID)
	}
	return nil
}

// checkStrength refuses a secret that could be guessed. Its errors never hold
// the secret. A private key has no weak form.
func checkStrength(class fingerprint.Class, canonical []byte) error {
	if class == fingerprint.PEM {
		return nil
	}
	if bits := possibleBits(canonical); bits < minBits {
		return nhi.Invalidf("the secret can hold %d bits at most, %d are needed: it could be guessed", bits, minBits)
	}
	return nil
}

// accessKeyID reports whether id has the shape of an AWS access key id.
func accessKeyID(id string) bool {
	if len(id) < 16 || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// possibleBits returns how much a secret could hold at most if it were drawn
// at random from the sort of characters it has. It counts what repeats only
// once, so a long run of a short pattern is as weak as the pattern. It cannot
// see that a secret is a sentence: it refuses what is hopeless, no more.
func possibleBits(secret []byte) int {
	var lower, upper, digit, other bool
	hex := true
	seen := make(map[byte]bool)
	for _, c := range secret {
		seen[c] = true
		switch {
		case c >= '0' && c <= '9':
			digit = true
		case c >= 'a' && c <= 'z':
			lower = true
			hex = hex && c <= 'f'
		case c >= 'A' && c <= 'Z':
			upper = true
			hex = hex && c <= 'F'
		default:
			other, hex = true, false
		}
	}
	size := 0
	for _, part := range []struct {
		has  bool
		size int
	}{{lower, 26}, {upper, 26}, {digit, 10}, {other, 32}} {
		if part.has {
			size += part.size
		}
	}
	switch {
	case len(seen) < 8:
		size = len(seen) // too few different ones for any alphabet
	case hex:
		size = 16
	}
	if size < 2 {
		return 0
	}
	return int(float64(period(secret)) * math.Log2(float64(size)))
}

// period returns the length of the shortest pattern whose repetition is the
// secret, by the failure function of Knuth, Morris and Pratt.
func period(s []byte) int {
	fail := make([]int, len(s)+1)
	k := 0
	for i := 1; i < len(s); i++ {
		for k > 0 && s[i] != s[k] {
			k = fail[k]
		}
		if s[i] == s[k] {
			k++
		}
		fail[i+1] = k
	}
	return len(s) - fail[len(s)]
}
