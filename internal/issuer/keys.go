package issuer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// KeyStore keeps the sealed signing keys.
type KeyStore interface {
	// LoadKeys returns what SaveKeys was given last, or an error wrapping
	// nhi.ErrNotFound.
	LoadKeys(ctx context.Context) ([]byte, error)
	// SaveKeys returns when the keys are durable.
	SaveKeys(ctx context.Context, sealed []byte) error
}

// Sealer encrypts for a purpose, as package seal does.
type Sealer interface {
	Seal(purpose string, plaintext []byte) []byte
	Unseal(purpose string, box []byte) ([]byte, error)
}

const (
	keysPurpose = "issuer/keys"
	keysFormat  = 1

	// RotateEvery is how long a key signs. The next one is public for as long
	// before, so that no verifier meets a key it could not have fetched.
	RotateEvery = 24 * time.Hour

	// keysMaxAge is how long verifiers may keep the published keys.
	keysMaxAge = 5 * time.Minute
)

// Keys are the signing keys: previous, current, next. They verify their own
// tokens (jose.KeyFinder). Safe for concurrent use; prints no key.
type Keys struct {
	store  KeyStore
	sealer Sealer

	rotate sync.Mutex // held while keys change, around the store
	state  atomic.Pointer[keyState]
}

// A keyState is immutable.
type keyState struct {
	keys    []signingKey // next, current, previous if there is one
	set     *jose.KeySet
	public  []byte   // the set as JSON
	signers sync.Map // typ -> *jose.Signer of the current key
}

type signingKey struct {
	private *ecdsa.PrivateKey
	since   time.Time // when it began, or is to begin, to sign
}

// stored is the plaintext of the sealed keys.
type stored struct {
	Format int         `json:"format"`
	Keys   []storedKey `json:"keys"`
}

type storedKey struct {
	PKCS8 []byte    `json:"pkcs8"`
	Since time.Time `json:"since"`
}

// OpenKeys loads the keys, or makes the first ones when there are none.
func OpenKeys(ctx context.Context, store KeyStore, sealer Sealer) (*Keys, error) {
	k := &Keys{store: store, sealer: sealer}
	box, err := store.LoadKeys(ctx)
	if errors.Is(err, nhi.ErrNotFound) {
		now := time.Now()
		first := []signingKey{{jose.GenerateES256(), now.Add(RotateEvery)}, {jose.GenerateES256(), now}}
		return k, k.save(ctx, first)
	}
	if err != nil {
		return nil, fmt.Errorf("load signing keys: %w", err)
	}
	plain, err := sealer.Unseal(keysPurpose, box)
	if err != nil {
		return nil, fmt.Errorf("load signing keys: %w", err)
	}
	defer clear(plain)
	var s stored
	if err := json.Unmarshal(plain, &s); err != nil {
		return nil, errors.New("load signing keys: not what this program wrote")
	}
	if s.Format != keysFormat || len(s.Keys) < 2 || len(s.Keys) > 3 {
		return nil, fmt.Errorf("load signing keys: format %d with %d keys: %w", s.Format, len(s.Keys), nhi.ErrInvalid)
	}
	keys := make([]signingKey, len(s.Keys))
	for i, sk := range s.Keys {
		if keys[i].private, err = jose.ParseES256Private(sk.PKCS8); err != nil {
			return nil, fmt.Errorf("load signing keys: %w", err)
		}
		keys[i].since = sk.Since
	}
	state, err := newKeyState(keys)
	if err != nil {
		return nil, err
	}
	k.state.Store(state)
	return k, nil
}

func newKeyState(keys []signingKey) (*keyState, error) {
	s := &keyState{keys: keys}
	public := make([]jose.Key, 0, len(keys))
	for _, key := range keys {
		p, err := jose.NewKey(&key.private.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("signing keys: %w", err)
		}
		public = append(public, p)
	}
	var err error
	if s.set, err = jose.NewKeySet(public...); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if s.public, err = s.set.Marshal(); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	return s, nil
}

// save makes keys durable, and only then uses them.
func (k *Keys) save(ctx context.Context, keys []signingKey) error {
	state, err := newKeyState(keys)
	if err != nil {
		return err
	}
	s := stored{Format: keysFormat}
	for _, key := range keys {
		der, err := jose.MarshalES256Private(key.private)
		if err != nil {
			return fmt.Errorf("save signing keys: %w", err)
		}
		s.Keys = append(s.Keys, storedKey{der, key.since.UTC()})
	}
	plain, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save signing keys: %w", err)
	}
	defer clear(plain)
	if err := k.store.SaveKeys(ctx, k.sealer.Seal(keysPurpose, plain)); err != nil {
		return fmt.Errorf("save signing keys: %w", err)
	}
	k.state.Store(state)
	return nil
}

// Rotate lets the next key sign and makes a new next one. With taint, the
// current and previous keys are withdrawn at once: every token they signed is
// refused as soon as verifiers fetch the keys again (our own points: now).
func (k *Keys) Rotate(ctx context.Context, taint bool) error {
	k.rotate.Lock()
	defer k.rotate.Unlock()
	old := k.state.Load()
	now := time.Now()
	next, current := old.keys[0], old.keys[1]
	next.since = now
	keys := []signingKey{{jose.GenerateES256(), now.Add(RotateEvery)}, next, current}
	if taint {
		keys = keys[:2]
	}
	return k.save(ctx, keys)
}

// Run rotates the keys when they are due, until ctx ends. A rotation that
// fails is tried again every minute; the keys at hand stay good meanwhile.
func (k *Keys) Run(ctx context.Context) error {
	for {
		timer := time.NewTimer(max(0, time.Until(k.Due())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if err := k.Rotate(ctx, false); err != nil {
			retry := time.NewTimer(time.Minute)
			select {
			case <-ctx.Done():
				retry.Stop()
				return ctx.Err()
			case <-retry.C:
			}
		}
	}
}

// Due returns when the current key should stop signing.
func (k *Keys) Due() time.Time { return k.state.Load().keys[1].since.Add(RotateEvery) }

// Signer returns the signer of the current key for tokens of a type.
func (k *Keys) Signer(typ string) *jose.Signer {
	s := k.state.Load()
	if signer, ok := s.signers.Load(typ); ok {
		return signer.(*jose.Signer)
	}
	signer, _ := s.signers.LoadOrStore(typ, jose.NewES256Signer(s.keys[1].private, typ))
	return signer.(*jose.Signer)
}

// Key implements jose.KeyFinder over the published keys.
func (k *Keys) Key(kid, alg string) (crypto.PublicKey, bool) { return k.state.Load().set.Key(kid, alg) }

// Public returns the published key set as JSON. Do not change it.
func (k *Keys) Public() []byte { return k.state.Load().public }

// String names the key that signs.
func (k *Keys) String() string { return "issuer keys, signing with " + k.Signer("").KID() }

// GoString is String.
func (k *Keys) GoString() string { return k.String() }
