// Package apikey verifies static keys: those that Muster minted
// ("muster_key_…"), found by their public key id, and those of other makers
// that were registered, found by the SHA-256 of their value.
//
// A static key proves the least there is: whoever holds the text is the
// identity. So its assurance is 0, and it is never more than a lookup: no
// state is judged here, and a failed attempt leaves no trace on the key whose
// id it names. An unknown key id and a wrong secret give one error in one time.
package apikey

import (
	"context"
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// Method verifies static keys sent as "Authorization: Bearer".
var Method = &attest.Method{
	Name:       "api-key",
	Doc:        "static keys: minted by Muster, or registered here",
	Recognises: func(p attest.Presented) bool { return p.Scheme == attest.SchemeBearer },
	Open: func(d attest.Deps) attest.Check {
		credentials := d.Credentials
		return func(_ context.Context, p attest.Presented, _ nhi.Evidence) (nhi.Attested, error) {
			if strings.HasPrefix(p.Value, key.Prefix) {
				return minted(credentials, p.Value)
			}
			return registered(credentials, p.Value)
		}
	},
}

// nobody is compared with when the key id is unknown, so that an unknown id
// takes as long as a wrong secret. Nothing hashes to it that anyone can find.
var nobody = key.VerifierOf("no credential has this value")

// minted verifies a key of ours. Keys of other kinds open other doors.
func minted(credentials attest.Credentials, secret string) (nhi.Attested, error) {
	parsed, err := key.Parse(secret)
	if err != nil || parsed.Kind != key.API {
		return nhi.Attested{}, fmt.Errorf("not a well-formed API key: %w", nhi.ErrDenied)
	}
	credential, known := credentials.CredentialByKeyID(parsed.ID)
	verifier := nobody
	if known && credential.Kind == nhi.CredentialAPIKey && len(credential.Verifier) == len(verifier) {
		verifier = key.Verifier(credential.Verifier)
	}
	if !verifier.Matches(secret) || !known {
		return nhi.Attested{}, fmt.Errorf("key %s is unknown or its secret is wrong: %w", parsed.ID, nhi.ErrDenied)
	}
	return attested(&credential), nil
}

// registered verifies a key of another maker. The lookup is by hash, so its
// time tells nothing about the keys that exist. What is not registered may
// still be the credential of another method.
func registered(credentials attest.Credentials, secret string) (nhi.Attested, error) {
	verifier := key.VerifierOf(secret)
	credential, known := credentials.CredentialByVerifier(verifier)
	if !known || len(credential.Verifier) != len(verifier) || !key.Verifier(credential.Verifier).Matches(secret) {
		return nhi.Attested{}, attest.ErrOther
	}
	return attested(&credential), nil
}

func attested(c *nhi.Credential) nhi.Attested {
	return nhi.Attested{
		Identity:   c.Identity,
		Credential: c.ID,
		KeyID:      c.PublicID,
		Method:     "api-key",
		Assurance:  nhi.AssuranceStatic,
		IssuedAt:   c.Created,
		Expires:    c.Expires,
	}
}
