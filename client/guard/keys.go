package guard

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	maxToken = 16 << 10
	maxKeys  = 256 << 10 // bytes of a key set

	fresh = 5 * time.Minute  // keys are fetched again after
	stale = time.Hour        // and believed until, when they cannot be
	pause = 10 * time.Second // between two attempts
)

// keys are the public keys of a server's assertions, fetched when they are
// needed.
type keys struct {
	url  string
	http *http.Client

	mu      sync.Mutex // guards the rest
	known   map[string]*ecdsa.PublicKey
	fetched time.Time     // when they came
	tried   time.Time     // when somebody last asked for them
	coming  chan struct{} // closed once the keys that somebody asks for are here or not; nil when nobody asks
}

// header is all that the header of an assertion may hold (RFC 7515, section 4).
// Nothing in it chooses a key or an algorithm that is not known already.
type header struct {
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Typ string `json:"typ"`
}

var strict = base64.RawURLEncoding.Strict()

// verify returns the payload of an assertion that one of the keys signed.
func (k *keys) verify(ctx context.Context, token string) ([]byte, error) {
	first, rest, ok := strings.Cut(token, ".")
	second, third, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return nil, ErrInvalid
	}
	head, err := strict.DecodeString(first)
	if err != nil {
		return nil, ErrInvalid
	}
	var h header
	in := json.NewDecoder(bytes.NewReader(head))
	in.DisallowUnknownFields()
	if in.Decode(&h) != nil || h.Alg != "ES256" || h.Typ != "muster-decision+jwt" || h.Kid == "" {
		return nil, ErrInvalid
	}
	signature, err := strict.DecodeString(third)
	if err != nil || len(signature) != 64 {
		return nil, ErrInvalid
	}
	payload, err := strict.DecodeString(second)
	if err != nil {
		return nil, ErrInvalid
	}
	key, err := k.key(ctx, h.Kid)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte(first + "." + second))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return nil, ErrInvalid
	}
	return payload, nil
}

// key returns a key by its name. An unknown name, and the age of what is known,
// lead to a look at the server, but not more often than every ten seconds. Who
// has a key that is known waits for nobody else's look: made-up names, and a
// server that hangs, must not hold up what was let through.
func (k *keys) key(ctx context.Context, kid string) (*ecdsa.PublicKey, error) {
	found, coming, due := k.look(kid, time.Now())
	switch {
	case due:
		k.renew(ctx, coming)
	case found == nil && coming != nil:
		select {
		case <-coming:
		case <-ctx.Done():
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch found = k.known[kid]; {
	case k.known == nil || time.Since(k.fetched) > stale:
		return nil, ErrKeys
	case found == nil:
		return nil, ErrInvalid
	}
	return found, nil
}

// look returns a key if it is known and still believed, and the look at the
// server that is under way. When that is due the caller has to take it.
func (k *keys) look(kid string, now time.Time) (found *ecdsa.PublicKey, coming chan struct{}, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := now.Sub(k.fetched); age <= stale {
		found = k.known[kid]
	}
	due = k.coming == nil && (found == nil || now.Sub(k.fetched) > fresh) && now.Sub(k.tried) > pause
	if due {
		k.tried, k.coming = now, make(chan struct{})
	}
	return found, k.coming, due
}

// renew takes a look at the server. Without an answer what is known stays.
func (k *keys) renew(ctx context.Context, coming chan struct{}) {
	defer func() { // even if the application's transport panics
		k.mu.Lock()
		defer k.mu.Unlock()
		k.coming = nil
		close(coming)
	}()
	known, err := k.fetch(ctx)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.fetched = known, time.Now()
}

// fetch is not ended by the request that happened to need it.
func (k *keys) fetch(ctx context.Context) (map[string]*ecdsa.PublicKey, error) {
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	res, err := k.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxKeys+1))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK || len(text) > maxKeys {
		return nil, fmt.Errorf("status %d with %d bytes", res.StatusCode, len(text))
	}
	return parseKeys(text)
}

// parseKeys reads a key set (RFC 7517). What is not a key of P-256 for
// signatures is passed over.
func parseKeys(text []byte) (map[string]*ecdsa.PublicKey, error) {
	var set struct {
		Keys []struct {
			Kty, Crv, Kid, Use, Alg, X, Y string
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	out := map[string]*ecdsa.PublicKey{}
	for _, j := range set.Keys {
		x, errX := strict.DecodeString(j.X)
		y, errY := strict.DecodeString(j.Y)
		if j.Kty != "EC" || j.Crv != "P-256" || j.Kid == "" || j.Use != "" && j.Use != "sig" || j.Alg != "" && j.Alg != "ES256" || errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			continue
		}
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, err
		}
		out[j.Kid] = key
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no key of P-256 in the set")
	}
	return out, nil
}
