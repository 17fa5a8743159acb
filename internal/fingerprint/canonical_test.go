package fingerprint

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestCanonicalAWSIsTheSecretAlone(t *testing.T) {
	const secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, in := range []string{
		secret, " " + secret + "\r\n",
		"AKIAIOSFODNN7EXAMPLE:" + secret,
		"AKIAIOSFODNN7EXAMPLE\n" + secret + "\n",
		`ASIAIOSFODNN7EXAMPLE","` + secret,
	} {
		if got, err := Canonical(AWS, []byte(in)); err != nil || string(got) != secret {
			t.Errorf("Canonical(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := Canonical(AWS, []byte(" \n")); !errors.Is(err, ErrInput) {
		t.Errorf("white space: %v, want ErrInput", err)
	}
}

func TestOtherClassesAreExactBytes(t *testing.T) {
	for _, class := range []Class{Muster, GitHub, Opaque, "something-new"} {
		const in = " as it is\n"
		if got, err := Canonical(class, []byte(in)); err != nil || string(got) != in {
			t.Errorf("Canonical(%s) = %q, %v", class, got, err)
		}
	}
}

// keys returns one private key of each type, with its public half as SPKI.
func keys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"rsa": rsaKey, "p256": p256, "p384": p384, "ed25519": edKey}
}

// forms writes key in every PEM form its type has.
func forms(t testing.TB, key crypto.Signer) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	out["PKCS #8"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	block, err := ssh.MarshalPrivateKey(key, "somebody@example.com")
	if err != nil {
		t.Fatal(err)
	}
	out["OpenSSH"] = pem.EncodeToMemory(block)
	switch key := key.(type) {
	case *rsa.PrivateKey:
		out["PKCS #1"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	case *ecdsa.PrivateKey:
		if der, err = x509.MarshalECPrivateKey(key); err != nil {
			t.Fatal(err)
		}
		out["SEC 1"] = append(
			[]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
			pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	}
	return out
}

func TestAPrivateKeyHasOneCanonicalFormHoweverItIsWritten(t *testing.T) {
	for name, key := range keys(t) {
		want, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		for form, text := range forms(t, key) {
			for wrapping, value := range map[string][]byte{
				"as it is":     text,
				"CRLF":         bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
				"indented":     bytes.ReplaceAll(text, []byte("\n"), []byte("\n    ")),
				"in JSON":      bytes.ReplaceAll(text, []byte("\n"), []byte(`\n`)),
				"after a note": append([]byte("here is the key\n\n"), text...),
				"no last line": bytes.TrimSpace(text),
			} {
				got, err := Canonical(PEM, value)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s, %s: %v, canonical form differs from the SPKI", name, form, wrapping, err)
				}
			}
		}
	}
}

func TestWhatIsNoPrivateKeyHasNoCanonicalForm(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"plain text", []byte("no key here"), ErrInput},
		{"a public key", text("PUBLIC KEY", spki), ErrInput},
		{"damaged PKCS #1", text("RSA PRIVATE KEY", []byte{1}), ErrInput},
		{"damaged PKCS #8", text("PRIVATE KEY", []byte{1}), ErrInput},
		{"damaged SEC 1", text("EC PRIVATE KEY", []byte{1}), ErrInput},
		{"damaged OpenSSH", text("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")), ErrInput},
		{"encrypted PKCS #8", text("ENCRYPTED PRIVATE KEY", []byte{1}), ErrEncrypted},
		{"encrypted PKCS #1", []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"), ErrEncrypted},
		{"encrypted OpenSSH", pem.EncodeToMemory(locked), ErrEncrypted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Canonical(PEM, tt.in); !errors.Is(err, tt.want) {
				t.Errorf("Canonical = %x, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// A forger who has only a victim's public key must not be able to write a
// "leaked private key" that matches the victim's.
func TestForgedKeyFileAroundAPublicKeyIsRefused(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, own, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// OpenSSH keeps seed and public key side by side.
	forged := append(bytes.Clone(own.Seed()), public...)
	block, err := ssh.MarshalPrivateKey(ed25519.PrivateKey(forged), "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Canonical(PEM, pem.EncodeToMemory(block)); !errors.Is(err, ErrInput) {
		t.Errorf("ed25519 in OpenSSH form: %x, %v; want ErrInput", got, err)
	}

	victim, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	attacker, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	mixed := *attacker
	mixed.PublicKey = victim.PublicKey
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(&mixed)})
	if got, err := Canonical(PEM, text); !errors.Is(err, ErrInput) {
		t.Errorf("rsa in PKCS #1 form: %d bytes, %v; want ErrInput", len(got), err)
	}
}

func FuzzCanonicalPEM(f *testing.F) {
	for name, key := range keys(f) {
		if name == "rsa" {
			continue // slow to parse, and the forms are the same
		}
		for _, text := range forms(f, key) {
			f.Add(text)
			f.Add([]byte(strings.ReplaceAll(string(text), "\n", `\n`)))
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := Canonical(PEM, value)
		if err != nil {
			if !errors.Is(err, ErrInput) && !errors.Is(err, ErrEncrypted) {
				t.Errorf("unexpected kind of error: %v", err)
			}
			return
		}
		if _, err := x509.ParsePKIXPublicKey(got); err != nil {
			t.Errorf("canonical form is no SPKI: %v", err)
		}
	})
}
