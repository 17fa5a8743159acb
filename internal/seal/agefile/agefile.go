// Package agefile is the door to age (https://age-encryption.org/v1), a small
// and well-kept format of encrypted files. Two things use it: [Identity] seals
// the key file by an age identity, and [Encrypt] and [Decrypt] protect a backup
// on its way through places that nobody trusts.
//
// What is encrypted to a recipient needs no secret where it is made: a server
// can write backups that only the holder of the identity, somewhere else, can
// read. A file of age is a sequence of authenticated pieces: a change anywhere,
// a cut, and pieces in another order are all errors of the reader.
package agefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/muster-id/muster/internal/seal"
)

const (
	maxFile = 64 << 10
	// 2^18 is some 250 MB of memory for a second; age's own files use that. A
	// hostile file may ask for no more.
	maxWorkFactor = 18
)

// workFactor is what our own files ask for. Tests set it lower: under the race
// detector one key would take half a minute.
var workFactor = maxWorkFactor

// An Identity opens what was encrypted to its recipients. It implements
// seal.Wrapper.
type Identity struct {
	path       string
	identities []age.Identity
	recipients []age.Recipient
	names      []string
}

// ReadIdentity reads a file of age identities, as age-keygen writes it. It
// refuses a file that everybody may read.
func ReadIdentity(path string) (*Identity, error) {
	text, err := seal.ReadSecret(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("age identity: %w", err)
	}
	defer clear(text)
	found, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		// The parser's own error may quote a line, which is the secret.
		return nil, fmt.Errorf("age identity: %s is no file of age identities: want lines such as age-keygen writes, which begin with AGE-SECRET-KEY-1", path)
	}
	id := &Identity{path: path, identities: found}
	for _, i := range found {
		var r interface {
			age.Recipient
			fmt.Stringer
		}
		switch i := i.(type) {
		case *age.X25519Identity:
			r = i.Recipient()
		case *age.HybridIdentity:
			r = i.Recipient()
		default:
			return nil, fmt.Errorf("age identity: %s holds an identity of a kind that cannot seal", path)
		}
		id.recipients = append(id.recipients, r)
		id.names = append(id.names, r.String())
	}
	return id, nil
}

// Kind implements seal.Wrapper.
func (*Identity) Kind() string { return "age" }

// Format hides the identity under every verb.
func (id *Identity) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "agefile.Identity("+id.path+")")
}

// Recipients are the public halves, as text.
func (id *Identity) Recipients() []string { return id.names }

// Wrap implements seal.Wrapper.
func (id *Identity) Wrap(_ context.Context, key []byte, purpose string) (seal.Wrapping, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, id.recipients...)
	if err != nil {
		return seal.Wrapping{}, err
	}
	// age authenticates no context of ours, so it goes inside.
	_, err = w.Write(append([]byte(purpose+"\x00"), key...))
	if err := errors.Join(err, w.Close()); err != nil {
		return seal.Wrapping{}, err
	}
	return seal.Wrapping{KeyID: shortened(id.names), Wrapped: out.Bytes()}, nil
}

// shortened names the recipients. Those that stand against quantum computers
// are 2,000 characters long.
func shortened(names []string) string {
	short := make([]string, 0, len(names))
	for _, n := range names {
		if len(n) > 80 {
			n = n[:77] + "..."
		}
		short = append(short, n)
	}
	return strings.Join(short[:min(len(short), 8)], ",")
}

// Unwrap implements seal.Wrapper.
func (id *Identity) Unwrap(_ context.Context, w seal.Wrapping, purpose string) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(w.Wrapped), id.identities...)
	if err != nil {
		return nil, fmt.Errorf("%w with the age identities of %s: it was sealed to %s", seal.ErrUnwrap, id.path, w.KeyID)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return nil, fmt.Errorf("%w: the wrapped key was changed", seal.ErrUnwrap)
	}
	key, ok := bytes.CutPrefix(plain, []byte(purpose+"\x00"))
	if !ok {
		return nil, fmt.Errorf("%w: it was wrapped for something else", seal.ErrUnwrap)
	}
	return key, nil
}

// A Lock says to whom, or to which passphrase, a file is encrypted. Exactly one
// of the two is set.
type Lock struct {
	Recipients []string // age1...
	Passphrase string   // at least seal.MinPassphrase bytes
}

// Encrypt returns a writer whose bytes reach to encrypted. Nothing is complete
// before Close, which leaves to open.
func Encrypt(to io.Writer, l Lock) (io.WriteCloser, error) {
	recipients, err := l.recipients()
	if err != nil {
		return nil, err
	}
	return age.Encrypt(to, recipients...)
}

// Check reports what is wrong with a lock.
func (l Lock) Check() error {
	_, err := l.recipients()
	return err
}

// Temporary is an identity that lives as long as the process: for a way between
// two machines that must not know the passphrase at its end.
func Temporary() (*Identity, error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	return &Identity{path: "memory", identities: []age.Identity{i}, recipients: []age.Recipient{i.Recipient()}, names: []string{i.Recipient().String()}}, nil
}

func (l Lock) recipients() ([]age.Recipient, error) {
	if (len(l.Recipients) == 0) == (l.Passphrase == "") {
		return nil, errors.New("want either recipients or a passphrase to encrypt to")
	}
	if l.Passphrase != "" {
		if len(l.Passphrase) < seal.MinPassphrase {
			return nil, fmt.Errorf("the passphrase has fewer than %d characters: take a longer one, such as six random words", seal.MinPassphrase)
		}
		r, err := age.NewScryptRecipient(l.Passphrase)
		if err != nil {
			return nil, err
		}
		r.SetWorkFactor(workFactor)
		return []age.Recipient{r}, nil
	}
	out := make([]age.Recipient, 0, len(l.Recipients))
	for _, text := range l.Recipients {
		found, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("%.80q is no age recipient: want one such as age1... (age-keygen -y FILE prints it)", text)
		}
		out = append(out, found[0])
	}
	return out, nil
}

// A Key opens what a Lock of the other half encrypted. Exactly one is set.
type Key struct {
	Identity   *Identity
	Passphrase string
}

// ErrKey means that a file was encrypted to somebody else, or to another
// passphrase, or is no file of age at all.
var ErrKey = errors.New("it does not open with what was given")

// Decrypt returns a reader of what from holds. A change or a cut shows as an
// error while reading, not before: trust nothing until the end was read.
func Decrypt(from io.Reader, k Key) (io.Reader, error) {
	var identities []age.Identity
	switch {
	case k.Identity != nil && k.Passphrase == "":
		identities = k.Identity.identities
	case k.Identity == nil && k.Passphrase != "":
		i, err := age.NewScryptIdentity(k.Passphrase)
		if err != nil {
			return nil, err
		}
		i.SetMaxWorkFactor(maxWorkFactor)
		identities = []age.Identity{i}
	default:
		return nil, errors.New("want either an identity or a passphrase to decrypt with")
	}
	r, err := age.Decrypt(from, identities...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return r, nil
}
