package jose

import (
	"crypto"
	"encoding/json"
	"fmt"
	"slices"
)

// A KeyFinder finds the key a token names. The caller vouches for every key it
// returns: Verify trusts them for the issuer in its Options.
type KeyFinder interface {
	// Key returns the public key (*ecdsa.PublicKey on P-256 or
	// *rsa.PublicKey) for a kid and an algorithm, and false if there is none.
	// kid is outside text, possibly empty: look it up, do nothing else with it.
	Key(kid, alg string) (crypto.PublicKey, bool)
}

// A KeySet is a JWK Set (RFC 7517, section 5) reduced to the keys that may
// verify ES256 or RS256. It does not change, and is safe for concurrent use.
type KeySet struct {
	keys []Key
	find map[keyName]crypto.PublicKey
}

type keyName struct{ kid, alg string }

// NewKeySet returns a set of keys, in that order. The error is ErrKey: too many
// keys, a weak one, or two that nobody can tell apart.
func NewKeySet(keys ...Key) (*KeySet, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("key set: %w: %d keys, want at most %d", ErrKey, len(keys), MaxKeys)
	}
	s := &KeySet{keys: slices.Clone(keys), find: make(map[keyName]crypto.PublicKey, len(keys))}
	for i, key := range keys {
		alg, err := algorithm(key.Public)
		if err != nil {
			return nil, fmt.Errorf("key set: key %d: %w", i, err)
		}
		if key.Alg != alg {
			return nil, fmt.Errorf("key set: key %d: %w: algorithm and key do not belong together", i, ErrKey)
		}
		name := keyName{key.ID, alg}
		if _, twin := s.find[name]; twin {
			return nil, fmt.Errorf("key set: key %d: %w: kid appears twice", i, ErrKey)
		}
		s.find[name] = key.Public
	}
	s.nameless()
	return s, nil
}

// nameless lets a token without a kid use the only key of its algorithm. With
// several, guessing would be trying: the token must name its key.
func (s *KeySet) nameless() {
	for _, alg := range []string{ES256, RS256} {
		var only crypto.PublicKey
		count := 0
		for _, key := range s.keys {
			if key.Alg == alg {
				only, count = key.Public, count+1
			}
		}
		delete(s.find, keyName{"", alg})
		if count == 1 {
			s.find[keyName{"", alg}] = only
		}
	}
}

// ParseJWKS reads a published key set of at most MaxJWKS bytes and MaxKeys keys.
//
// Keys of other types, curves, algorithms, uses or operations are left out, as
// RFC 7517, section 5, asks. A key that is ours to use and unsound (weak RSA,
// a point off the curve, its private half included, a repeated kid) makes the
// whole set fail, with ErrKey: who published it has a problem worth hearing of.
func ParseJWKS(data []byte) (*KeySet, error) {
	if len(data) > MaxJWKS {
		return nil, fmt.Errorf("key set: %w: over %d bytes", ErrKey, MaxJWKS)
	}
	set, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("key set: %w: %w", ErrKey, err)
	}
	raw, ok := set.get("keys")
	if !ok || raw[0] != '[' {
		return nil, fmt.Errorf("key set: %w: no list of keys", ErrKey)
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) > MaxKeys {
		return nil, fmt.Errorf("key set: %w: more than %d keys", ErrKey, MaxKeys)
	}
	var keys []Key
	for i, item := range list {
		jwk, err := parseObject(item)
		if err != nil {
			return nil, fmt.Errorf("key set: key %d: %w: %w", i, ErrKey, err)
		}
		key, usable, err := parseJWK(jwk)
		if err != nil {
			return nil, fmt.Errorf("key set: key %d: %w", i, err)
		}
		if usable {
			keys = append(keys, key)
		}
	}
	return NewKeySet(keys...)
}

// Key implements KeyFinder. An empty kid finds the only key of an algorithm.
func (s *KeySet) Key(kid, alg string) (crypto.PublicKey, bool) {
	if s == nil {
		return nil, false
	}
	pub, ok := s.find[keyName{kid, alg}]
	return pub, ok
}

// Keys returns the keys in the order of the set.
func (s *KeySet) Keys() []Key { return slices.Clone(s.keys) }

// Len returns how many keys can be used.
func (s *KeySet) Len() int { return len(s.keys) }

// Marshal returns the set as JSON for publishing. An empty set is refused:
// consumers read it as "every key is revoked", which nobody should say by
// accident. The error is ErrKey.
func (s *KeySet) Marshal() ([]byte, error) {
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("publish key set: %w: it is empty", ErrKey)
	}
	set := struct {
		Keys []jwkText `json:"keys"`
	}{}
	for _, key := range s.keys {
		jwk, err := newJWKText(key.Public)
		if err != nil {
			return nil, fmt.Errorf("publish key set: %w", err)
		}
		jwk.Kid, jwk.Alg, jwk.Use = key.ID, key.Alg, key.Use
		set.Keys = append(set.Keys, jwk)
	}
	return mustJSON(set), nil
}
