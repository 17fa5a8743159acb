// Package awskms seals the key file by a key of AWS KMS: the small key under
// which the file is encrypted goes to KMS once when it is sealed (Encrypt) and
// once at each start (Decrypt), and KMS decides by its own policy, and logs, who
// may open it. The key of KMS never leaves it.
//
// It speaks KMS's JSON protocol itself, signed with Signature Version 4: two
// calls do not need a vendor's kit. Access keys come from a file in the form of
// ~/.aws/credentials; roles of instances and containers are not asked.
package awskms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/telemetry"
)

// Settings say which key wraps and who asks for it.
type Settings struct {
	// Key is the ARN of the key, or of an alias of it.
	Key string `yaml:"key" example:"arn:aws:kms:eu-central-1:111122223333:alias/muster"`
	// CredentialsFile holds aws_access_key_id and aws_secret_access_key, and
	// aws_session_token for short-lived ones, in the form of ~/.aws/credentials.
	CredentialsFile string `yaml:"credentials_file" unit:"file" example:"/etc/muster/aws"`
	// Profile is the section of the file. Empty: default.
	Profile string `yaml:"profile" example:"muster"`
	// Endpoint is a private endpoint of KMS. Empty: the region's own.
	Endpoint string `yaml:"endpoint" unit:"URL" example:"https://vpce-1a2b.kms.eu-central-1.vpce.amazonaws.com"`
}

const (
	maxAnswer = 64 << 10
	patience  = 15 * time.Second
	attempts  = 3
)

var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]{1,32}):[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]{1,256}$`)

// A Key is a key of KMS. It implements seal.Wrapper.
type Key struct {
	set    Settings
	region string
	url    string
	client *http.Client
	pause  time.Duration // before a second attempt
}

// New returns the key of the settings. It reads no file and asks nobody yet.
func New(s Settings) (*Key, error) {
	m := keyARN.FindStringSubmatch(s.Key)
	if m == nil {
		return nil, fmt.Errorf("aws_kms: key %.80q: want the ARN of a key or alias, arn:aws:kms:REGION:ACCOUNT:key/ID", s.Key)
	}
	if s.CredentialsFile == "" {
		return nil, errors.New("aws_kms: credentials_file is missing: the file with aws_access_key_id and aws_secret_access_key")
	}
	k := &Key{set: s, region: m[1], url: "https://kms." + m[1] + domain(s.Key) + "/", pause: time.Second}
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
			return nil, fmt.Errorf("aws_kms: endpoint %.80q: want a URL such as https://kms.internal.example.com", s.Endpoint)
		}
		if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("aws_kms: endpoint %.80q: plain HTTP is for loopback only", s.Endpoint)
		}
		k.url = u.Scheme + "://" + u.Host + "/"
	}
	// A key service does not send us elsewhere.
	k.client = &http.Client{Timeout: patience, Transport: telemetry.Transport(nil, "kms"), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return k, nil
}

// domain is the suffix of a partition's hosts.
func domain(arn string) string {
	if strings.HasPrefix(arn, "arn:aws-cn:") {
		return ".amazonaws.com.cn"
	}
	return ".amazonaws.com"
}

// Kind implements seal.Wrapper.
func (*Key) Kind() string { return "aws-kms" }

// purposeKey is the name in the encryption context.
const purposeKey = "muster:purpose"

// Wrap implements seal.Wrapper by KMS's Encrypt.
func (k *Key) Wrap(ctx context.Context, key []byte, purpose string) (seal.Wrapping, error) {
	var out struct{ CiphertextBlob []byte }
	err := k.call(ctx, "Encrypt", map[string]any{"KeyId": k.set.Key, "Plaintext": key, "EncryptionContext": map[string]string{purposeKey: purpose}}, &out)
	if err != nil {
		return seal.Wrapping{}, err
	}
	return seal.Wrapping{KeyID: k.set.Key, Wrapped: out.CiphertextBlob}, nil
}

// Unwrap implements seal.Wrapper by KMS's Decrypt. The key of the settings is
// asked, whatever the file names: a file must not choose who decrypts it.
func (k *Key) Unwrap(ctx context.Context, w seal.Wrapping, purpose string) ([]byte, error) {
	if w.KeyID != k.set.Key {
		return nil, fmt.Errorf("%w with %s: it was sealed by %s", seal.ErrUnwrap, k.set.Key, w.KeyID)
	}
	var out struct{ Plaintext []byte }
	err := k.call(ctx, "Decrypt", map[string]any{"KeyId": k.set.Key, "CiphertextBlob": w.Wrapped, "EncryptionContext": map[string]string{purposeKey: purpose}}, &out)
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

// call asks KMS, again after a while when it was not there or busy.
func (k *Key) call(ctx context.Context, operation string, in, out any) error {
	who, err := readCredentials(k.set.CredentialsFile, k.set.Profile)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("ask AWS KMS: %w", err)
	}
	defer clear(body)
	for attempt := 1; ; attempt++ {
		again, err := k.once(ctx, who, operation, body, out)
		if err == nil || !again || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(k.pause):
		}
	}
}

func (k *Key) once(ctx context.Context, who credentials, operation string, body []byte, out any) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.url, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("ask AWS KMS: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	sign(r, body, who, k.region, "kms", time.Now())
	answer, err := k.client.Do(r)
	if err != nil {
		return true, fmt.Errorf("ask AWS KMS at %s to %s: %w", k.url, strings.ToLower(operation), err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil || len(text) > maxAnswer {
		return true, fmt.Errorf("ask AWS KMS at %s to %s: its answer is cut or over %d bytes", k.url, strings.ToLower(operation), maxAnswer)
	}
	defer clear(text)
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests, k.refused(operation, answer.StatusCode, text)
	}
	if json.Unmarshal(text, out) != nil {
		return false, fmt.Errorf("ask AWS KMS at %s to %s: its answer is not what KMS answers", k.url, strings.ToLower(operation))
	}
	return false, nil
}

// word is the form of the names of KMS's errors; anything else is not repeated.
var word = regexp.MustCompile(`^[A-Za-z]{1,64}$`)

func (k *Key) refused(operation string, status int, text []byte) error {
	var e struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal(text, &e) // without a name the status must do
	name := e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	if !word.MatchString(name) {
		name = "no reason"
	}
	err := fmt.Errorf("AWS KMS refuses to %s with %s: status %d, %s", strings.ToLower(operation), k.set.Key, status, name)
	switch name {
	case "InvalidCiphertextException", "IncorrectKeyException":
		return fmt.Errorf("%w: %w", seal.ErrUnwrap, err)
	case "AccessDeniedException":
		return fmt.Errorf("%w: allow kms:%s on the key to whom %s belongs", err, operation, k.set.CredentialsFile)
	}
	return err
}
