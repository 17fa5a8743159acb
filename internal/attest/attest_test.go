package attest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/apikey"
	"github.com/muster-id/muster/internal/attest/attesttest"
	"github.com/muster-id/muster/internal/attest/token"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

const issuer = "https://muster.example"

// Two methods recognise a bearer that looks like a JWT. Whichever is asked
// first, each credential finds its own.
func TestEveryCredentialFindsItsMethodInAnyOrder(t *testing.T) {
	signer := jose.NewES256Signer(jose.GenerateES256(), token.Type)
	keys, err := jose.NewKeySet(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	robot := nhi.IdentityID("muster", "test", "robot")
	now := time.Now()
	sign := func(iss string) string {
		s, err := signer.Sign(map[string]any{
			"iss": iss, "sub": "spiffe://muster.example/nhi/" + string(robot), "aud": issuer, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "jti": "j",
			"nhi": map[string]any{"id": robot, "bearer": true},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	foreign := sign("https://elsewhere.example") // a static JWT of another maker, registered here
	verifier := key.VerifierOf(foreign)
	minted := key.Mint(key.API)
	deps := attest.Deps{Issuer: issuer, Keys: keys, Credentials: attesttest.Credentials{
		{ID: "crd_foreign", Identity: "foreign", Kind: nhi.CredentialRegistered, PublicID: "f", Verifier: verifier[:]},
		{ID: "crd_own", Identity: "own", Kind: nhi.CredentialAPIKey, PublicID: minted.ID, Verifier: minted.Verifier[:]},
	}}
	for _, methods := range [][]*attest.Method{{apikey.Method, token.Method}, {token.Method, apikey.Method}} {
		v := attest.New(deps, methods...)
		for secret, want := range map[string]nhi.ID{sign(issuer): robot, foreign: "foreign", minted.Reveal(): "own"} {
			got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: "Bearer " + secret})
			if err != nil || got.Identity != want {
				t.Errorf("Verify = %s, %v, want %s", got.Identity, err, want)
			}
		}
		attesttest.Denied(t, v, nhi.Evidence{Authorization: "Bearer " + sign("https://third.example")})
	}
}

func TestNoMethodMeansNobody(t *testing.T) {
	v := attest.New(attest.Deps{})
	for _, header := range []string{"", "Bearer x", "DPoP x", "Bearer " + strings.Repeat("x", attest.MaxCredential+1)} {
		attesttest.Denied(t, v, nhi.Evidence{Authorization: header})
	}
}

func ExampleVerifier() {
	minted := key.Mint(key.API)
	stored := nhi.Credential{
		Identity: nhi.IdentityID("muster", "example", "backup"), Kind: nhi.CredentialAPIKey,
		PublicID: minted.ID, Verifier: minted.Verifier[:], State: nhi.CredentialSuspended,
	}
	v := attest.New(attest.Deps{Credentials: attesttest.Credentials{stored}}, apikey.Method)

	who, err := v.Verify(context.Background(), nhi.Evidence{Authorization: "Bearer " + minted.Reveal()})
	fmt.Println(who.Identity == stored.Identity, who.Assurance, err) // whether it may act, a decision says

	_, err = v.Verify(context.Background(), nhi.Evidence{Authorization: "Bearer " + key.Mint(key.API).Reveal()})
	fmt.Println(errors.Is(err, nhi.ErrDenied))
	// Output:
	// true 0 <nil>
	// true
}
