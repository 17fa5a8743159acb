package jose

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testURL = "https://api.example/payments/7"

func TestAProverConvincesTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProver(GenerateES256())
		for _, tt := range []struct{ target, seen, token string }{
			{testURL, testURL, ""},
			{testURL, testURL, "access-token"},
			{testURL + "?q=1#frag", testURL + "?q=2", "access-token"},
			{"HTTPS://API.example:443/payments/7", testURL, ""},
			{testURL, "https://API.EXAMPLE:443/payments/7", ""},
			{"http://127.0.0.1:8700", "http://127.0.0.1:8700/", ""},
			{"http://localhost:80/a%2Fb", "http://localhost/a%2Fb", ""},
			{"https://[::1]:8443/x", "https://[::1]:8443/x", ""},
		} {
			proof, err := p.Proof("GET", tt.target, tt.token)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseProof(proof, ProofWant{Method: "GET", URL: tt.seen, AccessToken: tt.token})
			if err != nil {
				t.Errorf("proof for %s at %s: %v", tt.target, tt.seen, err)
				continue
			}
			if got.JKT != p.JKT() || got.JTI == "" || !got.IssuedAt.Equal(time.Now()) {
				t.Errorf("proof = %+v, want key %s and now", got, p.JKT())
			}
		}
	})
}

func TestEveryProofHasItsOwnName(t *testing.T) {
	p := NewProver(GenerateES256())
	seen := map[string]bool{}
	for range 100 {
		proof, err := p.Proof("GET", testURL, "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseProof(proof, ProofWant{Method: "GET", URL: testURL})
		if err != nil || seen[got.JTI] {
			t.Fatalf("jti %q repeated, or %v", got.JTI, err)
		}
		seen[got.JTI] = true
	}
}

func TestAProverRefusesTargetsItCannotProve(t *testing.T) {
	p := NewProver(GenerateES256())
	for _, target := range []string{"", "/path", "api.example/x", "https://", "https://user:secret@api.example/", "https://a b/", "::"} {
		if _, err := p.Proof("GET", target, ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Proof for %q: %v", target, err)
		}
	}
	if _, err := p.Proof("", testURL, ""); err == nil {
		t.Error("Proof without a method succeeded")
	}
}

func TestNoncesAreDemandedAndProven(t *testing.T) {
	p := NewProver(GenerateES256())
	with, err := p.ProofWithNonce("POST", testURL, "", "n-1")
	if err != nil {
		t.Fatal(err)
	}
	without, err := p.Proof("POST", testURL, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, proof, nonce string
		want               error
	}{
		{"the right nonce", with, "n-1", nil},
		{"an old nonce", with, "n-2", ErrNonce},
		{"no nonce", without, "n-1", ErrNonce},
		{"a nonce nobody asked for", with, "", nil},
	} {
		if _, err := ParseProof(tt.proof, ProofWant{Method: "POST", URL: testURL, Nonce: tt.nonce}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// proofOf signs any header and claims with the key whose jwk stands at %s.
func proofOf(t testing.TB, key *ecdsa.PrivateKey, header, claims string) string {
	t.Helper()
	jwk, err := newJWKText(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, key, strings.Replace(header, "%s", string(mustJSON(jwk)), 1), claims)
}

const (
	proofHeader = `{"typ":"dpop+jwt","alg":"ES256","jwk":%s}`
	proofBody   = `{"jti":"p1","htm":"GET","htu":"` + testURL + `","iat":1800000000,"ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"}`
)

func TestProofsForOtherRequestsAreRefused(t *testing.T) {
	key := GenerateES256()
	ok := ProofWant{Method: "GET", URL: testURL, AccessToken: rfc9449Token, Now: testNow}
	want := func(change func(*ProofWant)) ProofWant {
		w := ok
		change(&w)
		return w
	}
	body := func(old, new string) string {
		t.Helper()
		out := strings.Replace(proofBody, old, new, 1)
		if out == proofBody {
			t.Fatalf("%s is not in the claims", old)
		}
		return out
	}
	for _, tt := range []struct {
		name string
		body string
		want ProofWant
		err  error
	}{
		{"the request itself", proofBody, ok, nil},
		{"another method", proofBody, want(func(w *ProofWant) { w.Method = "POST" }), ErrProof},
		{"method in lower case", body("GET", "get"), ok, ErrProof},
		{"method missing", body(`"htm":"GET",`, ""), want(func(w *ProofWant) { w.Method = "" }), ErrProof},
		{"another path", proofBody, want(func(w *ProofWant) { w.URL = "https://api.example/payments/8" }), ErrProof},
		{"another host", proofBody, want(func(w *ProofWant) { w.URL = "https://api.example.attacker.example/payments/7" }), ErrProof},
		{"another port", proofBody, want(func(w *ProofWant) { w.URL = "https://api.example:8443/payments/7" }), ErrProof},
		{"another scheme", proofBody, want(func(w *ProofWant) { w.URL = "http://api.example/payments/7" }), ErrProof},
		{"port 80 is no default of https", proofBody, want(func(w *ProofWant) { w.URL = "https://api.example:80/payments/7" }), ErrProof},
		{"a slash more", proofBody, want(func(w *ProofWant) { w.URL = testURL + "/" }), ErrProof},
		{"path in another case", proofBody, want(func(w *ProofWant) { w.URL = "https://api.example/Payments/7" }), ErrProof},
		{"path escaped differently", body("/payments/7", "/%70ayments/7"), ok, ErrProof},
		{"path with dots", body("/payments/7", "/x/../payments/7"), ok, ErrProof},
		{"htu with a query", body("/payments/7", "/payments/7?x=1"), ok, ErrProof},
		{"htu with a fragment", body("/payments/7", "/payments/7#x"), ok, ErrProof},
		{"htu with user information", body("https://", "https://api.example@"), ok, ErrProof},
		{"htu relative", body("https://api.example", ""), ok, ErrProof},
		{"htu opaque", body("https://api.example/payments/7", "https:api.example"), ok, ErrProof},
		{"htu missing", body(`"htu":"`+testURL+`",`, ""), want(func(w *ProofWant) { w.URL = "" }), ErrProof},
		{"another token", proofBody, want(func(w *ProofWant) { w.AccessToken = "stolen" }), ErrProof},
		{"no ath", body(`,"ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"`, ""), ok, ErrProof},
		{"ath at the token endpoint does not matter", proofBody, want(func(w *ProofWant) { w.AccessToken = "" }), nil},
		{"61 s old", body("1800000000", "1799999939"), ok, ErrProof},
		{"60 s old", body("1800000000", "1799999940"), ok, nil},
		{"61 s ahead", body("1800000000", "1800000061"), ok, ErrProof},
		{"5 s old, window 2 s", body("1800000000", "1799999995"), want(func(w *ProofWant) { w.Window = 2 * time.Second }), ErrProof},
		{"iat missing", body(`"iat":1800000000,`, ""), ok, ErrMalformed},
		{"iat a string", body("1800000000", `"1800000000"`), ok, ErrMalformed},
		{"jti missing", body(`"jti":"p1",`, ""), ok, ErrMalformed},
		{"jti empty", body("p1", ""), ok, ErrMalformed},
		{"jti of 1 KB", body("p1", strings.Repeat("j", 1024)), ok, ErrMalformed},
		{"jti twice", body(`"jti":"p1"`, `"jti":"p1","jti":"p2"`), ok, ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseProof(proofOf(t, key, proofHeader, tt.body), tt.want)
			if !errors.Is(err, tt.err) {
				t.Fatalf("ParseProof = %v, want %v", err, tt.err)
			}
			if err != nil && got != (Proof{}) {
				t.Errorf("a refused proof still returned %+v", got)
			}
		})
	}
}

func TestForgedProofsAreRefused(t *testing.T) {
	key, other := GenerateES256(), GenerateES256()
	otherJWK, err := newJWKText(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	want := ProofWant{Method: "GET", URL: testURL, Now: testNow}
	good := proofOf(t, key, proofHeader, proofBody)
	withD := strings.Replace(proofHeader, "%s", `{"d":"AAAA",`+strings.TrimPrefix(string(mustJSON(otherJWK)), "{"), 1)
	for _, tt := range []struct {
		name, proof string
		err         error
	}{
		{"the honest one", good, nil},
		{"an access token as proof", proofOf(t, key, `{"typ":"at+jwt","alg":"ES256","jwk":%s}`, proofBody), ErrType},
		{"no typ", proofOf(t, key, `{"alg":"ES256","jwk":%s}`, proofBody), ErrType},
		{"alg none", proofOf(t, key, `{"typ":"dpop+jwt","alg":"none","jwk":%s}`, proofBody), ErrAlgorithm},
		{"alg HS256", proofOf(t, key, `{"typ":"dpop+jwt","alg":"HS256","jwk":%s}`, proofBody), ErrAlgorithm},
		{"alg RS256", proofOf(t, key, `{"typ":"dpop+jwt","alg":"RS256","jwk":%s}`, proofBody), ErrAlgorithm},
		{"no jwk", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256"}`, proofBody), ErrMalformed},
		{"jwk a string", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256","jwk":"k"}`, proofBody), ErrMalformed},
		{"somebody else's public key", proofOf(t, key, strings.Replace(proofHeader, "%s", string(mustJSON(otherJWK)), 1), proofBody), ErrSignature},
		{"private member in jwk", proofOf(t, other, withD, proofBody), ErrKey},
		{"symmetric jwk", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"oct","k":"AAAA"}}`, proofBody), ErrKey},
		{"RSA jwk under ES256", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256","jwk":`+rfc7515RSA+`}`, proofBody), ErrKey},
		{"jwk for encryption", proofOf(t, other, strings.Replace(proofHeader, "%s", strings.Replace(string(mustJSON(otherJWK)), "{", `{"use":"enc",`, 1), 1), proofBody), ErrKey},
		{"jku beside jwk", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256","jku":"https://attacker.example","jwk":%s}`, proofBody), ErrMalformed},
		{"crit", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256","crit":["x"],"x":1,"jwk":%s}`, proofBody), ErrMalformed},
		{"jwk twice", proofOf(t, key, `{"typ":"dpop+jwt","alg":"ES256","jwk":{},"jwk":%s}`, proofBody), ErrMalformed},
		{"altered", resign(good, flip(signatureOf(t, good), 9)), ErrSignature},
		{"psychic signature", resign(good, make([]byte, 64)), ErrSignature},
		{"two proofs in one header", good + ", " + good, ErrMalformed},
		{"nothing", "", ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseProof(tt.proof, want); !errors.Is(err, tt.err) {
				t.Errorf("ParseProof = %v, want %v", err, tt.err)
			}
		})
	}
}

func TestAReplayedProofWorksOnce(t *testing.T) {
	c := NewReplayCache(time.Minute, 0)
	now := testNow
	if !c.Fresh("nhi_a", "p1", now) {
		t.Fatal("the first showing was refused")
	}
	// Dated one window ahead, a proof is acceptable for two windows.
	for _, after := range []time.Duration{0, time.Second, time.Minute, 2*time.Minute - 1} {
		if c.Fresh("nhi_a", "p1", now.Add(after)) {
			t.Errorf("replayed after %v", after)
		}
	}
	if !c.Fresh("nhi_b", "p1", now) || !c.Fresh("nhi_a", "p2", now) {
		t.Error("another identity's proof or another proof was refused")
	}
	if !c.Fresh("nhi_ap", "1", now) {
		t.Error("identity and jti run together")
	}
}

func TestTheReplayCacheForgetsOnlyWhatCannotBeReplayed(t *testing.T) {
	const window = time.Minute
	c := NewReplayCache(window, 0)
	names := map[string]time.Time{}
	for step := range 600 {
		now := testNow.Add(time.Duration(step) * time.Second)
		jti := fmt.Sprint("p", step)
		if !c.Fresh("nhi_a", jti, now) {
			t.Fatalf("%s was refused", jti)
		}
		names[jti] = now
		for name, shown := range names {
			switch age := now.Sub(shown); {
			case age < 2*window && c.Fresh("nhi_a", name, now):
				t.Fatalf("%s was replayed after %v", name, age)
			case age >= 2*window:
				delete(names, name)
			}
		}
	}
	for i := range c.shards {
		if held := len(c.shards[i].current.seen) + len(c.shards[i].previous.seen); held > 240 {
			t.Errorf("%d proofs held of one a second, want at most two generations of 120", held)
		}
	}
}

func TestAClockThatGoesBackForgetsNothing(t *testing.T) {
	c := NewReplayCache(time.Minute, 0)
	c.Fresh("nhi_a", "p1", testNow)
	if c.Fresh("nhi_a", "p1", testNow.Add(-time.Hour)) {
		t.Error("replayed after the clock went back")
	}
}

// A flood under one identity must not refuse the proofs of others.
func TestFloodOfProofsHurtsOnlyItsSender(t *testing.T) {
	c := NewReplayCache(time.Minute, 100)
	refused := 0
	for i := range 10_000 {
		if !c.Fresh("nhi_flood", fmt.Sprint(i), testNow) {
			refused++
		}
	}
	if refused != 9_900 {
		t.Errorf("%d of 10000 refused, want 9900", refused)
	}
	for i := range 1000 {
		if !c.Fresh(fmt.Sprint("nhi_", i), "p", testNow) {
			t.Fatalf("identity %d was refused for another's flood", i)
		}
	}
	if !c.Fresh("nhi_flood", "later", testNow.Add(5*time.Minute)) {
		t.Error("the sender stays refused after its proofs expired")
	}
}

func TestTheReplayCacheAdmitsOneOfManyAtOnce(t *testing.T) {
	c := NewReplayCache(0, 0)
	admitted := make(chan bool, 64)
	for range cap(admitted) {
		go func() { admitted <- c.Fresh("nhi_a", "same", testNow) }()
	}
	count := 0
	for range cap(admitted) {
		if <-admitted {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d of %d simultaneous showings were admitted, want 1", count, cap(admitted))
	}
}

func TestProverAndSignerHideTheirKeys(t *testing.T) {
	key := GenerateES256()
	p, s := NewProver(key), NewES256Signer(key, "JWT")
	secret, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%v %+v %#v %s %v %+v %#v %s", p, p, p, p, s, s, s, s)
	for _, form := range []string{fmt.Sprintf("%x", secret), new(big.Int).SetBytes(secret).String()} {
		if strings.Contains(out, form) {
			t.Errorf("a private key was printed: %s", out)
		}
	}
	if diff := cmp.Diff(p.JKT(), s.KID()); diff != "" {
		t.Errorf("two names for one key: %s", diff)
	}
}

func FuzzParseProof(f *testing.F) {
	key := GenerateES256()
	good := proofOf(f, key, proofHeader, proofBody)
	f.Add(good, testURL)
	f.Add(rfc9449Resource, "https://resource.example.org/protectedresource")
	f.Add("..", "::")
	f.Fuzz(func(t *testing.T, proof, url string) {
		got, err := ParseProof(proof, ProofWant{Method: "GET", URL: url, Now: testNow})
		if err == nil && (got.JKT == "" || got.JTI == "") {
			t.Errorf("accepted without a name or key: %+v", got)
		}
		if sameTarget(url, testURL) != sameTarget(testURL, url) && !strings.ContainsAny(url, "?#") {
			t.Errorf("the comparison of %q depends on the side", url)
		}
	})
}

func ExampleProver() {
	client := NewProver(GenerateES256())
	// The token was bound to the client's key when it was issued.
	token, bound := "eyJ…", client.JKT()

	header, err := client.Proof("GET", "https://api.example/orders?page=2", token)
	if err != nil {
		panic(err)
	}
	proof, err := ParseProof(header, ProofWant{Method: "GET", URL: "https://api.example/orders", AccessToken: token})
	replays := NewReplayCache(DefaultWindow, 0)
	fmt.Println(err, proof.JKT == bound, replays.Fresh(proof.JKT, proof.JTI, time.Now()), replays.Fresh(proof.JKT, proof.JTI, time.Now()))
	// Output: <nil> true true false
}
