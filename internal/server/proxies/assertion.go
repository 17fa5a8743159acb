package proxies

import (
	"context"
	"net/http"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/jose"
	storeissuer "github.com/muster-id/muster/internal/store/issuer"

	"github.com/muster-id/muster/internal/store"
)

// keysDocument holds the sealed keys of decision assertions.
const keysDocument = "assertion-keys"

// apart seals for a purpose of its own: a box with other keys, put in the place
// of these, does not open.
type apart struct{ issuer.Sealer }

func (a apart) Seal(purpose string, plain []byte) []byte {
	return a.Sealer.Seal("assertion/"+purpose, plain)
}

func (a apart) Unseal(purpose string, box []byte) ([]byte, error) {
	return a.Sealer.Unseal("assertion/"+purpose, box)
}

// OpenAssertions opens the keys that decisions are asserted with, or makes the
// first ones. They are kept and change as those of access tokens do, and are
// others: who holds one of these can lie to applications behind points, and
// issue nothing. The keys have to be Run. The issuer is the public URL.
func OpenAssertions(ctx context.Context, db *store.DB, sealer issuer.Sealer, url string) (*issuer.Keys, *enforce.Asserter, error) {
	keys, err := issuer.OpenKeys(ctx, storeissuer.NewKeys(db, keysDocument), apart{sealer})
	if err != nil {
		return nil, nil, err
	}
	return keys, &enforce.Asserter{Issuer: url, Signer: func() *jose.Signer { return keys.Signer(enforce.AssertionType) }}, nil
}

// Published serves the public keys of assertions (RFC 7517, section 5).
func Published(keys *issuer.Keys) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(keys.Public()) // the reader may be gone
	}
}
