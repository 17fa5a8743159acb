package inventory

import (
	"context"
	"errors"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// GetIdentity returns a row within the transaction of another domain's tables,
// or an error wrapping nhi.ErrNotFound.
func GetIdentity(ctx context.Context, tx *store.Tx, id nhi.ID) (nhi.Identity, error) {
	row, err := Bind(tx).Identity(ctx, id)
	return row.Identity, err
}

// PutIdentity writes a row and its change, such as a quarantine or a new risk,
// in the transaction that also holds the reason for it.
func PutIdentity(ctx context.Context, tx *store.Tx, i nhi.Identity) error {
	row, err := Bind(tx).Identity(ctx, i.ID)
	if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return err
	}
	return Bind(tx).PutIdentity(ctx, inventory.Row{Identity: i, Observed: row.Observed, Missed: row.Missed}, true)
}

// GetCredential returns a row within the transaction of another domain's
// tables, or an error wrapping nhi.ErrNotFound.
func GetCredential(ctx context.Context, tx *store.Tx, id nhi.CredentialID) (nhi.Credential, error) {
	return Bind(tx).Credential(ctx, id)
}

// PutCredential writes a row and its change, such as a new state, in the
// transaction that also holds the reason for it.
func PutCredential(ctx context.Context, tx *store.Tx, c nhi.Credential) error {
	return Bind(tx).PutCredential(ctx, c, true)
}
