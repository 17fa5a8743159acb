package jose_test

import (
	"errors"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/jose"
)

func TestAStatementHasABeginningAndNoEnd(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	signer := jose.NewES256Signer(jose.GenerateES256(), "secevent+jwt")
	keys, err := jose.NewKeySet(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	opts := jose.Options{Types: []string{"secevent+jwt"}, Issuer: "https://a.example", Audience: "b", Now: now, Leeway: time.Minute, MaxLife: time.Hour, Statement: true}
	for name, tt := range map[string]struct {
		claims map[string]any
		want   error
	}{
		"fresh":              {map[string]any{"iat": now.Unix()}, nil},
		"as old as allowed":  {map[string]any{"iat": now.Add(-time.Hour).Unix()}, nil},
		"too old":            {map[string]any{"iat": now.Add(-2 * time.Hour).Unix()}, jose.ErrExpired},
		"from the future":    {map[string]any{"iat": now.Add(2 * time.Minute).Unix()}, jose.ErrNotYet},
		"not yet":            {map[string]any{"iat": now.Unix(), "nbf": now.Add(time.Hour).Unix()}, jose.ErrNotYet},
		"without iat":        {map[string]any{}, jose.ErrExpired},
		"an access token":    {map[string]any{"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}, jose.ErrType},
		"for somebody else":  {map[string]any{"iat": now.Unix(), "aud": "c"}, jose.ErrAudience},
		"from somebody else": {map[string]any{"iat": now.Unix(), "iss": "https://c.example"}, jose.ErrIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			claims := map[string]any{"iss": "https://a.example", "aud": "b", "jti": "1"}
			for k, v := range tt.claims {
				claims[k] = v
			}
			token, err := signer.Sign(claims)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jose.Verify(token, keys, opts); !errors.Is(err, tt.want) {
				t.Errorf("Verify: %v, want %v", err, tt.want)
			}
		})
	}
	token, err := signer.Sign(map[string]any{"iss": "https://a.example", "aud": "b", "iat": now.Unix()})
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxLife = 0
	if _, err := jose.Verify(token, keys, jose.Options{Types: opts.Types, Issuer: opts.Issuer, Audience: "b", Now: now.Add(time.Minute), Statement: true}); !errors.Is(err, jose.ErrExpired) {
		t.Errorf("without a bound of its age: %v, want %v", err, jose.ErrExpired)
	}
}
