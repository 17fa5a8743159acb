package seal

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// WrapContext is what every wrapping is made for. It is no secret; a key
// service that can authenticate it (AWS KMS calls it the encryption context)
// refuses to unwrap for anything else, and writes it into its own log.
const WrapContext = "muster key file"

var (
	// ErrSealed means that the key file is sealed and nobody was given who
	// could open it.
	ErrSealed = errors.New("key file is sealed")

	// ErrUnwrap means that who was asked cannot open the key file: another
	// passphrase, another identity, another key, or a file that was changed.
	ErrUnwrap = errors.New("key file does not open")
)

// A Wrapper protects the one small key under which a key file is encrypted: by
// a passphrase, an age identity, a hardware token or a cloud's key service. It
// is asked once when the file is opened and once when the wrapping is changed,
// never on the way of a request.
type Wrapper interface {
	// Kind is the word for it in key files and settings, such as passphrase.
	Kind() string
	// Wrap protects 32 bytes. What it returns holds everything but the secret
	// that Unwrap needs; By is set by the caller.
	Wrap(ctx context.Context, key []byte, purpose string) (Wrapping, error)
	// Unwrap returns what Wrap was given. Its errors wrap ErrUnwrap when asking
	// again with the same secret cannot help, and never hold a secret; they say
	// which file or service was asked.
	Unwrap(ctx context.Context, w Wrapping, purpose string) ([]byte, error)
}

// A Wrapping says how the key of a key file is protected. It lies in the file
// in clear, and is authenticated together with what it protects.
type Wrapping struct {
	By      string            `json:"by"`               // kind of the wrapper
	KeyID   string            `json:"key_id,omitempty"` // which key, in the wrapper's own words
	Details map[string]string `json:"details,omitempty"`
	Wrapped []byte            `json:"wrapped"`
}

const (
	maxDetails = 16
	maxWrapped = 16 << 10
	maxWords   = 4 << 10
)

// check keeps what comes from the file within bounds, before a wrapper sees it.
func (w *Wrapping) check() error {
	if w.By == "" || len(w.By) > 32 || len(w.KeyID) > maxWords || len(w.Details) > maxDetails || len(w.Wrapped) == 0 || len(w.Wrapped) > maxWrapped {
		return fmt.Errorf("%w: its wrapping is out of bounds", ErrFile)
	}
	for name, value := range w.Details {
		if len(name) > 32 || len(value) > maxWords {
			return fmt.Errorf("%w: its wrapping is out of bounds", ErrFile)
		}
	}
	return nil
}

// A cover is the wrapping of an open key file and the key that it protects, so
// that a rotation needs neither passphrase nor token again.
type cover struct {
	wrapping Wrapping
	key      secret
}

// newCover wraps a fresh key and unwraps it again: a wrapping that does not
// open is found out before it replaces one that does.
func newCover(ctx context.Context, w Wrapper) (*cover, error) {
	key := newSecret()
	wrapping, err := w.Wrap(ctx, key[:], WrapContext)
	if err != nil {
		return nil, fmt.Errorf("seal by %s: %w", w.Kind(), err)
	}
	wrapping.By = w.Kind()
	if err := wrapping.check(); err != nil {
		return nil, fmt.Errorf("seal by %s: %w", w.Kind(), err)
	}
	again, err := w.Unwrap(ctx, wrapping, WrapContext)
	if err != nil {
		return nil, fmt.Errorf("seal by %s: what it wrapped it does not unwrap: %w", w.Kind(), err)
	}
	if subtle.ConstantTimeCompare(again, key[:]) != 1 {
		return nil, fmt.Errorf("seal by %s: what it wrapped it does not unwrap", w.Kind())
	}
	return &cover{wrapping, key}, nil
}

// openCover asks the wrapper of the right kind.
func openCover(ctx context.Context, wrapping Wrapping, wrappers []Wrapper) (*cover, error) {
	if err := wrapping.check(); err != nil {
		return nil, err
	}
	for _, w := range wrappers {
		if w.Kind() != wrapping.By {
			continue
		}
		key, err := w.Unwrap(ctx, wrapping, WrapContext)
		if err != nil {
			return nil, fmt.Errorf("sealed by %s: %w", wrapping.By, err)
		}
		if len(key) != keySize {
			return nil, fmt.Errorf("sealed by %s: %w: the key inside has %d bytes", wrapping.By, ErrUnwrap, len(key))
		}
		return &cover{wrapping, secret(key)}, nil
	}
	return nil, fmt.Errorf("%w by %s: say how to open it under keys.unlock in the configuration", ErrSealed, Label(wrapping))
}

// body encrypts what the file protects. The wrapping is authenticated with it:
// a body under another file's wrapping does not open.
func (c *cover) seal(plain []byte) []byte {
	nonce := make([]byte, nonceSize, nonceSize+len(plain)+tagSize)
	copy(nonce, random(nonceSize))
	return xaes(c.key[:], nonce[:12]).Seal(nonce, nonce[12:], plain, c.wrapping.additional())
}

func (c *cover) open(body []byte) ([]byte, error) {
	if len(body) < nonceSize+tagSize {
		return nil, fmt.Errorf("%w: its body is cut", ErrFile)
	}
	plain, err := xaes(c.key[:], body[:12]).Open(nil, body[12:nonceSize], body[nonceSize:], c.wrapping.additional())
	if err != nil {
		return nil, fmt.Errorf("%w: its body was changed", ErrUnwrap)
	}
	return plain, nil
}

// additional is the wrapping as one string of bytes. JSON of these types has
// one form: fields in their order, maps by key.
func (w *Wrapping) additional() []byte {
	text, err := json.Marshal(w)
	if err != nil {
		panic("seal: " + err.Error()) // plain strings and bytes
	}
	return append([]byte(WrapContext+" 2\x00"), text...)
}

// Label names a wrapping for a person: its kind and its key.
func Label(w Wrapping) string {
	if w.KeyID == "" {
		return w.By
	}
	return w.By + " (" + w.KeyID + ")"
}

// detail decodes one field of a wrapping.
func detail(w Wrapping, name string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(w.Details[name])
	if err != nil || len(b) == 0 || strings.TrimSpace(w.Details[name]) == "" {
		return nil, fmt.Errorf("%w: its wrapping says no %s", ErrFile, name)
	}
	return b, nil
}
