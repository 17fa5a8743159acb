package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

func TestAKeyInTheWrongPlaceDoesNotComeBackInAnError(t *testing.T) {
	secret := key.Mint(key.API).Reveal()
	for _, err := range []error{
		fmt.Errorf("identity %s: %w", secret, nhi.ErrNotFound),
		nhi.Invalidf("address or prefix %q", secret),
		fmt.Errorf("log format %q: %w", secret, nhi.ErrNotFound),
	} {
		p := problem(err, http.StatusForbidden)
		if strings.Contains(p.Detail, secret) || p.Detail == "" {
			t.Errorf("the caller is answered %q", p.Detail)
		}
	}
}
