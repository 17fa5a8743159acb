// Package attesttest is the conformance kit for attestation methods. A method
// that passes it proves only what it can prove, refuses everything else in the
// one way that callers rely on, and never lets a secret out in an error.
package attesttest

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// A Kit is a method and what to try it with.
type Kit struct {
	Methods []*attest.Method // the one under test first
	Deps    attest.Deps
	Good    []Case
	Bad     []Case // Want is not used
}

// A Case is one evidence. It is made anew for each attempt, because a proof
// works once.
type Case struct {
	Name     string
	Evidence func() nhi.Evidence
	Want     nhi.Attested
}

// Run runs the kit.
func Run(t *testing.T, kit Kit) {
	v := attest.New(kit.Deps, kit.Methods...)
	for _, c := range kit.Good {
		t.Run(c.Name, func(t *testing.T) {
			got, err := v.Verify(t.Context(), c.Evidence())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Want, got); diff != "" {
				t.Errorf("attested (-want +got):\n%s", diff)
			}
		})
		t.Run(c.Name+", damaged", func(t *testing.T) { damage(t, v, c) })
		t.Run(c.Name+", by many at once", func(t *testing.T) { crowd(t, v, c) })
	}
	for _, c := range kit.Bad {
		t.Run(c.Name, func(t *testing.T) { Denied(t, v, c.Evidence()) })
	}
	for _, header := range []string{"", " ", "Bearer", "Bearer ", "Bearer  x", "Basic dTpw", "Bearer a,Bearer b", "Bearer \x00", "Bearer ..", "DPoP ..",
		"Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer " + strings.Repeat("a", attest.MaxCredential+1), "Bearer " + key.Mint(key.API).Reveal(), "Bearer " + key.Mint(key.Point).Reveal()} {
		Denied(t, v, nhi.Evidence{Authorization: header})
	}
}

// Denied checks that evidence proves nothing, says so by nhi.ErrDenied, and
// that the error holds no secret of it.
func Denied(t *testing.T, v *attest.Verifier, e nhi.Evidence) {
	t.Helper()
	got, err := v.Verify(t.Context(), e)
	if !errors.Is(err, nhi.ErrDenied) || got.Identity != "" || got.Credential != "" {
		t.Errorf("Verify(%.40q) = %q, %v, want denied", e.Authorization, got.Identity, err)
		return
	}
	for _, secret := range []string{e.Authorization, credential(e), e.Proof, e.Attestation} {
		if len(secret) > 16 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

// damage tries the good credential cut at every length and changed at some
// places: none may pass.
func damage(t *testing.T, v *attest.Verifier, c Case) {
	e := c.Evidence()
	scheme, value, _ := strings.Cut(e.Authorization, " ")
	for n := 1; n < len(value); n += 1 + len(value)/64 {
		cut := c.Evidence()
		cut.Authorization = scheme + " " + value[:n]
		Denied(t, v, cut)
		changed := c.Evidence()
		flipped := byte('A')
		if value[n] == flipped {
			flipped = 'B'
		}
		changed.Authorization = scheme + " " + value[:n] + string(flipped) + value[n+1:]
		Denied(t, v, changed)
	}
	longer := c.Evidence()
	longer.Authorization += "A"
	Denied(t, v, longer)
}

// crowd verifies from several goroutines, for the race detector.
func crowd(t *testing.T, v *attest.Verifier, c Case) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := v.Verify(t.Context(), c.Evidence()); err != nil || got.Identity != c.Want.Identity {
				t.Errorf("Verify = %q, %v", got.Identity, err)
			}
		})
	}
	wg.Wait()
}

func credential(e nhi.Evidence) string {
	_, value, _ := strings.Cut(e.Authorization, " ")
	return value
}

// Credentials is an attest.Credentials over a slice.
type Credentials []nhi.Credential

// CredentialByKeyID looks a credential up by its public id.
func (cs Credentials) CredentialByKeyID(id string) (nhi.Credential, bool) {
	for _, c := range cs {
		if c.PublicID == id {
			return c, true
		}
	}
	return nhi.Credential{}, false
}

// CredentialByVerifier looks a credential up by its verifier.
func (cs Credentials) CredentialByVerifier(verifier [32]byte) (nhi.Credential, bool) {
	for _, c := range cs {
		if string(c.Verifier) == string(verifier[:]) {
			return c, true
		}
	}
	return nhi.Credential{}, false
}
