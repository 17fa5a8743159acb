// Package vault keeps private keys in the store, sealed: what lies in the
// database is of no use without the key file in the data folder.
package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/store"
)

// A Vault keeps secrets of the installation itself. It is safe for concurrent
// use.
type Vault struct {
	db   *store.DB
	keys *seal.Keys
}

// New returns the vault in db under keys.
func New(db *store.DB, keys *seal.Keys) *Vault { return &Vault{db: db, keys: keys} }

func sealedName(name string) string { return "sealed/" + name }

// InUse reports whether db holds anything that was kept here, and so needs the
// keys that it was kept under.
func InUse(ctx context.Context, db *store.DB) (bool, error) {
	err := db.Read(ctx, func(tx *store.Tx) error {
		_, err := tx.Document(ctx, sealedName(first))
		return err
	})
	if errors.Is(err, nhi.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// first is what every installation keeps before anything else.
const first = "audit"

// Load returns what was kept under name, or an error wrapping nhi.ErrNotFound.
func (v *Vault) Load(ctx context.Context, name string) ([]byte, error) {
	var box []byte
	err := v.db.Read(ctx, func(tx *store.Tx) error {
		d, err := tx.Document(ctx, sealedName(name))
		box = d.Body
		return err
	})
	if err != nil {
		return nil, err
	}
	plain, err := v.keys.Unseal(name, box)
	if err != nil {
		return nil, fmt.Errorf("unseal %s: %w", name, err)
	}
	return plain, nil
}

// Save keeps plain under name.
func (v *Vault) Save(ctx context.Context, name string, plain []byte) error {
	box := v.keys.Seal(name, plain)
	_, err := v.db.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.PutDocument(ctx, sealedName(name), box)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

// Random returns the n random bytes kept under name, making them the first time.
func (v *Vault) Random(ctx context.Context, name string, n int) ([]byte, error) {
	b, err := v.Load(ctx, name)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		b = make([]byte, n)
		_, _ = rand.Read(b) // never fails
		return b, v.Save(ctx, name, b)
	case err == nil && len(b) != n:
		err = fmt.Errorf("%s has %d bytes, want %d", name, len(b), n)
	}
	return b, err
}

// Signer returns the P-256 key kept under name, making it the first time.
func (v *Vault) Signer(ctx context.Context, name string) (*ecdsa.PrivateKey, error) {
	der, err := v.Load(ctx, name)
	if err == nil {
		return jose.ParseES256Private(der)
	}
	if !errors.Is(err, nhi.ErrNotFound) {
		return nil, err
	}
	key := jose.GenerateES256()
	if der, err = jose.MarshalES256Private(key); err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return key, v.Save(ctx, name, der)
}
