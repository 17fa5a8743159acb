// Package bundle carries policies from one place to another: a folder of files
// becomes one signed file, and whoever holds the public key of the installation
// can tell that it is whole, that it is what is in force, and that it is not an
// older one.
//
// A bundle is a plain tar. Its first entry is signature.json, a DSSE envelope
// (Dead Simple Signing Envelope 1.0) around the [Manifest]; the rest are the files
// in the order of their names. Everything in the tar but names and bytes is
// fixed, so the same files make the same bundle, byte for byte. It is not
// compressed: what is small on the wire and large in memory is how archives
// attack their readers, and a transport compresses by itself.
//
//	files -> Digest -> Manifest -> Build (sign) -> bytes -> Open (verify) -> files
//
// What is signed is the manifest's bytes, together with its type, by Ed25519. DSSE
// was chosen over a JWS because it signs bytes as they are (nothing is put into a
// canonical form, so there is nothing to disagree about) and because a message
// cannot choose its algorithm. The keys of tokens stay apart: they sign what lives
// minutes, for others.
//
// [Open] refuses, each with an error of its own: a wrong or unknown signature
// ([ErrSignature]), files that are not what was signed ([ErrDigest]), a bundle
// that is past its time ([ErrExpired]: whoever holds back newer ones can do so
// only until then) or older than one that was seen ([ErrRollback]), and everything
// that is no bundle at all ([ErrFormat]). It reads names only as [CheckName]
// allows them, and never more than [MaxBundle] bytes.
package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/policy"
)

// Format is the version of the format that this package writes and reads.
const Format = 1

// Limits on what is built and opened.
const (
	MaxFiles  = 2000
	MaxFile   = 4 << 20 // bytes of one file, as the loader of policies has it
	MaxTotal  = 8 << 20 // bytes of all files
	MaxBundle = 16 << 20
	MaxLife   = 31 * 24 * time.Hour // from Created to Expires
)

// What Open tells apart.
var (
	ErrFormat    = errors.New("no bundle of policies")
	ErrSignature = errors.New("signature of the bundle is wrong")
	ErrDigest    = errors.New("bundle is not what was signed")
	ErrExpired   = errors.New("bundle has expired")
	ErrNotYet    = errors.New("bundle is from the future")
	ErrRollback  = errors.New("bundle is older than one that was seen")
)

// A Manifest is what the signature speaks about.
type Manifest struct {
	Format int `json:"format"`
	// Sequence counts what was put into force, from 1. It never goes back: an
	// older set that is put into force again gets a new number.
	Sequence uint64 `json:"sequence"`
	// Digest names the files by their content, see [Digest].
	Digest string `json:"digest"`
	// Parent is the digest of what was in force before; empty at first.
	Parent string `json:"parent,omitempty"`
	// Created is when this bundle was signed, and Expires when it ends. The same
	// set is signed again and again while it is in force.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Settings are the numbers in the built-in guards, and Effective the digest of
	// guards and policies together, as decisions record it: whoever loads the
	// policies can tell that it rules alike.
	Settings  policy.Settings `json:"settings"`
	Effective string          `json:"effective"`
	// Files are in the order of their names.
	Files []File `json:"files"`
}

// A File is what the manifest says of one file.
type File struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// Digest names files by their content: the SHA-256, in hex, over each name and
// text, preceded by its length, in the order of names. Order and time do not
// matter, any byte does.
func Digest(files map[string]string) string {
	h := sha256.New()
	var n [8]byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, part := range []string{name, files[name]} {
			binary.BigEndian.PutUint64(n[:], uint64(len(part)))
			h.Write(n[:])
			h.Write([]byte(part))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Build signs m over files and returns the bundle. It fills in Format, Digest and
// Files. The error wraps nhi.ErrInvalid when the files are more, larger or named
// otherwise than [CheckFiles] allows, or when the manifest's times do not fit.
func Build(m Manifest, files map[string]string, key ed25519.PrivateKey) ([]byte, error) {
	if err := CheckFiles(files); err != nil {
		return nil, err
	}
	m.Format, m.Digest, m.Files = Format, Digest(files), describe(files)
	m.Created, m.Expires = m.Created.UTC().Truncate(time.Second), m.Expires.UTC().Truncate(time.Second)
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("build a bundle: %w", err)
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("build a bundle: %w", err)
	}
	envelope, err := seal(payload, key)
	if err != nil {
		return nil, fmt.Errorf("build a bundle: %w", err)
	}
	var out bytes.Buffer
	if err := write(&out, envelope, files); err != nil {
		return nil, fmt.Errorf("build a bundle: %w", err)
	}
	return out.Bytes(), nil
}

func describe(files map[string]string) []File {
	out := make([]File, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[name]))
		out = append(out, File{Name: name, Size: len(files[name]), SHA256: hex.EncodeToString(sum[:])})
	}
	return out
}

// check returns what no manifest of ours can say. It is asked about manifests
// whose signature is good: a key that signs nonsense is not believed either.
func (m *Manifest) check() error {
	life := m.Expires.Sub(m.Created)
	switch {
	case m.Format != Format:
		return fmt.Errorf("%w: format %d, this program reads %d", ErrFormat, m.Format, Format)
	case m.Sequence == 0:
		return fmt.Errorf("%w: it has no sequence number", ErrFormat)
	case m.Created.IsZero() || life <= 0 || life > MaxLife:
		return fmt.Errorf("%w: it lasts from %v to %v, at most %v are allowed", ErrFormat, m.Created, m.Expires, MaxLife)
	case len(m.Effective) != 2*sha256.Size:
		return fmt.Errorf("%w: it does not say what the policies amount to", ErrFormat)
	}
	return m.Settings.Validate()
}

// A Seen is the newest bundle that somebody holds. The zero Seen has seen none.
type Seen struct {
	Sequence uint64    `json:"sequence"`
	Digest   string    `json:"digest"`
	Created  time.Time `json:"created"`
}

// Trust says what a bundle must be to be believed.
type Trust struct {
	// Keys are whose signature counts: one good signature of one of them is
	// enough. Without keys nothing is believed.
	Keys []ed25519.PublicKey
	// Now is the time of the check; zero stands for the present. Leeway is what
	// clocks may differ by, at most.
	Now    time.Time
	Leeway time.Duration
	// Seen is the newest one that was believed before. Keep what [Bundle.Seen]
	// returns where it outlives the process.
	Seen Seen
}

// A Bundle is one that was believed.
type Bundle struct {
	Manifest Manifest
	// Files are name to text: the library as it was put into force. Those that
	// Cedar reads are in Policies.
	Files map[string]string
	// Key is the id of the key that signed it.
	Key string
}

// Seen is what has been seen once this bundle is used.
func (b *Bundle) Seen() Seen {
	return Seen{Sequence: b.Manifest.Sequence, Digest: b.Manifest.Digest, Created: b.Manifest.Created}
}

// Policies are the files that [policy.Load] takes, by name.
func (b *Bundle) Policies() map[string]string { return Policies(b.Files) }

// Load returns the policies, compiled, with the guards of the manifest's settings.
// It fails when this program makes something else of them than the signer did:
// then the two are of different releases, and would not decide alike.
func (b *Bundle) Load() (*policy.Set, error) {
	set, err := policy.Load(b.Manifest.Settings, b.Policies())
	if err != nil {
		return nil, fmt.Errorf("load the bundle: %w", err)
	}
	if set.Digest() != b.Manifest.Effective {
		return nil, fmt.Errorf("load the bundle: the built-in guards of this release are not those of the server that signed it; run the same release: %w", ErrDigest)
	}
	return set, nil
}

// Open reads a bundle and believes it, or says why not. The error wraps one of
// the errors of this package. Nothing of a bundle is used before its signature is
// found good but the sizes of its entries.
func Open(data []byte, t Trust) (*Bundle, error) {
	b, err := Inspect(data, t.Keys)
	if err != nil {
		return nil, err
	}
	return b, t.Current(&b.Manifest)
}

// Inspect is Open without regard to time and sequence: it says that a bundle was
// signed and is whole, and not that it may be used.
func Inspect(data []byte, keys []ed25519.PublicKey) (*Bundle, error) {
	envelope, files, err := read(data)
	if err != nil {
		return nil, err
	}
	payload, key, err := unseal(envelope, keys)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Files: files, Key: key}
	if err := strict(payload, &b.Manifest); err != nil {
		return nil, fmt.Errorf("%w: its manifest: %v", ErrFormat, err)
	}
	if err := b.Manifest.check(); err != nil {
		return nil, err
	}
	if got := describe(files); !slices.Equal(got, b.Manifest.Files) {
		return nil, fmt.Errorf("%w: %s", ErrDigest, difference(b.Manifest.Files, got))
	}
	if Digest(files) != b.Manifest.Digest {
		return nil, fmt.Errorf("%w: the digest of the whole differs", ErrDigest)
	}
	return b, nil
}

// Current says why a manifest is not the newest and in time; nil when it is.
func (t Trust) Current(m *Manifest) error {
	now := t.Now
	if now.IsZero() {
		now = time.Now()
	}
	switch {
	case !now.Before(m.Expires.Add(t.Leeway)):
		return fmt.Errorf("%w at %s; fetch the one that is in force", ErrExpired, m.Expires.Format(time.RFC3339))
	case now.Before(m.Created.Add(-t.Leeway)):
		return fmt.Errorf("%w: signed at %s; is the clock right", ErrNotYet, m.Created.Format(time.RFC3339))
	case m.Sequence < t.Seen.Sequence:
		return fmt.Errorf("%w: sequence %d, and %d was there", ErrRollback, m.Sequence, t.Seen.Sequence)
	case m.Sequence == t.Seen.Sequence && t.Seen.Digest != "" && m.Digest != t.Seen.Digest:
		return fmt.Errorf("%w: another one had sequence %d", ErrRollback, m.Sequence)
	case m.Sequence == t.Seen.Sequence && m.Created.Before(t.Seen.Created):
		return fmt.Errorf("%w: signed at %s, and %s was there", ErrRollback, m.Created.Format(time.RFC3339), t.Seen.Created.Format(time.RFC3339))
	}
	return nil
}

// difference names the first file that is not as it was signed.
func difference(signed, got []File) string {
	for i := range max(len(signed), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%q is missing", signed[i].Name)
		case i >= len(signed):
			return fmt.Sprintf("%q was added", got[i].Name)
		case signed[i] != got[i]:
			return fmt.Sprintf("%q differs from %q as it was signed", got[i].Name, signed[i].Name)
		}
	}
	return "the list of files differs"
}
