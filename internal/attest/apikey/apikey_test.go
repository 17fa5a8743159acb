package apikey_test

import (
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/attest"
	"github.com/muster-id/muster/internal/attest/apikey"
	"github.com/muster-id/muster/internal/attest/attesttest"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func store(minted key.Minted, state nhi.CredentialState) nhi.Credential {
	return nhi.Credential{ID: nhi.NewCredentialID("muster", "test", minted.ID), Identity: nhi.IdentityID("muster", "test", minted.ID), Kind: nhi.CredentialAPIKey,
		PublicID: minted.ID, Verifier: minted.Verifier[:], State: state, Created: created}
}

func bearer(secret string) func() nhi.Evidence {
	return func() nhi.Evidence { return nhi.Evidence{Authorization: "Bearer " + secret} }
}

func want(c nhi.Credential) nhi.Attested {
	return nhi.Attested{Identity: c.Identity, Credential: c.ID, KeyID: c.PublicID, Method: "api-key", Assurance: nhi.AssuranceStatic, IssuedAt: c.Created}
}

func TestMethodPassesTheKit(t *testing.T) {
	active, suspended, bare, point := key.Mint(key.API), key.Mint(key.API), key.Mint(key.API), key.Mint(key.Point)
	const foreign = "sk_live_51H8x0aBcDeFgHiJkLmNoPqRs"
	verifier := key.VerifierOf(foreign)
	registered := nhi.Credential{ID: nhi.NewCredentialID("stripe", "test", "1"), Identity: nhi.IdentityID("stripe", "test", "1"), Kind: nhi.CredentialRegistered, PublicID: "sk-1", Verifier: verifier[:], Created: created}
	unverified := store(bare, nhi.CredentialActive)
	unverified.Verifier = nil
	credentials := attesttest.Credentials{store(active, nhi.CredentialActive), store(suspended, nhi.CredentialSuspended), unverified, store(point, nhi.CredentialActive), registered}
	attesttest.Run(t, attesttest.Kit{
		Methods: []*attest.Method{apikey.Method},
		Deps:    attest.Deps{Credentials: credentials},
		Good: []attesttest.Case{
			{Name: "a minted key", Evidence: bearer(active.Reveal()), Want: want(credentials[0])},
			{Name: "a suspended key is still somebody's", Evidence: bearer(suspended.Reveal()), Want: want(credentials[1])},
			{Name: "a registered key", Evidence: bearer(foreign), Want: want(registered)},
		},
		Bad: []attesttest.Case{
			{Name: "a forged key with a known id and a good checksum", Evidence: bearer(forge(active.Reveal()))},
			{Name: "a key nobody has", Evidence: bearer(key.Mint(key.API).Reveal())},
			{Name: "a key whose value was never held", Evidence: bearer(bare.Reveal())},
			{Name: "a point's key", Evidence: bearer(point.Reveal())},
			{Name: "a registered key by its public id", Evidence: bearer("sk-1")},
			{Name: "a key as DPoP", Evidence: func() nhi.Evidence { return nhi.Evidence{Authorization: "DPoP " + active.Reveal()} }},
		},
	})
}

func TestAKeyIsNoAttestation(t *testing.T) {
	minted := key.Mint(key.API)
	v := attest.New(attest.Deps{Credentials: attesttest.Credentials{store(minted, nhi.CredentialActive)}}, apikey.Method)
	got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: "Bearer " + minted.Reveal(), Attestation: minted.Reveal()})
	if err != nil || got.Consumer != "" {
		t.Errorf("consumer %q, %v", got.Consumer, err)
	}
}

// forge returns a well-formed key with the id of another and a secret of its
// own: what anybody can make who has seen the id somewhere.
func forge(secret string) string {
	const idAt = len("muster_key_")
	other := key.Mint(key.API).Reveal()
	body := secret[:idAt+key.IDLength] + other[idAt+key.IDLength:strings.LastIndexByte(other, '_')]
	sum := crc32.ChecksumIEEE([]byte(body))
	digits := make([]byte, 6)
	for i := range digits {
		digits[5-i], sum = key.Alphabet[sum%62], sum/62
	}
	return body + "_" + string(digits)
}

func FuzzVerify(f *testing.F) {
	minted := key.Mint(key.API)
	v := attest.New(attest.Deps{Credentials: attesttest.Credentials{store(minted, nhi.CredentialActive)}}, apikey.Method)
	f.Add("Bearer " + minted.Reveal())
	f.Add("bearer muster_key_")
	f.Fuzz(func(t *testing.T, header string) {
		got, err := v.Verify(t.Context(), nhi.Evidence{Authorization: header})
		if err == nil && (got.Identity == "" || !strings.HasSuffix(header, minted.Reveal())) {
			t.Errorf("%q is %s", header, got.Identity)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	minted := key.Mint(key.API)
	v := attest.New(attest.Deps{Credentials: attesttest.Credentials{store(minted, nhi.CredentialActive)}}, apikey.Method)
	e := nhi.Evidence{Authorization: "Bearer " + minted.Reveal()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
