// Package key mints and parses the credentials that Muster itself hands out.
//
// Every one of them is 63 characters of this shape:
//
//	muster_<kind>_<key id>_<secret>_<crc>
//	muster_key_3fKq81ZbTn0P_9w…32 characters…Xe_0aZ3k1
//
// The kind says what it opens (an identity's API key, an enforcement point, a
// log source, a person's token). The key id is public: it is what lists,
// findings and logs show, and it leads straight to the row. The secret is 32
// base62 characters, 190 bits, so one plain SHA-256 of the whole string is a
// sound [Verifier] and the decision path needs no slow password hash. The last
// part is the CRC-32 (IEEE) of everything before the last underscore: it lets a
// scanner tell a real key from a look-alike with no network. Underscores,
// rather than dashes, make a double click select the whole key.
//
// The checksum is no proof of anything. Anybody can write a key id they saw
// somewhere, invent a secret and compute the checksum; [Parse] only says that a
// string is well formed. Proof is [Verifier.Matches] against the row of that key
// id, and nothing else.
//
// A freshly minted value is visible through [Minted.Reveal] alone. Printing,
// logging or marshalling a Minted shows the key id and no secret.
package key

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
)

// A Kind says what a credential opens. It is the second part of the text form.
type Kind string

// The kinds that exist. A decoy carries the kind of the credential it imitates.
const (
	API    Kind = "key" // an identity's API key
	Point  Kind = "pnt" // an enforcement point's key
	Source Kind = "src" // a log or alert source's key
	Token  Kind = "tok" // a person's or client's API token
)

// Valid reports whether k is one of the kinds above.
func (k Kind) Valid() bool {
	switch k {
	case API, Point, Source, Token:
		return true
	}
	return false
}

const (
	// Length is the length in bytes of every credential.
	Length = len(Prefix) + kindLen + 1 + IDLength + 1 + secretLen + 1 + crcLen

	// IDLength is the length in bytes of a key id.
	IDLength = 12

	// Prefix starts every credential. A scanner may look for it.
	Prefix = "muster_"

	// Alphabet holds the base62 digits in order of value. Key id, secret and
	// checksum consist of nothing else.
	Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	kindLen   = 3
	secretLen = 32
	crcLen    = 6

	// Where the parts start; each is preceded by an underscore.
	kindAt   = len(Prefix)
	idAt     = kindAt + kindLen + 1
	secretAt = idAt + IDLength + 1
	crcAt    = secretAt + secretLen + 1
)

var (
	// ErrShape means that a string is not a credential of ours at all: wrong
	// length, prefix, kind, separators or alphabet.
	ErrShape = errors.New("not a muster credential")

	// ErrChecksum means that the shape is right and the checksum is not: most
	// likely a typing error, a truncated paste or an example from a manual.
	ErrChecksum = errors.New("muster credential with a wrong checksum")
)

// Parsed is what the text of a credential tells without any proof.
type Parsed struct {
	Kind Kind
	ID   string // shares memory with the parsed string; clone it to keep it
}

// String returns the public part, safe for logs.
func (p Parsed) String() string { return publicForm(p.Kind, p.ID) }

// Parse splits a credential into its public parts. It returns ErrShape or
// ErrChecksum, never any part of s. It says only that s is well formed:
// whoever knows a key id can build a string that passes.
// It allocates nothing.
func Parse(s string) (Parsed, error) {
	if len(s) != Length || s[:kindAt] != Prefix ||
		s[idAt-1] != '_' || s[secretAt-1] != '_' || s[crcAt-1] != '_' {
		return Parsed{}, ErrShape
	}
	kind := Kind(s[kindAt : idAt-1])
	id, secret, sum := s[idAt:secretAt-1], s[secretAt:crcAt-1], s[crcAt:]
	if !kind.Valid() || !isBase62(id) || !isBase62(secret) || !isBase62(sum) {
		return Parsed{}, ErrShape
	}
	if want := encodeCRC(checksum(s[:crcAt-1])); string(want[:]) != sum {
		return Parsed{}, ErrChecksum
	}
	return Parsed{Kind: kind, ID: id}, nil
}

// Minted is a credential at the only moment its value is known.
// Store Kind, ID and Verifier; show the value once and let it go.
type Minted struct {
	Kind     Kind
	ID       string
	Verifier Verifier

	// A pointer, so that even a reflective printer that ignores our methods
	// (fmt does, inside unexported fields) shows an address and no secret.
	value *string
}

// Mint makes a new credential from crypto/rand. It panics on a kind that does
// not exist, which is a bug in the caller.
func Mint(kind Kind) Minted {
	if !kind.Valid() {
		panic("key: mint of an unknown kind")
	}
	id := randomBase62(IDLength)
	body := Prefix + string(kind) + "_" + id + "_" + randomBase62(secretLen)
	sum := encodeCRC(checksum(body))
	value := body + "_" + string(sum[:])
	return Minted{Kind: kind, ID: id, Verifier: VerifierOf(value), value: &value}
}

// Reveal returns the whole credential, the one time it is shown to whoever
// asked for it. The zero Minted reveals the empty string.
func (m Minted) Reveal() string {
	if m.value == nil {
		return ""
	}
	return *m.value
}

// String returns the public part.
func (m Minted) String() string { return publicForm(m.Kind, m.ID) }

// GoString returns the public part.
func (m Minted) GoString() string { return "key.Minted(" + m.String() + ")" }

// Format prints the public part under every verb, also %x and %d.
func (m Minted) Format(f fmt.State, verb rune) {
	text := m.String()
	if verb == 'v' && f.Flag('#') {
		text = m.GoString()
	}
	// A fmt.State cannot fail in a way that a Formatter could report.
	_, _ = f.Write([]byte(text))
}

// MarshalText returns the public part, for JSON, YAML and everything else that
// asks a value for its text.
func (m Minted) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// MarshalJSON returns the public part as a JSON string.
func (m Minted) MarshalJSON() ([]byte, error) { return []byte(`"` + m.String() + `"`), nil }

// LogValue returns the public part.
func (m Minted) LogValue() slog.Value { return slog.StringValue(m.String()) }

func publicForm(kind Kind, id string) string { return Prefix + string(kind) + "_" + id + "_…" }

// randomBase62 draws n digits. A byte of 248 or more is drawn again: 256 is not
// a multiple of 62, and keeping it would favour the first eight digits.
func randomBase62(n int) string {
	out := make([]byte, 0, n)
	var pool [48]byte
	for len(out) < n {
		rand.Read(pool[:]) // never fails: crypto/rand ends the program instead
		for _, b := range pool {
			if b < 248 && len(out) < n {
				out = append(out, Alphabet[b%62])
			}
		}
	}
	return string(out)
}

func isBase62(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// checksum is crc32.ChecksumIEEE over a string. The standard function wants a
// byte slice that escapes, one allocation on the decision path.
func checksum(s string) uint32 {
	crc := ^uint32(0)
	for i := range len(s) {
		crc = crc32.IEEETable[byte(crc)^s[i]] ^ crc>>8
	}
	return ^crc
}

// encodeCRC writes sum in base62, padded with zeros: 62^6 exceeds 2^32.
func encodeCRC(sum uint32) [crcLen]byte {
	var out [crcLen]byte
	for i := crcLen - 1; i >= 0; i-- {
		out[i] = Alphabet[sum%62]
		sum /= 62
	}
	return out
}
