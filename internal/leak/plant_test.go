package leak

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/muster-id/muster/internal/key"
)

// Secrets for tests are made when they are needed: the repository holds none.

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

func draw(n int, digits string) string {
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(digits))))
		if err != nil {
			panic(err)
		}
		out[i] = digits[k.Int64()]
	}
	return string(out)
}

func newMuster(kind key.Kind) string { return key.Mint(kind).Reveal() }

func newGitHub(prefix string) string {
	body := draw(gitHubRandom, key.Alphabet)
	sum := base62CRC([]byte(body))
	return prefix + "_" + body + string(sum[:])
}

func newGitHubFine() string {
	return "github_pat_" + draw(22, key.Alphabet) + "_" + draw(59, key.Alphabet)
}

func newAWSID(prefix string) string {
	return prefix + draw(1, "ABCDEFGH") + draw(15, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
}

func newAWSSecret() string {
	for {
		// One in a thousand lacks a digit; that miss is measured elsewhere.
		if s := draw(awsSecretLength, base64Digits); randomSecret([]byte(s)) {
			return s
		}
	}
}

func newJWT() string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." +
		enc.EncodeToString([]byte(`{"iss":"github","exp":1800000000,"data":"`+draw(60, key.Alphabet)+`"}`)) + "." +
		enc.EncodeToString([]byte(draw(64, key.Alphabet)))
}

// keys are made once: drawing an RSA key takes a while.
var keys = sync.OnceValue(func() map[string]string {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	ec, err := x509.MarshalECPrivateKey(ecKey)
	check(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ecKey)
	check(err)
	public, err := x509.MarshalPKIXPublicKey(&ecKey.PublicKey)
	check(err)
	openssh, err := ssh.MarshalPrivateKey(edKey, "test")
	check(err)
	der := x509.MarshalPKCS1PrivateKey(rsaKey)
	noise := []byte(draw(600, key.Alphabet))
	text := func(label string, der []byte, headers map[string]string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der, Headers: headers}))
	}
	return map[string]string{
		"rsa":         text("RSA PRIVATE KEY", der, nil),
		"ec":          text("EC PRIVATE KEY", ec, nil),
		"pkcs8":       text("PRIVATE KEY", pkcs8, nil),
		"openssh":     string(pem.EncodeToMemory(openssh)),
		"locked":      text("ENCRYPTED PRIVATE KEY", noise, nil),
		"legacy":      text("RSA PRIVATE KEY", noise, map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,0011"}),
		"public":      text("PUBLIC KEY", public, nil),
		"certificate": text("CERTIFICATE", noise, nil),
	}
})

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A planted secret is the text that goes into a file and the rule that must
// find it.
type planted struct {
	rule   string
	text   string
	secret []byte // what Secret must return; nil for keys, whose form is normal PEM
	id     string
}

// plants makes one secret of every kind.
func plants() []planted {
	var out []planted
	add := func(rule, text string) { out = append(out, planted{rule: rule, text: text, secret: []byte(text)}) }
	for kind, rule := range map[key.Kind]string{
		key.API: "muster-key", key.Point: "muster-point-key", key.Source: "muster-source-key", key.Token: "muster-token",
	} {
		m := key.Mint(kind)
		out = append(out, planted{rule, m.Reveal(), []byte(m.Reveal()), m.ID})
	}
	for prefix, rule := range map[string]string{
		"ghp": "github-personal-token", "gho": "github-oauth-token", "ghu": "github-app-user-token",
		"ghs": "github-app-token", "ghr": "github-refresh-token",
	} {
		add(rule, newGitHub(prefix))
	}
	add("github-fine-grained-token", newGitHubFine())
	add("github-app-token", "ghs_"+newJWT())
	for _, name := range []string{"rsa", "ec", "pkcs8", "openssh"} {
		out = append(out, planted{rule: "private-key", text: keys()[name]})
	}
	for prefix, rule := range map[string]string{"AKIA": "aws-access-key", "ASIA": "aws-session-key"} {
		id, secret := newAWSID(prefix), newAWSSecret()
		out = append(out, planted{rule, "aws_access_key_id=" + id + " aws_secret_access_key=" + secret, []byte(secret), id})
	}
	return out
}

var template = regexp.MustCompile(`\{\{([a-z0-9 ]+?)((?: (?:AKIA|ASIA))?)\}\}`)

// expand replaces the templates of rule samples by fresh secrets.
func expand(t *testing.T, text string) string {
	return template.ReplaceAllStringFunc(text, func(s string) string {
		return value(t, strings.Fields(s[2:len(s)-2]))
	})
}

func value(t *testing.T, words []string) string {
	t.Helper()
	switch words[0] {
	case "base64":
		return base64.StdEncoding.EncodeToString([]byte(value(t, words[1:])))
	case "oneline":
		return strings.ReplaceAll(value(t, words[1:]), "\n", `\n`)
	case "muster":
		return newMuster(key.Kind(words[1]))
	case "github":
		if words[1] == "fine" {
			return newGitHubFine()
		}
		return newGitHub(words[1])
	case "aws":
		if words[1] == "secret" {
			return newAWSSecret()
		}
		return newAWSID(words[1])
	case "jwt":
		return newJWT()
	case "pem":
		if k := keys()[words[1]]; k != "" {
			return k
		}
	}
	t.Fatalf("unknown template %q", words)
	return ""
}

func newTestScanner(t testing.TB) *Scanner {
	t.Helper()
	s, err := NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scanAll(s *Scanner, data []byte) []*Match {
	var out []*Match
	s.Scan(data, func(m *Match) bool {
		out = append(out, m)
		return true
	})
	return out
}

func ruleIDs(ms []*Match) []string {
	out := []string{}
	for _, m := range ms {
		out = append(out, m.Rule)
	}
	return out
}

func TestTheSamplesOfEveryRuleHold(t *testing.T) {
	s := newTestScanner(t)
	for _, r := range s.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			if len(r.Samples.Positive) == 0 || len(r.Samples.Negative) == 0 {
				t.Fatal("a rule needs a positive and a negative sample")
			}
			count := func(sample string) (n int) {
				for _, m := range scanAll(s, []byte(expand(t, sample))) {
					if m.Rule == r.ID {
						n++
					}
				}
				return n
			}
			for _, sample := range r.Samples.Positive {
				if n := count(sample); n != 1 {
					t.Errorf("found %d times in %q, want 1", n, sample)
				}
			}
			for _, sample := range r.Samples.Negative {
				if n := count(sample); n != 0 {
					t.Errorf("found in %q", sample)
				}
			}
		})
	}
}

func TestEverySecretIsFoundWithItsPlaceAndValue(t *testing.T) {
	s := newTestScanner(t)
	for _, p := range plants() {
		t.Run(p.rule, func(t *testing.T) {
			data := []byte("first line\r\nsecond: " + p.text + "\nlast")
			got := scanAll(s, data)
			if len(got) != 1 || got[0].Rule != p.rule {
				t.Fatalf("found %v, want %s once", ruleIDs(got), p.rule)
			}
			m := got[0]
			if p.secret != nil && !bytes.Equal(m.Secret(), p.secret) {
				t.Error("Secret is not what was planted")
			}
			if p.id != "" && m.PublicID != p.id {
				t.Errorf("PublicID = %q, want %q", m.PublicID, p.id)
			}
			if m.Line != 2 || m.Column < len("second: ")+1 {
				t.Errorf("found at %d:%d", m.Line, m.Column)
			}
		})
	}
}
