// Package feed is what a server tells an enforcement point that decides away
// from it: signed messages that bring the facts of the point from one
// generation to the next.
//
// A point asks ([Request]) and is answered by one [Message]. It is the whole
// state (a snapshot: an image of the facts follows the message), or what
// changed, or nothing but the word that nothing did. Every answer says how long
// it is good, and may grant a lease.
//
// # On the wire
//
// A message is a frame: the eight bytes "MFEED001", the server's Ed25519 public
// key (32 bytes), the length of the body (4 bytes, big endian), the body (JSON),
// and the signature (64 bytes) over everything before it. The image of a
// snapshot follows; the body holds its size and its SHA-256. Limits are [MaxBody]
// and [MaxImage].
//
// # What a point refuses
//
// A [State] is how far a point has come, and [State.Accept] is the only way on:
//
//   - another key than the one that it met first and remembers: [ErrKey];
//   - a signature that does not fit: [ErrSignature];
//   - an answer to another question, of another time or to another point: every
//     question holds 32 random bytes, and the answer repeats them ([ErrReplay]);
//   - a message that does not stand on the very message before it, by number and
//     by hash ([ErrGap]);
//   - a generation below the one that the point has ([ErrRollback]);
//   - a message whose time is over, or has not come ([ErrExpired]).
//
// A message that carries something is one link of the chain: its Sequence is one
// more than the point's, and Prev is the hash of the link before it. One that
// carries nothing is no link, and is not kept. A snapshot is a link too, and the
// first one a point can have.
package feed

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Version is the format of requests and messages.
const Version = 1

// Limits.
const (
	MaxBody    = 32 << 20 // bytes of a message without the image
	MaxImage   = 8 << 30  // bytes of the image of a snapshot
	MaxRequest = 16 << 10 // bytes of a request
)

// Lease is how long a lease lasts. The point counts it from before it asked, by
// its own clock; the server from when it was asked. So the point's always ends
// first, whatever the network does between them.
const Lease = 5 * time.Second

// Hold is how long the server keeps a question open when there is nothing to
// tell. It is well below [Lease], so that leases are renewed in time.
const Hold = time.Second

// Paths of the server.
const (
	Path          = "/edge/feed"      // where a point asks
	DecisionsPath = "/edge/decisions" // where it reports its decisions
	GlassPath     = "/edge/glass"     // where it reports that it was opened by a break-glass code
)

// What a message can be refused for. Every error of this package wraps one of
// them, or nhi.ErrInvalid.
var (
	ErrKey       = errors.New("the message is signed by another key than the one that was pinned")
	ErrSignature = errors.New("the signature does not fit the message")
	ErrReplay    = errors.New("the message answers another question")
	ErrGap       = errors.New("the message does not follow the one before it")
	ErrRollback  = errors.New("the message would take the point back to an older state")
	ErrExpired   = errors.New("the message is not good at this time")
)

// A Hash is the SHA-256 of a body.
type Hash [sha256.Size]byte

// String is the hash in hex; empty for the zero Hash.
func (h Hash) String() string {
	if h == (Hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*h = Hash{}
		return nil
	}
	if len(text) != 2*len(h) {
		return nhi.Invalidf("a hash has %d characters, want %d", len(text), 2*len(h))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return nhi.Invalidf("a hash is not hex")
	}
	return nil
}

// A Mark is how far somebody has come: what a point has, and what a message
// leads to.
type Mark struct {
	Installation string         `json:"installation"` // whose database it is
	Sequence     uint64         `json:"sequence"`     // of the last link; 0: none yet
	Hash         Hash           `json:"hash"`         // of the last link
	Generation   nhi.Generation `json:"generation"`
	Last         Hash           `json:"last"`  // digest of the change with the number Generation, as the server keeps it
	Scope        Hash           `json:"scope"` // digest of what the point guards
	Basis        Hash           `json:"basis"` // digest of the basis in force
}

// A Request is a point's question. It acknowledges what the mark says.
type Request struct {
	Version  int    `json:"version"`
	Nonce    string `json:"nonce"`    // 52 characters, new for every question
	Instance string `json:"instance"` // 26 characters that are the process's own
	Mark     Mark   `json:"mark"`
	// Holding says that the point holds a lease and can wait for news. Without
	// it the server answers at once.
	Holding bool `json:"holding,omitempty"`
	// Whole asks for a snapshot, whatever the point has.
	Whole bool `json:"whole,omitempty"`
	// Unshipped is how many decisions the point has not reported.
	Unshipped uint64 `json:"unshipped,omitempty"`
}

// Check returns an error wrapping nhi.ErrInvalid that says what is wrong.
func (r *Request) Check() error {
	switch {
	case r.Version != Version:
		return nhi.Invalidf("the request has format %d, want %d: point and server must be of the same release or neighbours", r.Version, Version)
	case !word(r.Nonce, 52) || !word(r.Instance, 26):
		return nhi.Invalidf("nonce and instance must be 52 and 26 characters of base32")
	case len(r.Mark.Installation) > 64:
		return nhi.Invalidf("the name of the installation is too long")
	case r.Mark.Sequence > 1<<62:
		return nhi.Invalidf("the sequence is out of range")
	}
	return nil
}

// word reports whether s has n characters of base32.
func word(s string, n int) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) == n
}

// NewNonce returns 260 random bits as text.
func NewNonce() string { return rand.Text() + rand.Text() }

// NewInstance returns 130 random bits as text.
func NewInstance() string { return rand.Text() }

// A Basis is what decisions follow from besides facts.
type Basis struct {
	Issuer   string            `json:"issuer"`   // of Muster's own tokens
	Keys     json.RawMessage   `json:"keys"`     // that they are signed with, a JWKS
	Policies map[string]string `json:"policies"` // of the operator: file name to Cedar text
	Guards   json.RawMessage   `json:"guards"`   // numbers of the built-in guards
	Settings json.RawMessage   `json:"settings"` // of deciding
	// Issuers are those whose tokens are used at points as they are, with their
	// rules and keys; absent when there are none.
	Issuers json.RawMessage `json:"issuers,omitempty"`
	// Domains are those whose X.509-SVIDs are believed, with their authorities and
	// who is who; absent when there are none.
	Domains json.RawMessage `json:"domains,omitempty"`
	// Next are policies that decide for a share of the principals already; nil:
	// there are none.
	Next *Next `json:"next,omitempty"`
}

// Next are the policies of a promotion that has come to a share.
type Next struct {
	Policies map[string]string `json:"policies"` // as in Basis
	Percent  int               `json:"percent"`  // 1 to 99
	Key      []byte            `json:"key"`      // that principals are hashed with, 16 bytes
}

// Digest identifies a basis.
func (b *Basis) Digest() Hash {
	text, err := json.Marshal(b)
	if err != nil {
		return Hash{1} // what cannot be sent equals nothing that was
	}
	return sha256.Sum256(text)
}

// An Image announces the image of the facts that follows a message.
type Image struct {
	Size int64 `json:"size"`
	Sum  Hash  `json:"sum"`
}

// A Message is one answer.
type Message struct {
	Version int       `json:"version"`
	Nonce   string    `json:"nonce"` // of the question
	Point   nhi.ID    `json:"point"`
	Prev    Hash      `json:"prev"` // of the link before it; zero for a snapshot
	Mark    Mark      `json:"mark"` // that the message leads to; its Hash is empty
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"` // when what it says is too old for what is sensitive
	// Behind is by how much the server's own facts were behind when it answered.
	Behind time.Duration `json:"behind"`
	// Lease says that the question was granted one.
	Lease bool `json:"lease,omitempty"`
	// Current says that there is no more to tell at the moment.
	Current bool `json:"current,omitempty"`

	From    nhi.Generation `json:"from,omitempty"` // that changes begin behind
	Changes []nhi.Change   `json:"changes,omitempty"`
	Basis   *Basis         `json:"basis,omitempty"`
	Image   *Image         `json:"image,omitempty"`
}

// Link reports whether the message carries something, and so is part of the
// chain.
func (m *Message) Link() bool { return m.Image != nil || m.Basis != nil || len(m.Changes) > 0 }

const magic = "MFEED001"

const head = len(magic) + ed25519.PublicKeySize + 4

// A Frame is a signed message as bytes, and what it says.
type Frame struct {
	Message Message
	Key     ed25519.PublicKey
	Hash    Hash // of the body
	Bytes   []byte
}

// Sign returns the frame of a message. The error says that the message is too
// large or cannot be written.
func Sign(key ed25519.PrivateKey, m *Message) (*Frame, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write a message of the feed: %w", err)
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("a message of the feed has %d bytes: %w", len(body), nhi.ErrTooLarge)
	}
	public := key.Public().(ed25519.PublicKey)
	b := make([]byte, 0, head+len(body)+ed25519.SignatureSize)
	b = append(b, magic...)
	b = append(b, public...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	b = append(b, ed25519.Sign(key, b)...)
	return &Frame{Message: *m, Key: public, Hash: sha256.Sum256(body), Bytes: b}, nil
}

// Read reads one frame from r, no byte more, and checks its signature. With a
// pinned key it accepts no other. io.EOF means that r was at its end.
func Read(r io.Reader, pinned ed25519.PublicKey) (*Frame, error) {
	b := make([]byte, head)
	if n, err := io.ReadFull(r, b); err != nil {
		if n == 0 && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("read a message of the feed: %w", err)
	}
	if string(b[:len(magic)]) != magic {
		return nil, nhi.Invalidf("what the server sent is no message of the feed")
	}
	public := ed25519.PublicKey(b[len(magic) : len(magic)+ed25519.PublicKeySize])
	if pinned != nil && !pinned.Equal(public) {
		return nil, ErrKey
	}
	size := binary.BigEndian.Uint32(b[head-4:])
	if size > MaxBody {
		return nil, fmt.Errorf("a message of the feed claims %d bytes: %w", size, nhi.ErrTooLarge)
	}
	rest, err := io.ReadAll(io.LimitReader(r, int64(size)+ed25519.SignatureSize)) // grows with what really comes
	if err == nil && len(rest) < int(size)+ed25519.SignatureSize {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read a message of the feed: %w", err)
	}
	b = append(b, rest...)
	signed := b[:head+int(size)]
	if !ed25519.Verify(public, signed, b[len(signed):]) {
		return nil, ErrSignature
	}
	f := &Frame{Key: public, Bytes: b, Hash: sha256.Sum256(signed[head:])}
	if err := json.Unmarshal(signed[head:], &f.Message); err != nil {
		return nil, nhi.Invalidf("a message of the feed: %v", err)
	}
	return f, f.Message.check()
}

// check finds what no server of ours writes.
func (m *Message) check() error {
	switch {
	case m.Version != Version:
		return nhi.Invalidf("a message of the feed has format %d, want %d: point and server must be of the same release or neighbours", m.Version, Version)
	case m.Mark.Hash != (Hash{}):
		return nhi.Invalidf("a message of the feed claims its own hash")
	case m.Behind < 0:
		return nhi.Invalidf("a message of the feed is ahead of its server")
	case m.Image != nil && (m.Image.Size <= 0 || m.Image.Size > MaxImage):
		return nhi.Invalidf("a snapshot of %d bytes: %v", m.Image.Size, nhi.ErrTooLarge)
	case m.Image != nil && (m.Basis == nil || len(m.Changes) > 0):
		return nhi.Invalidf("a snapshot is the image and the basis, and nothing else")
	}
	last := m.From
	for i := range m.Changes {
		if m.Changes[i].Seq <= last || m.Changes[i].Seq > m.Mark.Generation {
			return nhi.Invalidf("the changes of a message are out of order")
		}
		last = m.Changes[i].Seq
	}
	return nil
}

// SumOf reads r to its end and returns its size and its SHA-256.
func SumOf(r io.Reader) (int64, Hash, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return n, Hash(h.Sum(nil)), err
}

// KeyName is how people compare keys: the SHA-256 of one, in hex.
func KeyName(key ed25519.PublicKey) string { return Hash(sha256.Sum256(key)).String() }
