package awskms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/seal"
)

const (
	arn    = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// The test suite that AWS publishes for Signature Version 4: get-vanilla and
// post-vanilla. They have no content type and one x-amz header.
func TestSignatureVersion4Vectors(t *testing.T) {
	for method, want := range map[string]string{
		http.MethodGet:  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		http.MethodPost: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
	} {
		r, err := http.NewRequest(method, "https://example.amazonaws.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		sign(r, nil, credentials{id: keyID, secret: secret}, "us-east-1", "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
		want = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + want
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", method, got, want)
		}
	}
}

// kms is a double of AWS KMS: one key, real encryption, and a signature that
// must be right. What it cannot show is how the real one differs from it.
type kms struct {
	t     *testing.T
	aead  cipher.AEAD
	fail  atomic.Int32 // answer this many requests with 503
	deny  string       // refuse everything by this name
	calls atomic.Int32
}

func newKMS(t *testing.T) (*kms, *Key) {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	k := &kms{t: t}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "credentials")
	text := "[other]\naws_access_key_id = no\naws_secret_access_key = no\n[default]\naws_access_key_id = " + keyID + "\naws_secret_access_key=" + secret + "\naws_session_token = session\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	asked, err := New(Settings{Key: arn, CredentialsFile: file, Endpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	asked.pause = time.Millisecond
	return k, asked
}

func (k *kms) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.calls.Add(1)
	refuse := func(status int, name string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.kms#`+name+`","message":"<b>hostile</b>"}`)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		k.t.Error(err)
	}
	if k.fail.Add(-1) >= 0 {
		refuse(http.StatusServiceUnavailable, "KMSInternalException")
		return
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.Path, nil)
	if err != nil {
		k.t.Error(err)
		return
	}
	again.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	again.Header.Set("X-Amz-Target", r.Header.Get("X-Amz-Target"))
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		refuse(http.StatusForbidden, "RequestExpired")
		return
	}
	sign(again, body, credentials{keyID, secret, "session"}, "eu-central-1", "kms", at)
	if subtle.ConstantTimeCompare([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) != 1 {
		refuse(http.StatusBadRequest, "InvalidSignatureException")
		return
	}
	if k.deny != "" {
		refuse(http.StatusBadRequest, k.deny)
		return
	}
	var in struct {
		KeyId                     string //revive:disable-line the name in the protocol
		Plaintext, CiphertextBlob []byte
		EncryptionContext         map[string]string
	}
	if json.Unmarshal(body, &in) != nil || in.KeyId != arn {
		refuse(http.StatusBadRequest, "NotFoundException")
		return
	}
	context, _ := json.Marshal(in.EncryptionContext)
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.Encrypt":
		nonce := make([]byte, 12)
		rand.Read(nonce)
		_ = json.NewEncoder(w).Encode(map[string]any{"CiphertextBlob": k.aead.Seal(nonce, nonce, in.Plaintext, context)})
	case "TrentService.Decrypt":
		if len(in.CiphertextBlob) < 12 {
			refuse(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
		plain, err := k.aead.Open(nil, in.CiphertextBlob[:12], in.CiphertextBlob[12:], context)
		if err != nil {
			refuse(http.StatusBadRequest, "InvalidCiphertextException")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Plaintext": plain})
	default:
		refuse(http.StatusBadRequest, "UnknownOperationException")
	}
}

func TestAKeyServiceSealsAndOpensAKeyFile(t *testing.T) {
	service, key := newKMS(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := seal.Open(t.Context(), path, key)
	if err != nil {
		t.Fatal(err)
	}
	service.fail.Store(2) // busy for a moment
	again, err := seal.Open(t.Context(), path, key)
	if err != nil || !bytes.Equal(k.Derive("x", 32), again.Derive("x", 32)) {
		t.Fatalf("opened again: %v", err)
	}
	before := service.calls.Load()
	if err := again.Rotate(); err != nil {
		t.Fatal(err)
	}
	if service.calls.Load() != before {
		t.Error("a rotation asked the key service")
	}
}

func TestAWrappedKeyOpensForItsPurposeAndItsKeyOnly(t *testing.T) {
	_, key := newKMS(t)
	w, err := key.Wrap(t.Context(), make([]byte, 32), "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Unwrap(t.Context(), w, "two"); !errors.Is(err, seal.ErrUnwrap) {
		t.Errorf("for another purpose: %v, want ErrUnwrap", err)
	}
	w.KeyID = strings.Replace(arn, "1111", "9999", 1)
	if _, err := key.Unwrap(t.Context(), w, "one"); !errors.Is(err, seal.ErrUnwrap) || !strings.Contains(err.Error(), "9999") {
		t.Errorf("a file that chooses its own key: %v, want ErrUnwrap naming it", err)
	}
}

func TestAnUnreachableOrUnwillingServiceIsAClearError(t *testing.T) {
	service, key := newKMS(t)
	service.fail.Store(attempts)
	if _, err := key.Wrap(t.Context(), make([]byte, 32), "x"); err == nil || !strings.Contains(err.Error(), "503") || service.calls.Load() != attempts {
		t.Errorf("a service that is down: %v after %d calls", err, service.calls.Load())
	}
	service.fail.Store(0)
	service.deny = "AccessDeniedException"
	_, err := key.Wrap(t.Context(), make([]byte, 32), "x")
	if err == nil || !strings.Contains(err.Error(), "kms:Encrypt") || strings.Contains(err.Error(), "hostile") || strings.Contains(err.Error(), secret) {
		t.Errorf("a service that denies: %v, want what to allow, without its text", err)
	}
	service.deny = strings.Repeat("x", 100) + "<script>"
	if _, err = key.Wrap(t.Context(), make([]byte, 32), "x"); err == nil || strings.Contains(err.Error(), "script") {
		t.Errorf("a service with a hostile name for its error: %v", err)
	}
}

func TestWrongCredentialsAreRefusedByTheDouble(t *testing.T) {
	_, key := newKMS(t)
	if err := os.WriteFile(key.set.CredentialsFile, []byte("[default]\naws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := key.Wrap(t.Context(), make([]byte, 32), "x"); err == nil || !strings.Contains(err.Error(), "InvalidSignature") {
		t.Errorf("Wrap = %v, want a refused signature: the double must be able to refuse", err)
	}
}

func TestSettingsThatCannotWork(t *testing.T) {
	for name, s := range map[string]Settings{
		"no key": {CredentialsFile: "x"}, "an id instead of an ARN": {Key: "alias/muster", CredentialsFile: "x"}, "no credentials": {Key: arn},
		"plain HTTP elsewhere": {Key: arn, CredentialsFile: "x", Endpoint: "http://kms.example.com"}, "an endpoint with a path": {Key: arn, CredentialsFile: "x", Endpoint: "https://x/y"},
		"a region that leads elsewhere": {Key: "arn:aws:kms:evil.example/:111122223333:key/x", CredentialsFile: "x"},
	} {
		if _, err := New(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	k, err := New(Settings{Key: strings.Replace(arn, "arn:aws:", "arn:aws-cn:", 1), CredentialsFile: "x"})
	if err != nil || k.url != "https://kms.eu-central-1.amazonaws.com.cn/" {
		t.Errorf("url = %v, %v", k, err)
	}
	for name, text := range map[string]string{"no section": "aws_access_key_id=a\naws_secret_access_key=b\n", "half": "[default]\naws_access_key_id=a\n", "empty": ""} {
		file := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readCredentials(file, ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
