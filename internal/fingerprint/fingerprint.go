// Package fingerprint names a secret without revealing it, so that a leak found
// anywhere can be matched to the inventory.
//
// There are two kinds, and they are not comparable:
//
//   - The blind fingerprint, "f1:" and 32 characters. It is a pseudorandom
//     function of the secret under a key that only the server holds: without
//     the key nobody can test guesses, not even somebody who stole the
//     database. The digit is the version of that key. [Evaluator.Of] computes
//     it where the key is.
//   - The local fingerprint, "l1:" and 16 characters, by [Local]. It needs no
//     key and so resists guessing only by being slow. It tells apart the findings
//     of an offline scan, and never leaves a baseline file.
//
// A scanner elsewhere gets a blind fingerprint without showing its secret and
// without holding the key, by the oblivious protocol of RFC 9497 (mode OPRF,
// suite P256-SHA256):
//
//	scanner                                    server
//	b, element := Blind(class, canonical)
//	                   -- element -->          Evaluator.Evaluate
//	                  <-- evaluated --
//	b.Finalize(version, evaluated)
//
// The element is a uniformly random point whatever the secret is, so the server
// learns nothing. The server's answer must stay rationed and authenticated all
// the same: whoever may ask freely may test guesses. The base mode does not
// prove which key the server used; a lying server makes its own matching fail
// and nothing else.
//
// One caution: the canonical form of a private key is its public key, so that a
// certificate in the inventory can be matched. Whoever runs the protocol
// honestly has seen the private key; a lying scanner needs the public one only.
// A blind fingerprint of class [PEM] is the word of its authenticated sender;
// one that the server computed from the key itself is proof.
//
// The input of the function is class, a zero byte, and the canonical form of the
// secret ([Canonical]), so that a key is one fingerprint however it is wrapped.
package fingerprint

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/oprf"
	"golang.org/x/crypto/scrypt"
)

// A Class says what sort of secret a value is. Equal bytes of different
// classes have different fingerprints. The set is open: any non-empty name of
// up to 64 bytes from a-z, 0-9, '-', '_', '.' is a class.
type Class string

// The classes that more than one package speaks of.
const (
	Muster Class = "muster" // a credential that Muster minted, whole
	AWS    Class = "aws"    // an AWS secret access key, without its key id
	GitHub Class = "github" // a GitHub token, whole
	GitLab Class = "gitlab" // a GitLab token, whole
	Slack  Class = "slack"  // a Slack token or webhook URL, whole
	JWT    Class = "jwt"    // a JSON Web Token, whole
	PEM    Class = "pem"    // a private key, as its public key (SPKI DER)
	Opaque Class = "opaque" // anything else, byte for byte
)

const (
	// MaxBatch is the largest number of elements one Evaluate accepts.
	MaxBatch = 100

	// MaxValue is the largest secret in bytes, in raw and in canonical form.
	MaxValue = 32 << 10

	// ElementLength is the length in bytes of a blinded or evaluated element:
	// a compressed point (RFC 9497, section 4.3).
	ElementLength = 33

	fingerprintBytes = 20 // of the function's 32: 160 bits, no collisions by chance
	localBytes       = 10
	maxClass         = 64
)

var (
	// ErrInput means that a class, a value or a batch is empty, too large or
	// not of the form its class demands.
	ErrInput = errors.New("not fit for a fingerprint")

	// ErrElement means that bytes are not a valid, non-identity point.
	ErrElement = errors.New("not a blinded element")
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// An Evaluator holds one version of the server's key. It is safe for concurrent
// use. Its curve arithmetic takes the same time for every key.
type Evaluator struct {
	version int
	server  oprf.Server
}

// NewEvaluator derives the key of a version from seed, 32 or more secret random
// bytes (RFC 9497, section 3.2.1, takes 32 of them; longer ones are refused so
// that no bytes are silently ignored). The same seed and version give the same
// fingerprints for ever. Versions count from 1.
func NewEvaluator(seed []byte, version int) (*Evaluator, error) {
	if len(seed) != 32 || version < 1 {
		return nil, fmt.Errorf("fingerprint key: %w: want 32 bytes of seed and a version from 1, got %d and %d", ErrInput, len(seed), version)
	}
	// The version is part of the derivation: two versions differ even if
	// somebody passes one seed twice.
	key, err := oprf.DeriveKey(oprf.SuiteP256, oprf.BaseMode, seed, []byte("muster fingerprint "+strconv.Itoa(version)))
	if err != nil {
		return nil, fmt.Errorf("fingerprint key: %w", err)
	}
	return &Evaluator{version: version, server: oprf.NewServer(oprf.SuiteP256, key)}, nil
}

// Version returns the version of the key, the number in the fingerprints.
func (e *Evaluator) Version() int { return e.version }

// Of returns the fingerprint of a secret in canonical form. The error is
// ErrInput, and never contains the secret.
func (e *Evaluator) Of(class Class, canonical []byte) (string, error) {
	in, err := input(class, canonical)
	if err != nil {
		return "", err
	}
	out, err := e.server.FullEvaluate(in)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	return format(e.version, out), nil
}

// Evaluate answers a batch of at most MaxBatch blinded elements, in order. It
// refuses the whole batch, with the index of the culprit, if one is not a valid
// point. The caller authenticates and rations: an element costs about as much
// as a signature and answers one guess.
func (e *Evaluator) Evaluate(blinded [][]byte) ([][]byte, error) {
	if len(blinded) == 0 || len(blinded) > MaxBatch {
		return nil, fmt.Errorf("evaluate %d elements: %w: want 1 to %d", len(blinded), ErrInput, MaxBatch)
	}
	elements := make([]group.Element, len(blinded))
	for i, b := range blinded {
		element, err := parseElement(b)
		if err != nil {
			return nil, fmt.Errorf("evaluate element %d: %w", i, err)
		}
		elements[i] = element
	}
	evaluation, err := e.server.Evaluate(&oprf.EvaluationRequest{Elements: elements})
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	out := make([][]byte, len(blinded))
	for i, element := range evaluation.Elements {
		if out[i], err = element.MarshalBinaryCompress(); err != nil {
			return nil, fmt.Errorf("evaluate element %d: %w", i, err)
		}
	}
	return out, nil
}

// A Blinding remembers what a scanner must know to read the server's answer:
// the secret and the random factor it was hidden with. Keep it in memory only.
type Blinding struct {
	finalize *oprf.FinalizeData
}

// Blind hides a secret in canonical form. The element goes to the server; the
// Blinding waits for the answer. Blinding the same secret twice gives unrelated
// elements. The error is ErrInput, and never contains the secret.
func Blind(class Class, canonical []byte) (*Blinding, []byte, error) {
	in, err := input(class, canonical)
	if err != nil {
		return nil, nil, err
	}
	data, request, err := oprf.NewClient(oprf.SuiteP256).Blind([][]byte{in})
	if err != nil {
		return nil, nil, fmt.Errorf("blind: %w", err)
	}
	element, err := request.Elements[0].MarshalBinaryCompress()
	if err != nil {
		return nil, nil, fmt.Errorf("blind: %w", err)
	}
	return &Blinding{finalize: data}, element, nil
}

// Finalize turns the server's answer into the fingerprint. Version is the
// server's word for the key it used.
func (b *Blinding) Finalize(version int, evaluated []byte) (string, error) {
	if version < 1 {
		return "", fmt.Errorf("finalize fingerprint: %w: key version %d", ErrInput, version)
	}
	element, err := parseElement(evaluated)
	if err != nil {
		return "", fmt.Errorf("finalize fingerprint: %w", err)
	}
	out, err := oprf.NewClient(oprf.SuiteP256).Finalize(b.finalize, &oprf.Evaluation{Elements: []group.Element{element}})
	if err != nil {
		return "", fmt.Errorf("finalize fingerprint: %w", err)
	}
	return format(version, out[0]), nil
}

// Version returns the key version of a blind fingerprint, and false if text is
// not one. Two fingerprints are comparable only within a version.
func Version(text string) (int, bool) {
	number, digest, ok := strings.Cut(strings.TrimPrefix(text, "f"), ":")
	if !ok || text[0] != 'f' || len(number) > 9 {
		return 0, false
	}
	version, err := strconv.Atoi(number)
	if err != nil || version < 1 || strconv.Itoa(version) != number {
		return 0, false
	}
	// Twenty bytes fill 32 base32 digits exactly, so no text has a twin.
	raw, err := base32Lower.DecodeString(digest)
	if err != nil || len(digest) != base32Lower.EncodedLen(fingerprintBytes) || len(raw) != fingerprintBytes {
		return 0, false
	}
	return version, true
}

// Local returns the local fingerprint of a value: scrypt (RFC 7914) with
// N=1024, r=8, p=1 and the salt "muster-l1", 80 bits. It takes milliseconds and
// a megabyte on purpose: compute it once per distinct value. A weak password
// can still be guessed from it.
func Local(value []byte) string {
	out, err := scrypt.Key(value, []byte("muster-l1"), 1024, 8, 1, localBytes)
	if err != nil {
		panic("fingerprint: " + err.Error()) // only if the constants are wrong
	}
	return "l1:" + base32Lower.EncodeToString(out)
}

func format(version int, output []byte) string {
	return "f" + strconv.Itoa(version) + ":" + base32Lower.EncodeToString(output[:fingerprintBytes])
}

// input is what the pseudorandom function sees. A class has no zero byte, so
// no two pairs give the same input.
func input(class Class, canonical []byte) ([]byte, error) {
	if !class.valid() {
		return nil, fmt.Errorf("fingerprint: %w: class %q", ErrInput, class[:min(len(class), maxClass)])
	}
	if len(canonical) == 0 || len(canonical) > MaxValue {
		return nil, fmt.Errorf("fingerprint of class %s: %w: %d bytes, want 1 to %d", class, ErrInput, len(canonical), MaxValue)
	}
	in := make([]byte, 0, len(class)+1+len(canonical))
	return append(append(append(in, class...), 0), canonical...), nil
}

func (c Class) valid() bool {
	for i := range len(c) {
		b := c[i]
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' && b != '.' {
			return false
		}
	}
	return len(c) > 0 && len(c) <= maxClass
}

// parseElement accepts the one encoding of RFC 9497, a compressed point on the
// curve. The identity has no such encoding, and P-256 has no small subgroups,
// so every point that parses is safe to multiply by the key.
func parseElement(b []byte) (group.Element, error) {
	if len(b) != ElementLength {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrElement, len(b), ElementLength)
	}
	element := group.P256.NewElement()
	if err := element.UnmarshalBinary(b); err != nil || element.IsIdentity() {
		return nil, fmt.Errorf("%w: not a point of P-256", ErrElement)
	}
	return element, nil
}
