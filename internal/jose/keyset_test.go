package jose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAPublishedSetReadsBackAsItself(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var keys []Key
	for range 3 {
		key, err := NewKey(&GenerateES256().PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	last, err := NewKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	want, err := NewKeySet(append(keys, last)...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseJWKS(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Keys(), got.Keys()); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	for _, key := range want.Keys() {
		if pub, ok := got.Key(key.ID, key.Alg); !ok || !cmp.Equal(pub, key.Public) {
			t.Errorf("key %s is not found by its name", key.ID)
		}
	}
	if bytes.Contains(text, []byte(`"d"`)) {
		t.Error("the published set has a private member")
	}
}

func TestAnEmptySetIsNeverPublished(t *testing.T) {
	empty, err := NewKeySet()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := empty.Marshal(); !errors.Is(err, ErrKey) {
		t.Errorf("Marshal = %s, %v; want ErrKey: it would revoke every key", text, err)
	}
}

// ec writes a sound EC key with more members.
func ec(more string) string { return strings.Replace(rfc7515EC, "{", "{"+more+",", 1) }

func TestKeysAreUsedOnlyAsTheyAllow(t *testing.T) {
	for _, tt := range []struct {
		name string
		jwk  string
		want bool
	}{
		{"nothing said", ec(`"kid":"k"`), true},
		{"use sig", ec(`"kid":"k","use":"sig"`), true},
		{"use jwt-svid", ec(`"kid":"k","use":"jwt-svid"`), true},
		{"use enc", ec(`"kid":"k","use":"enc"`), false},
		{"use x509-svid", ec(`"kid":"k","use":"x509-svid"`), false},
		{"use SIG", ec(`"kid":"k","use":"SIG"`), false},
		{"key_ops verify", ec(`"kid":"k","key_ops":["verify"]`), true},
		{"key_ops sign", ec(`"kid":"k","key_ops":["sign"]`), false},
		{"key_ops empty", ec(`"kid":"k","key_ops":[]`), false},
		{"key_ops verify, use enc", ec(`"kid":"k","key_ops":["verify"],"use":"enc"`), false},
		{"alg ES256", ec(`"kid":"k","alg":"ES256"`), true},
		{"alg ECDH-ES", ec(`"kid":"k","alg":"ECDH-ES"`), false},
		{"alg RS256 on an EC key", ec(`"kid":"k","alg":"RS256"`), false},
		{"another curve", strings.Replace(ec(`"kid":"k"`), "P-256", "P-521", 1), false},
		{"an unknown type", `{"kty":"AKP","kid":"k"}`, false},
		{"a symmetric key", `{"kty":"oct","kid":"k","k":"AAAA"}`, false},
		{"Ed25519", `{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, false},
		{"no type", `{"kid":"k"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := set(t, tt.jwk).Key("k", ES256)
			if got != tt.want {
				t.Errorf("usable = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUnsoundSetsAreRefusedWhole(t *testing.T) {
	n := `"n":"` + strings.Repeat("_", 342) + `"`
	rsaJWK := func(members string) string { return `{"keys":[{"kty":"RSA","kid":"k",` + members + `}]}` }
	ecJWK := func(x, y string) string {
		return `{"keys":[{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `"}]}`
	}
	const x, y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	tooMany := `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"AKP"},`, MaxKeys+1), ",") + `]}`
	for _, tt := range []struct{ name, in string }{
		{"nothing", ""},
		{"a list", "[]"},
		{"no keys", "{}"},
		{"keys no list", `{"keys":{}}`},
		{"keys null", `{"keys":null}`},
		{"a key that is no object", `{"keys":["k"]}`},
		{"keys twice", `{"keys":[],"keys":[]}`},
		{"a member twice", `{"keys":[` + ec(`"crv":"P-256"`) + `]}`},
		{"65 keys", tooMany},
		{"over 256 KB", `{"keys":[],"x":"` + strings.Repeat("x", MaxJWKS) + `"}`},
		{"two keys of one name", `{"keys":[` + ec(`"kid":"k"`) + `,` + ec(`"kid":"k"`) + `]}`},
		{"two keys without a name", `{"keys":[` + rfc7515EC + `,` + rfc7515EC + `]}`},
		{"its private half included", `{"keys":[` + ec(`"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"`) + `]}`},
		{"kid a number", `{"keys":[` + ec(`"kid":1`) + `]}`},
		{"key_ops a string", `{"keys":[` + ec(`"key_ops":"verify"`) + `]}`},
		{"a point off the curve", ecJWK(x, strings.Replace(y, "x_FE", "x_FF", 1))},
		{"a point at zero", ecJWK(strings.Repeat("A", 43), strings.Repeat("A", 43))},
		{"x cut", ecJWK(x[:42], y)},
		{"x with a leading zero byte", ecJWK("AH_NzidQ9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRF", y)},
		{"x padded", ecJWK(x+"=", y)},
		{"x missing", ecJWK("", y)},
		{"RSA of 1024 bits", rsaJWK(`"n":"` + strings.Repeat("_", 170) + `8","e":"AQAB"`)},
		{"RSA of 16384 bits", rsaJWK(`"n":"` + strings.Repeat("_", 2730) + `8","e":"AQAB"`)},
		{"RSA with exponent 1", rsaJWK(n + `,"e":"AQ"`)},
		{"RSA with exponent 3", rsaJWK(n + `,"e":"Aw"`)},
		{"RSA with an even exponent", rsaJWK(n + `,"e":"AQAC"`)},
		{"RSA with a huge exponent", rsaJWK(n + `,"e":"_____w"`)},
		{"RSA with an exponent of 5 bytes", rsaJWK(n + `,"e":"AQAAAAE"`)},
		{"RSA with an even modulus", rsaJWK(`"n":"` + strings.Repeat("_", 340) + `_g","e":"AQAB"`)},
		{"RSA with a leading zero", rsaJWK(`"n":"AP` + strings.Repeat("_", 340) + `","e":"AQAB"`)},
		{"RSA of the ROCA generator", rsaJWK(`"n":"` + rocaModulus() + `","e":"AQAB"`)},
		{"RSA without a modulus", rsaJWK(`"e":"AQAB"`)},
		{"RSA without an exponent", rsaJWK(n)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ParseJWKS([]byte(tt.in)); !errors.Is(err, ErrKey) {
				t.Errorf("ParseJWKS = %v, %v; want ErrKey", got, err)
			}
		})
	}
}

// rocaModulus has the mark of CVE-2017-15361: a power of 65537 modulo the
// product of the primes, grown to 2048 bits without changing that.
func rocaModulus() string {
	product := big.NewInt(2)
	for _, p := range rocaPrimes {
		product.Mul(product, new(big.Int).SetUint64(p))
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123456789), product)
	times := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(3), 2046), product)
	return base64.RawURLEncoding.EncodeToString(n.Add(n, times.Mul(times, product)).Bytes())
}

func TestSoundKeysDoNotBearTheMarkOfROCA(t *testing.T) {
	if set(t, rfc7515RSA).Len() != 1 {
		t.Error("a sound RSA key was refused")
	}
	draw := mathrand.New(mathrand.NewPCG(3, 4))
	for range 20_000 {
		if n := new(big.Int).SetUint64(draw.Uint64() | 1); isROCA(n) {
			t.Fatalf("the random number %v bears the mark", n)
		}
	}
}

func TestATokenWithoutKidNeedsASetWithoutChoice(t *testing.T) {
	one := set(t, ec(`"kid":"a"`), rfc7515RSA)
	if _, ok := one.Key("", ES256); !ok {
		t.Error("the only ES256 key is not found without a kid")
	}
	other, err := newJWKText(&GenerateES256().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	two := set(t, rfc7515EC, strings.Replace(string(mustJSON(other)), "{", `{"kid":"b",`, 1))
	if _, ok := two.Key("", ES256); ok {
		t.Error("a key was guessed among two")
	}
	if _, ok := two.Key("b", ES256); !ok {
		t.Error("the named key is not found beside a nameless one")
	}
	if _, ok := two.Key("b", RS256); ok {
		t.Error("an EC key was found for RS256")
	}
}

func TestNewKeySetRefusesWhatItCouldNotVerify(t *testing.T) {
	good, err := NewKey(&GenerateES256().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	mixed := good
	mixed.Alg = RS256
	many := make([]Key, MaxKeys+1)
	for i := range many {
		many[i] = good
		many[i].ID = fmt.Sprint(i)
	}
	for name, keys := range map[string][]Key{
		"the zero key":       {{}},
		"a mixed-up alg":     {mixed},
		"the same key twice": {good, good},
		"too many":           many,
	} {
		if _, err := NewKeySet(keys...); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []any{nil, "key", &p384.PublicKey, &rsa.PublicKey{}, &ecdsa.PublicKey{}} {
		if _, err := NewKey(pub); !errors.Is(err, ErrKey) {
			t.Errorf("NewKey(%T) = %v, want ErrKey", pub, err)
		}
		if _, err := Thumbprint(pub); !errors.Is(err, ErrKey) {
			t.Errorf("Thumbprint(%T) = %v, want ErrKey", pub, err)
		}
	}
}

func TestPrivateKeysSurviveTheirDER(t *testing.T) {
	want := GenerateES256()
	der, err := MarshalES256Private(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseES256Private(der)
	if err != nil || !got.Equal(want) {
		t.Errorf("round trip: %v", err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*ecdsa.PrivateKey{nil, p384} {
		if _, err := MarshalES256Private(key); !errors.Is(err, ErrKey) {
			t.Errorf("MarshalES256Private = %v, want ErrKey", err)
		}
	}
	for _, bad := range [][]byte{nil, {0x30}, der[:len(der)-1]} {
		if _, err := ParseES256Private(bad); !errors.Is(err, ErrKey) {
			t.Errorf("ParseES256Private of %d bytes = %v, want ErrKey", len(bad), err)
		}
	}
}

func TestStrictJSONAgreesWithTheStandardLibrary(t *testing.T) {
	for _, in := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":{"b":[1,2,{"c":null}]},"d":"e\"f\\"}`, `{"é":"\u00e9","\ud83d\ude00":true}`,
		`{"a":[],"b":[[]],"c":{},"d":-1.5e+3 , "e" : false }`, `{"a":"\u005c\""}`,
	} {
		got, err := parseObject([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		want := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(in), &want); err != nil {
			t.Fatal(err)
		}
		have := map[string]json.RawMessage{}
		for _, m := range got {
			have[string(m.name)] = m.value
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{
		``, `null`, `1`, `"a"`, `[]`, `{`, `{"a":1}x`, `{"a":1,}`, `{'a':1}`, `{"a":01}`, "{\"a\":\"\n\"}",
		`{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `{"x":{"a":1,"b":2,"a":3}}`, `{"a":"\udc00"}`, `{"a":"\ud800x"}`,
		`{"a":"\ud800\u0041"}`, `{"\ud800":1}`, "{\"a\":\"\xc0\xaf\"}", `{"a":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat("}", 41),
		manyMembers(40, "7"), manyMembers(17, "16"),
	} {
		if got, err := parseObject([]byte(in)); err == nil {
			t.Errorf("accepted %.60s as %v", in, got)
		}
	}
	if _, err := parseObject([]byte(manyMembers(2000, "x"))); err != nil {
		t.Errorf("2000 different names: %v", err)
	}
}

// manyMembers is an object with the names 0 to n-1 and one more.
func manyMembers(n int, last string) string {
	var b strings.Builder
	b.WriteString("{")
	for i := range n {
		fmt.Fprintf(&b, `"%d":0,`, i)
	}
	return b.String() + `"` + last + `":0}`
}

func FuzzParseJWKS(f *testing.F) {
	for _, seed := range []string{rfc7517Set, `{"keys":[` + rfc7515EC + `]}`, `{"keys":[]}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseJWKS(data)
		if err != nil {
			if !errors.Is(err, ErrKey) {
				t.Errorf("unexpected kind of error: %v", err)
			}
			return
		}
		if s.Len() == 0 {
			return
		}
		text, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseJWKS(text)
		if err != nil || again.Len() != s.Len() {
			t.Errorf("what we publish reads back as %v, %v", again, err)
		}
	})
}

func FuzzParseObject(f *testing.F) {
	f.Add([]byte(goodClaims))
	f.Add([]byte(`{"a":[{"b":"\ud83d\ude00"}],"a":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseObject(data)
		if err != nil {
			return
		}
		want := map[string]json.RawMessage{}
		if err := json.Unmarshal(data, &want); err != nil || len(want) != len(got) {
			t.Fatalf("%d members, encoding/json has %d, %v", len(got), len(want), err)
		}
		for _, m := range got {
			if !bytes.Equal(want[string(m.name)], m.value) {
				t.Errorf("member %q = %s, encoding/json has %s", m.name, m.value, want[string(m.name)])
			}
		}
	})
}
