package authzen

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

const (
	tokenLife = 10 * time.Minute // of a search, from its first page
	maxToken  = 2048             // bytes of text
)

var errToken = errors.New("page.token is not one of this search, or too old: begin the search again")

// A pager makes page tokens. A token is sealed: it says how far a search has
// come, so it may hold what its reader was not shown, and it continues only the
// search, of the point, that it was made for.
type pager struct{ sealed cipher.AEAD }

// newPager returns a pager that uses a key of 32 bytes; another length means a
// key that dies with the process.
func newPager(key []byte) *pager {
	if len(key) != 32 {
		key = make([]byte, 32)
		rand.Read(key) // never fails
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("authzen: " + err.Error()) // the length is right
	}
	sealed, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("authzen: " + err.Error())
	}
	return &pager{sealed}
}

// A bookmark is how far a search has come.
type bookmark struct {
	ends  time.Time // when the search must be begun again
	after string    // the last candidate that was looked at
}

// token seals a bookmark of the search that binding names.
func (p *pager) token(m bookmark, binding []byte) string {
	text := binary.BigEndian.AppendUint64(nil, uint64(m.ends.Unix()))
	return base64.RawURLEncoding.EncodeToString(p.sealed.Seal(nil, nil, append(text, m.after...), binding))
}

// open returns the bookmark of a token.
func (p *pager) open(token string, binding []byte, now time.Time) (bookmark, error) {
	if len(token) > maxToken {
		return bookmark{}, errToken
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return bookmark{}, errToken
	}
	text, err := p.sealed.Open(nil, nil, sealed, binding)
	if err != nil || len(text) < 8 {
		return bookmark{}, errToken
	}
	m := bookmark{ends: time.Unix(int64(binary.BigEndian.Uint64(text)), 0), after: string(text[8:])}
	if !now.Before(m.ends) {
		return bookmark{}, errToken
	}
	return m, nil
}

// bind returns what binds a token to a search: the digest of its parts, each
// preceded by its length.
func bind(parts ...string) []byte {
	h := sha256.New()
	var n [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}
