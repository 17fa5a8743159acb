package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	testNow  = time.Unix(1_800_000_000, 0).UTC()
	testOpts = Options{Issuer: "https://issuer.example", Audience: "api", Now: testNow}
)

const goodClaims = `{"iss":"https://issuer.example","sub":"build-7","aud":"api","exp":1800000060,"nbf":1799999970,"iat":1800000000,"jti":"j1"}`

// issuer is an honest issuer with one key, and what forgers know of it.
type issuer struct {
	key  *ecdsa.PrivateKey
	keys *KeySet
	kid  string
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	key := GenerateES256()
	public, err := NewKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeySet(public)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{key, keys, public.ID}
}

func (i issuer) header() string { return `{"alg":"ES256","kid":"` + i.kid + `","typ":"JWT"}` }

// sign makes a token of any header and payload, well formed or not.
func sign(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	token, err := compact(key, encodeSegment([]byte(header))+".", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// signText signs two segments as they stand.
func signText(t testing.TB, key *ecdsa.PrivateKey, signed string) string {
	t.Helper()
	digest := sha256.Sum256([]byte(signed))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	var signature [64]byte
	if err := decodeDER(&signature, der); err != nil {
		t.Fatal(err)
	}
	return signed + "." + encodeSegment(signature[:])
}

// resign replaces the signature of a token.
func resign(token string, signature []byte) string {
	return token[:strings.LastIndex(token, ".")+1] + encodeSegment(signature)
}

func signatureOf(t testing.TB, token string) []byte {
	t.Helper()
	b, err := decode64(token[strings.LastIndex(token, ".")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnHonestTokenVerifies(t *testing.T) {
	i := newIssuer(t)
	got, err := Verify(sign(t, i.key, i.header(), goodClaims), i.keys, testOpts)
	if err != nil {
		t.Fatal(err)
	}
	want := Verified{
		Header: Header{Alg: ES256, Kid: i.kid, Typ: "JWT"},
		Claims: Claims{
			Issuer: "https://issuer.example", Subject: "build-7", Audience: []string{"api"}, ID: "j1",
			Expires: testNow.Add(time.Minute), NotBefore: testNow.Add(-30 * time.Second), IssuedAt: testNow,
			Raw: []byte(goodClaims),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Verify (-want +got):\n%s", diff)
	}
}

// Each row is an attack, most of them published against some library.
func TestForgedTokensAreRefused(t *testing.T) {
	i := newIssuer(t)
	attacker := GenerateES256()
	attackerJWK, err := newJWKText(&attacker.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, i.key, i.header(), goodClaims)
	parts := strings.Split(good, ".")
	signature := signatureOf(t, good)
	zero, order := make([]byte, 32), elliptic.P256().Params().N.Bytes()
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	der, err := ecdsa.SignASN1(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	withHeader := func(members string) string {
		return sign(t, i.key, `{"alg":"ES256","kid":"`+i.kid+`",`+members+`}`, goodClaims)
	}
	for _, tt := range []struct {
		name  string
		token string
		want  error
	}{
		{"alg none, signature left out", encodeSegment([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", ErrAlgorithm},
		{"alg None in another case", encodeSegment([]byte(`{"alg":"nOnE"}`)) + "." + parts[1] + ".", ErrAlgorithm},
		{"alg none, signature kept", encodeSegment([]byte(`{"alg":"none","kid":"`+i.kid+`"}`)) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		{"alg empty", sign(t, i.key, `{"alg":"","kid":"`+i.kid+`"}`, goodClaims), ErrMalformed},
		{"alg missing", sign(t, i.key, `{"kid":"`+i.kid+`"}`, goodClaims), ErrMalformed},
		{"alg a number", sign(t, i.key, `{"alg":256,"kid":"`+i.kid+`"}`, goodClaims), ErrMalformed},
		{"alg in lower case", sign(t, i.key, `{"alg":"es256","kid":"`+i.kid+`"}`, goodClaims), ErrAlgorithm},
		{"ES256K for ES256", sign(t, i.key, `{"alg":"ES256K","kid":"`+i.kid+`"}`, goodClaims), ErrAlgorithm},
		{"RS256 with a kid of an EC key", sign(t, i.key, `{"alg":"RS256","kid":"`+i.kid+`"}`, goodClaims), ErrUnknownKey},
		{"HS256 keyed with the public key", hs256(t, i), ErrAlgorithm},
		{"signed by another key under the right kid", sign(t, attacker, i.header(), goodClaims), ErrSignature},
		{"kid of nobody", sign(t, attacker, `{"alg":"ES256","kid":"x"}`, goodClaims), ErrUnknownKey},
		{"kid as a path", sign(t, attacker, `{"alg":"ES256","kid":"../../../../dev/null"}`, goodClaims), ErrUnknownKey},
		{"kid as SQL", sign(t, attacker, `{"alg":"ES256","kid":"x' UNION SELECT 'a';--"}`, goodClaims), ErrUnknownKey},
		{"kid as a URL", sign(t, attacker, `{"alg":"ES256","kid":"https://attacker.example/jwks"}`, goodClaims), ErrUnknownKey},
		{"kid a list", sign(t, i.key, `{"alg":"ES256","kid":["`+i.kid+`"]}`, goodClaims), ErrMalformed},
		{"kid null", sign(t, i.key, `{"alg":"ES256","kid":null}`, goodClaims), ErrMalformed},
		{"kid of 1 KB", sign(t, i.key, `{"alg":"ES256","kid":"`+strings.Repeat("k", 1024)+`"}`, goodClaims), ErrMalformed},
		{"jwk of the attacker", sign(t, attacker, `{"alg":"ES256","jwk":`+string(mustJSON(attackerJWK))+`}`, goodClaims), ErrMalformed},
		{"jku of the attacker", withHeader(`"jku":"https://attacker.example/jwks"`), ErrMalformed},
		{"x5u of the attacker", withHeader(`"x5u":"https://attacker.example/cert"`), ErrMalformed},
		{"crit of an unknown extension", withHeader(`"crit":["exp"],"exp":1`), ErrMalformed},
		{"crit empty", withHeader(`"crit":[]`), ErrMalformed},
		{"b64 false", withHeader(`"b64":false,"crit":["b64"]`), ErrMalformed},
		{"b64 false without crit", withHeader(`"b64":false`), ErrMalformed},
		{"zip bomb", withHeader(`"zip":"DEF"`), ErrMalformed},
		{"enc, a JWE's header", withHeader(`"enc":"A256GCM"`), ErrMalformed},
		{"nested token", withHeader(`"cty":"JWT"`), ErrMalformed},
		{"nested token, long form", withHeader(`"cty":"application/jwt"`), ErrMalformed},
		{"alg twice", sign(t, i.key, `{"alg":"none","kid":"`+i.kid+`","alg":"ES256"}`, goodClaims), ErrMalformed},
		{"alg twice, one escaped", sign(t, i.key, `{"\u0061lg":"none","kid":"`+i.kid+`","alg":"ES256"}`, goodClaims), ErrMalformed},
		{"alg in another case beside it", sign(t, attacker, `{"ALG":"ES256","alg":"none","kid":"`+i.kid+`"}`, goodClaims), ErrAlgorithm},
		{"a claim twice", sign(t, i.key, i.header(), strings.Replace(goodClaims, `"aud":"api"`, `"aud":"api","aud":"other"`, 1)), ErrMalformed},
		{"a claim twice, deep inside", sign(t, i.key, i.header(), strings.Replace(goodClaims, `{`, `{"x":[{"y":{"z":1,"z":2}}],`, 1)), ErrMalformed},
		{"half a surrogate pair", sign(t, i.key, i.header(), strings.Replace(goodClaims, "build-7", `build-\ud800`, 1)), ErrMalformed},
		{"invalid UTF-8", sign(t, i.key, i.header(), strings.Replace(goodClaims, "build-7", "build-\xff", 1)), ErrMalformed},
		{"a control character in sub", sign(t, i.key, i.header(), strings.Replace(goodClaims, "build-7", `a\u0000b`, 1)), ErrMalformed},
		{"claims a list", sign(t, i.key, i.header(), `[`+goodClaims+`]`), ErrMalformed},
		{"claims and more", sign(t, i.key, i.header(), goodClaims+goodClaims), ErrMalformed},
		{"claims empty", sign(t, i.key, i.header(), ``), ErrMalformed},
		{"claims nested too deep", sign(t, i.key, i.header(), `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`), ErrMalformed},
		{"header padded", parts[0] + "=." + parts[1] + "." + parts[2], ErrMalformed},
		{"claims padded on the way", parts[0] + "." + parts[1] + "=." + parts[2], ErrSignature},
		{"claims padded by the signer", signText(t, i.key, parts[0]+"."+parts[1]+"="), ErrMalformed},
		{"claims with a line break by the signer", signText(t, i.key, parts[0]+"."+parts[1]+"\n"), ErrMalformed},
		{"signature padded", good + "==", ErrMalformed},
		{"unused bits in the signature", good[:len(good)-1] + flipUnusedBit(good[len(good)-1]), ErrMalformed},
		{"a line break in the signature", good[:len(good)-4] + "\n" + good[len(good)-4:], ErrMalformed},
		{"a line break at the end", good + "\n", ErrMalformed},
		{"a space in front", " " + good, ErrMalformed},
		{"base64 of the other alphabet", strings.NewReplacer("-", "+", "_", "/").Replace(good + "_"), ErrMalformed},
		{"JWE, five segments", good + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"four segments", good + ".", ErrMalformed},
		{"two segments", parts[0] + "." + parts[1], ErrMalformed},
		{"JSON serialisation", `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, ErrMalformed},
		{"nothing", "", ErrMalformed},
		{"dots", "..", ErrMalformed},
		{"a token of 17 KB", parts[0] + "." + strings.Repeat("A", 17<<10) + "." + parts[2], ErrMalformed},
		{"signature missing", parts[0] + "." + parts[1] + ".", ErrSignature},
		{"signature altered", resign(good, flip(signature, 5)), ErrSignature},
		{"claims altered", parts[0] + "." + encodeSegment([]byte(strings.Replace(goodClaims, "build-7", "build-8", 1))) + "." + parts[2], ErrSignature},
		{"header altered", encodeSegment([]byte(strings.Replace(i.header(), "JWT", "JOSE", 1))) + "." + parts[1] + "." + parts[2], ErrSignature},
		{"signature in DER", resign(good, der), ErrSignature},
		{"signature cut", resign(good, signature[:63]), ErrSignature},
		{"signature with a byte more", resign(good, append(signature[:64:64], 0)), ErrSignature},
		{"psychic signature, r and s zero", resign(good, append(zero, zero...)), ErrSignature},
		{"r zero", resign(good, append(zero[:32:32], signature[32:]...)), ErrSignature},
		{"s zero", resign(good, append(signature[:32:32], zero...)), ErrSignature},
		{"r the order of the curve", resign(good, append(order[:32:32], signature[32:]...)), ErrSignature},
		{"s the order of the curve", resign(good, append(signature[:32:32], order...)), ErrSignature},
		{"r and s all ones", resign(good, []byte(strings.Repeat("\xff", 64))), ErrSignature},
		{"r and s in 33 bytes each", resign(good, append(r.FillBytes(make([]byte, 33)), s.FillBytes(make([]byte, 33))...)), ErrSignature},
		{"r and s exchanged", resign(good, append(signature[32:64:64], signature[:32]...)), ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Verify(tt.token, i.keys, testOpts)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Verify = %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(Verified{}, got); diff != "" {
				t.Errorf("a refused token still returned:\n%s", diff)
			}
		})
	}
}

// hs256 signs with the issuer's public key as an HMAC secret, in the form a
// library would most likely hold it.
func hs256(t *testing.T, i issuer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	signed := encodeSegment([]byte(`{"alg":"HS256","kid":"`+i.kid+`"}`)) + "." + encodeSegment([]byte(goodClaims))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(signed))
	return signed + "." + encodeSegment(mac.Sum(nil))
}

func flip(b []byte, at int) []byte {
	out := append([]byte(nil), b...)
	out[at] ^= 1
	return out
}

// flipUnusedBit changes the last digit of 64 encoded bytes in a bit that
// decodes to nothing.
func flipUnusedBit(digit byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, digit)^1])
}

func TestClaimsThatDoNotFitAreRefused(t *testing.T) {
	i := newIssuer(t)
	replace := func(old, new string) string {
		t.Helper()
		out := strings.Replace(goodClaims, old, new, 1)
		if out == goodClaims {
			t.Fatalf("%s is not in the claims", old)
		}
		return out
	}
	opts := func(change func(*Options)) Options {
		o := testOpts
		change(&o)
		return o
	}
	for _, tt := range []struct {
		name   string
		claims string
		opts   Options
		want   error // nil: it verifies
	}{
		{"expired a second ago", replace("1800000060", "1799999999"), testOpts, ErrExpired},
		{"expires now", replace("1800000060", "1800000000"), testOpts, ErrExpired},
		{"expires in a fraction of a second", replace("1800000060", "1800000000.5"), testOpts, nil},
		{"expired within leeway", replace("1800000060", "1799999999"), opts(func(o *Options) { o.Leeway = 2 * time.Second }), nil},
		{"exp missing", replace(`"exp":1800000060,`, ""), testOpts, ErrExpired},
		{"exp a string", replace("1800000060", `"1800000060"`), testOpts, ErrMalformed},
		{"exp null", replace("1800000060", "null"), testOpts, ErrMalformed},
		{"exp negative", replace("1800000060", "-1"), testOpts, ErrMalformed},
		{"exp beyond the year 9999", replace("1800000060", "1e300"), testOpts, ErrMalformed},
		{"exp an integer that overflows", replace("1800000060", "99999999999999999999"), testOpts, ErrMalformed},
		{"exp in exponent form", replace("1800000060", "1.80000006e9"), testOpts, nil},
		{"valid from next second", replace("1799999970", "1800000001"), testOpts, ErrNotYet},
		{"valid from within leeway", replace("1799999970", "1800000001"), opts(func(o *Options) { o.Leeway = time.Second }), nil},
		{"issued in the future", replace(`"iat":1800000000`, `"iat":1800000005`), testOpts, ErrNotYet},
		{"lives as long as allowed", goodClaims, opts(func(o *Options) { o.MaxLife = time.Minute }), nil},
		{"lives too long", goodClaims, opts(func(o *Options) { o.MaxLife = 59 * time.Second }), ErrLifetime},
		{"lives too long, iat withheld", replace(`"iat":1800000000,`, ""), opts(func(o *Options) { o.MaxLife = 59 * time.Second }), ErrLifetime},
		{"another issuer", replace("https://issuer.example", "https://attacker.example"), testOpts, ErrIssuer},
		{"issuer with a slash more", replace("https://issuer.example", "https://issuer.example/"), testOpts, ErrIssuer},
		{"issuer in another case", replace("https://issuer.example", "https://Issuer.example"), testOpts, ErrIssuer},
		{"issuer missing", replace(`"iss":"https://issuer.example",`, ""), testOpts, ErrIssuer},
		{"no issuer demanded", goodClaims, opts(func(o *Options) { o.Issuer = "" }), ErrIssuer},
		{"no issuer demanded and none given", replace(`"iss":"https://issuer.example",`, ""), opts(func(o *Options) { o.Issuer = "" }), ErrIssuer},
		{"issuer a list", replace(`"https://issuer.example"`, `["https://issuer.example"]`), testOpts, ErrMalformed},
		{"another audience", replace(`"aud":"api"`, `"aud":"other"`), testOpts, ErrAudience},
		{"audience missing", replace(`"aud":"api",`, ""), testOpts, ErrAudience},
		{"audience empty", replace(`"aud":"api"`, `"aud":[]`), testOpts, ErrAudience},
		{"audience a prefix", replace(`"aud":"api"`, `"aud":"api.example"`), testOpts, ErrAudience},
		{"audience among several", replace(`"aud":"api"`, `"aud":["other", "api"]`), testOpts, nil},
		{"audience a list with a number", replace(`"aud":"api"`, `"aud":["api",1]`), testOpts, ErrMalformed},
		{"audience an object", replace(`"aud":"api"`, `"aud":{"api":true}`), testOpts, ErrMalformed},
		{"no audience demanded", goodClaims, opts(func(o *Options) { o.Audience = "" }), ErrAudience},
		{"no audience demanded and an empty one given", replace(`"aud":"api"`, `"aud":""`), opts(func(o *Options) { o.Audience = "" }), ErrAudience},
		{"any audience allowed", replace(`"aud":"api"`, `"aud":"other"`), opts(func(o *Options) { o.Audience, o.AnyAudience = "", true }), nil},
		{"the zero options", goodClaims, Options{}, ErrIssuer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Verify(sign(t, i.key, i.header(), tt.claims), i.keys, tt.opts)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestTypesKeepKindsOfTokensApart(t *testing.T) {
	i := newIssuer(t)
	for _, tt := range []struct {
		typ   string // in the header, "-" for none
		allow []string
		want  error
	}{
		{"JWT", nil, nil},
		{"jwt", nil, nil},
		{"JOSE", nil, nil},
		{"-", nil, nil},
		{"application/jwt", nil, nil},
		{"at+jwt", nil, ErrType},
		{"dpop+jwt", nil, ErrType},
		{"wit+jwt", nil, ErrType},
		{"at+jwt", []string{"at+jwt"}, nil},
		{"application/at+jwt", []string{"at+jwt"}, nil},
		{"JWT", []string{"at+jwt"}, ErrType},
		{"-", []string{"at+jwt"}, ErrType},
		{"-", []string{"at+jwt", ""}, nil},
		{"at+jwtx", []string{"at+jwt"}, ErrType},
	} {
		header := `{"alg":"ES256","kid":"` + i.kid + `","typ":"` + tt.typ + `"}`
		if tt.typ == "-" {
			header = `{"alg":"ES256","kid":"` + i.kid + `"}`
		}
		opts := testOpts
		opts.Types = tt.allow
		if _, err := Verify(sign(t, i.key, header, goodClaims), i.keys, opts); !errors.Is(err, tt.want) {
			t.Errorf("typ %s with %q allowed: %v, want %v", tt.typ, tt.allow, err, tt.want)
		}
	}
}

func TestTheAllowListOfAlgorithmsOnlyNarrows(t *testing.T) {
	i := newIssuer(t)
	token := sign(t, i.key, i.header(), goodClaims)
	for _, tt := range []struct {
		algs []string
		want error
	}{
		{nil, nil},
		{[]string{ES256}, nil},
		{[]string{RS256}, ErrAlgorithm},
		{[]string{"none", "HS256"}, ErrAlgorithm},
	} {
		opts := testOpts
		opts.Algs = tt.algs
		if _, err := Verify(token, i.keys, opts); !errors.Is(err, tt.want) {
			t.Errorf("with %q allowed: %v, want %v", tt.algs, err, tt.want)
		}
	}
	none := encodeSegment([]byte(`{"alg":"none"}`)) + "." + encodeSegment([]byte(goodClaims)) + "."
	opts := testOpts
	opts.Algs = []string{"none"}
	if _, err := Verify(none, i.keys, opts); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("none, although allowed: %v, want ErrAlgorithm", err)
	}
}

// finder is a KeyFinder that a careless caller might write.
type finder struct{ key crypto.PublicKey }

func (f finder) Key(string, string) (crypto.PublicKey, bool) { return f.key, true }

func TestACarelessKeyFinderCannotWeakenVerification(t *testing.T) {
	i := newIssuer(t)
	token := sign(t, i.key, i.header(), goodClaims)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var nilKey *ecdsa.PublicKey
	for _, tt := range []struct {
		name string
		key  crypto.PublicKey
		want error
	}{
		{"the right key", &i.key.PublicKey, nil},
		{"nil", nil, ErrUnknownKey},
		{"a nil pointer", nilKey, ErrUnknownKey},
		{"bytes, as for HMAC", []byte("secret"), ErrUnknownKey},
		{"a private key", i.key, ErrUnknownKey},
		{"weak RSA", &weak.PublicKey, ErrUnknownKey},
		{"another curve", &p384.PublicKey, ErrUnknownKey},
		{"RSA for an ES256 token", &strong.PublicKey, ErrAlgorithm},
	} {
		if _, err := Verify(token, finder{tt.key}, testOpts); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := Verify(token, (*KeySet)(nil), testOpts); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("nil key set: %v, want ErrUnknownKey", err)
	}
	if _, err := Verify(token, nil, testOpts); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("no key finder: %v, want ErrUnknownKey", err)
	}
}

func TestRSASignaturesOfOtherSchemesAreRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := NewKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeySet(public)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(alg string, pss bool) string {
		signed := encodeSegment([]byte(`{"alg":"`+alg+`","kid":"`+public.ID+`"}`)) + "." + encodeSegment([]byte(goodClaims))
		digest := sha256.Sum256([]byte(signed))
		var signature []byte
		if pss {
			signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
		} else {
			signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		}
		if err != nil {
			t.Fatal(err)
		}
		return signed + "." + encodeSegment(signature)
	}
	good := sign("RS256", false)
	signature := signatureOf(t, good)
	for _, tt := range []struct {
		name, token string
		want        error
	}{
		{"RS256", good, nil},
		{"PS256", sign("PS256", true), ErrAlgorithm},
		{"PSS under the name RS256", sign("RS256", true), ErrSignature},
		{"RS256 under the name ES256", sign("ES256", false), ErrUnknownKey},
		{"altered", resign(good, flip(signature, 100)), ErrSignature},
		{"with a leading zero", resign(good, append([]byte{0}, signature...)), ErrSignature},
		{"zero", resign(good, make([]byte, 256)), ErrSignature},
		{"one", resign(good, append(make([]byte, 255), 1)), ErrSignature},
	} {
		if _, err := Verify(tt.token, keys, testOpts); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestABoundTokenSaysHow(t *testing.T) {
	i := newIssuer(t)
	for _, tt := range []struct {
		cnf   string
		want  Claims
		fails bool
	}{
		{`{"jkt":"abc"}`, Claims{Bound: true, JKT: "abc"}, false},
		{`{"x5t#S256":"def"}`, Claims{Bound: true, X5T: "def"}, false},
		{`{"some-new-method":1}`, Claims{Bound: true}, false},
		{`{}`, Claims{Bound: true}, false},
		{`"jkt"`, Claims{}, true},
		{`null`, Claims{}, true},
		{`{"jkt":1}`, Claims{}, true},
		{`{"jkt":"a","jkt":"b"}`, Claims{}, true},
	} {
		claims := strings.Replace(goodClaims, "{", `{"cnf":`+tt.cnf+`,`, 1)
		got, err := Verify(sign(t, i.key, i.header(), claims), i.keys, testOpts)
		if tt.fails != (err != nil) || tt.fails && !errors.Is(err, ErrMalformed) {
			t.Errorf("cnf %s: %v", tt.cnf, err)
		}
		if got.Bound != tt.want.Bound || got.JKT != tt.want.JKT || got.X5T != tt.want.X5T {
			t.Errorf("cnf %s: bound %v, jkt %q, x5t %q", tt.cnf, got.Bound, got.JKT, got.X5T)
		}
	}
}

func TestClaimsAreFoundByTheirExactName(t *testing.T) {
	i := newIssuer(t)
	claims := strings.Replace(goodClaims, "{", `{"Repository":"attacker/x","repository":"good\/repo","repository_id":42,"k8s":{"ns":"prod"},`, 1)
	got, err := Verify(sign(t, i.key, i.header(), claims), i.keys, testOpts)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := got.Text("repository"); !ok || s != "good/repo" {
		t.Errorf("Text = %q, %v", s, ok)
	}
	for _, name := range []string{"REPOSITORY", "repository_id", "k8s", "missing", ""} {
		if s, ok := got.Text(name); ok {
			t.Errorf("Text(%q) = %q, want none", name, s)
		}
	}
	if raw, ok := got.Value("k8s"); !ok || string(raw) != `{"ns":"prod"}` {
		t.Errorf("Value = %s, %v", raw, ok)
	}
	var decoded struct {
		K8s struct{ Ns string }
	}
	if err := got.Decode(&decoded); err != nil || decoded.K8s.Ns != "prod" {
		t.Errorf("Decode = %+v, %v", decoded, err)
	}
}

func TestPeekReadsWithoutBelieving(t *testing.T) {
	got, err := Peek(rfc7515A1) // HMAC, expired, of no key we know
	if err != nil || got.Header.Alg != "HS256" || got.Issuer != "joe" {
		t.Errorf("Peek = %+v, %v", got, err)
	}
	for _, bad := range []string{"", "a.b", "a.b.c", strings.Repeat("a", MaxToken+1)} {
		if _, err := Peek(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("Peek(%.10q) = %v, want ErrMalformed", bad, err)
		}
	}
}

func TestErrorsDoNotQuoteTheToken(t *testing.T) {
	i := newIssuer(t)
	const secret = "s3cr3t-in-a-claim"
	for _, claims := range []string{
		`{"iss":"` + secret + `"}`, `{"iss":["` + secret + `"]}`, `{"` + secret + `":1,"` + secret + `":2}`,
		`{"exp":"` + secret + `"}`, secret, `{"aud":"` + secret + `","iss":"https://issuer.example"}`,
	} {
		token := sign(t, i.key, i.header(), claims)
		_, err := Verify(token, i.keys, testOpts)
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), token[:20]) {
			t.Errorf("claims %s: %v", claims, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := newIssuer(f)
	good := sign(f, i.key, i.header(), goodClaims)
	for _, seed := range []string{good, good + "=", rfc7515A2, rfc7515A3, rfc7515A5, "..", `{"alg":"none"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := Verify(token, i.keys, testOpts); err == nil && token != good {
			t.Errorf("a second text passes for the one signed token: %q", token)
		}
		if got, err := Peek(token); err == nil && len(got.Raw) == 0 {
			t.Error("Peek accepted a token without claims")
		}
	})
}

// A token that decodes must be the only text of its bytes.
func FuzzDecode64(f *testing.F) {
	f.Add("AA")
	f.Add("AB==")
	f.Add("A\nA")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := decode64(s)
		if err == nil && base64.RawURLEncoding.EncodeToString(b) != s {
			t.Errorf("%q decodes and is not canonical", s)
		}
	})
}

func ExampleVerify() {
	key := GenerateES256()
	signer := NewES256Signer(key, "at+jwt")
	token, err := signer.Sign(map[string]any{
		"iss": "https://issuer.example", "aud": "billing", "sub": "build-7", "exp": 1_800_000_300,
	})
	if err != nil {
		panic(err)
	}
	keys, err := NewKeySet(signer.Key())
	if err != nil {
		panic(err)
	}
	opts := Options{
		Types: []string{"at+jwt"}, Issuer: "https://issuer.example", Audience: "billing",
		Now: time.Unix(1_800_000_000, 0),
	}
	v, err := Verify(token, keys, opts)
	fmt.Println(v.Subject, err)

	opts.Audience = "payments"
	_, err = Verify(token, keys, opts)
	fmt.Println(err)
	// Output:
	// build-7 <nil>
	// token for another audience
}
