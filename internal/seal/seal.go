// Package seal keeps secrets at rest: it encrypts what the database may hold
// only as ciphertext, under keys that live outside the database.
//
// A [Keys] comes from a key file in the data folder ([Open]) or from nowhere
// ([New], for tests and demonstrations: what it seals dies with the process).
// It does two things:
//
//   - [Keys.Seal] and [Keys.Unseal] encrypt and decrypt a box for a purpose.
//     Each purpose has its own key, and the purpose is authenticated: a box
//     sealed as "connector" does not open as "webhook", so a row moved from one
//     table to another is noise, not a confused deputy. Name the row in the
//     purpose ("connector/okta") to pin a box to its place.
//   - [Keys.Derive] gives a purpose its own stable bytes, for seeds such as the
//     fingerprint key. Rotation never changes them.
//
// A box is laid out as
//
//	format 1 | key version 4 | nonce 24 | ciphertext | tag 16
//
// and encrypted with XAES-256-GCM (C2SP): AES-256-GCM under a key derived from
// the purpose's key and half of a random 192-bit nonce. Plain AES-GCM must not
// draw more than 2^32 random nonces per key, which a busy log receiver reaches
// in weeks; this is good for 2^80. The purpose's key is HKDF-SHA256 of the file's key.
//
// The key file is JSON, mode 0600, with a format number and a list of sealing
// keys. The newest seals; all of them unseal, so [Keys.Rotate] needs no
// re-encryption. Whoever loses the file loses every box: back it up, apart
// from the database. Whoever reads both, reads everything.
//
// So the file itself may be sealed (format 2): its keys are encrypted under one
// small key, and a [Wrapper] protects that one, by a passphrase ([Passphrase])
// or by what the folders below know: an age identity, a PKCS#11 token, a cloud's
// key service. [Keys.Rewrap] changes or removes the protection; no box is
// encrypted anew, because the keys inside stay.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

const (
	boxFormat  = 1
	keySize    = 32
	nonceSize  = 24
	tagSize    = 16
	headerSize = 1 + 4

	// Overhead is how many bytes a box is longer than its plaintext.
	Overhead = headerSize + nonceSize + tagSize
)

var (
	// ErrBox means that a box does not open: it was changed, cut, sealed for
	// another purpose or sealed by keys that are not ours.
	// Which of them it was, nobody can tell.
	ErrBox = errors.New("sealed box does not open")

	// ErrKeyVersion means that a box names a sealing key that the key file does
	// not hold: most likely the file is older than the database beside it.
	ErrKeyVersion = errors.New("sealed box names an unknown key version")
)

// Keys seals, unseals and derives. It is safe for concurrent use, and prints as
// nothing. The zero Keys is not usable: get one from Open or New.
type Keys struct {
	path string // where Rotate writes; empty for New

	mu      sync.RWMutex // guards current, sealing and cover
	cover   *cover       // how the file is sealed; nil if it lies in clear
	current uint32
	sealing map[uint32]secret // by version

	root secret // what Derive derives from; never rotated
}

// A secret is 32 uniformly random bytes, never changed once made. It is a
// pointer so that a printer that ignores our methods (fmt does, inside
// unexported fields) shows an address.
type secret *[keySize]byte

// New returns random keys that exist only in memory.
func New() *Keys {
	return &Keys{
		current: 1,
		sealing: map[uint32]secret{1: newSecret()},
		root:    newSecret(),
	}
}

// Seal encrypts plaintext for a purpose. Two boxes of the same plaintext differ.
// The box is Overhead bytes longer than plaintext, which it does not keep.
// An empty purpose is a bug in the caller, and panics.
func (k *Keys) Seal(purpose string, plaintext []byte) []byte {
	k.mu.RLock()
	version, key := k.current, k.sealing[k.current]
	k.mu.RUnlock()

	box := make([]byte, headerSize+nonceSize, Overhead+len(plaintext))
	box[0] = boxFormat
	binary.BigEndian.PutUint32(box[1:], version)
	nonce := box[headerSize:]
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	gcm := xaes(expand(key, "muster seal 1 "+required(purpose), keySize), nonce[:12])
	return gcm.Seal(box, nonce[12:], plaintext, additional(box[:headerSize], purpose))
}

// Unseal returns what Seal was given for the same purpose. The result is new
// memory; box is not kept or changed. The error is ErrBox or ErrKeyVersion.
func (k *Keys) Unseal(purpose string, box []byte) ([]byte, error) {
	if len(box) < Overhead || box[0] != boxFormat {
		return nil, ErrBox
	}
	version := binary.BigEndian.Uint32(box[1:])
	k.mu.RLock()
	key, ok := k.sealing[version]
	k.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("%w %d", ErrKeyVersion, version)
	}
	header, nonce, sealed := box[:headerSize], box[headerSize:headerSize+nonceSize], box[headerSize+nonceSize:]
	gcm := xaes(expand(key, "muster seal 1 "+required(purpose), keySize), nonce[:12])
	plaintext, err := gcm.Open(nil, nonce[12:], sealed, additional(header, purpose))
	if err != nil {
		return nil, ErrBox
	}
	return plaintext, nil
}

// Derive returns n bytes that belong to a purpose: the same for as long as the
// key file lives, unrelated to every other purpose and to what Seal uses.
// It panics on an empty purpose and when n is not between 1 and 8160, the
// limit of HKDF-SHA256 (RFC 5869, section 2.3).
func (k *Keys) Derive(purpose string, n int) []byte {
	if n < 1 {
		panic("seal: derive of no bytes")
	}
	return expand(k.root, "muster derive 1 "+required(purpose), n)
}

// String hides the keys.
func (k *Keys) String() string { return "seal.Keys(hidden)" }

// Format hides the keys under every verb.
func (k *Keys) Format(f fmt.State, _ rune) {
	// A fmt.State cannot fail in a way that a Formatter could report.
	_, _ = io.WriteString(f, k.String())
}

// LogValue hides the keys.
func (k *Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

func required(purpose string) string {
	if purpose == "" {
		panic("seal: empty purpose")
	}
	return purpose
}

// additional is the authenticated data: the header, of fixed length, and then
// the purpose. The purpose already chose the key; here it is belt and braces.
func additional(header []byte, purpose string) []byte {
	return append(append(make([]byte, 0, len(header)+len(purpose)), header...), purpose...)
}

// expand is HKDF-SHA256 without a salt: a secret is uniformly random already.
func expand(s secret, info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, s[:], nil, info, n)
	if err != nil {
		panic("seal: " + err.Error()) // only if n is out of range
	}
	return out
}

// xaes derives the AES-GCM instance of XAES-256-GCM for the first half of a
// nonce (https://c2sp.org/XAES-256-GCM; the subkey generation is that of CMAC,
// NIST SP 800-38B, section 6.1). The second half is the GCM nonce.
func xaes(key, nonceHalf []byte) cipher.AEAD {
	block := aesBlock(key)
	var k1 [aes.BlockSize]byte
	block.Encrypt(k1[:], k1[:])
	top := k1[0] >> 7
	for i := range len(k1) - 1 {
		k1[i] = k1[i]<<1 | k1[i+1]>>7
	}
	k1[len(k1)-1] = k1[len(k1)-1]<<1 ^ top*0x87

	var derived [keySize]byte
	for i := range 2 {
		half := derived[i*aes.BlockSize:][:aes.BlockSize]
		half[1], half[2] = byte(i+1), 'X'
		copy(half[4:], nonceHalf)
		for j := range half {
			half[j] ^= k1[j]
		}
		block.Encrypt(half, half)
	}
	gcm, err := cipher.NewGCM(aesBlock(derived[:]))
	if err != nil {
		panic("seal: " + err.Error()) // AES blocks are always 16 bytes
	}
	return gcm
}

func aesBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("seal: " + err.Error()) // keys are always 32 bytes
	}
	return block
}

func newSecret() secret {
	return secret(random(keySize))
}

// random returns n random bytes. crypto/rand never fails: it ends the program
// instead.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
