package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// TokenFile is the file in the data folder that holds the first administrator
// token.
const TokenFile = "admin.token"

const (
	firstLife   = 24 * time.Hour
	maxLife     = 90 * 24 * time.Hour
	defaultLife = 8 * time.Hour

	firstName = "first administrator token"
)

// A First is what became of the first administrator token.
type First struct {
	Created bool        // now; else there were operator tokens before
	Path    string      // of its file
	Finding nhi.Finding // to be filed when it was created: a standing key is a risk
}

// FirstToken makes the first administrator token when the installation has
// never had an operator token, or, with renew, when none is alive. It lies in
// a file in dir that only its owner can read, works on loopback only and dies
// in 24 hours. A file that is there already was never the key to anything and
// is replaced.
func (s *Service) FirstToken(ctx context.Context, dir string, renew bool) (First, error) {
	first := First{Path: filepath.Join(dir, TokenFile)}
	tokens, err := s.c.Tokens.Tokens(ctx)
	if err != nil {
		return first, fmt.Errorf("first administrator token: %w", err)
	}
	created := now()
	for _, t := range tokens {
		if !renew || created.Before(t.Expires) {
			return first, nil
		}
	}
	minted := key.Mint(key.Token)
	if err := writeOwn(first.Path, minted.Reveal()+"\n"); err != nil {
		return first, fmt.Errorf("first administrator token: %w", err)
	}
	token := Token{KeyID: minted.ID, Verifier: minted.Verifier[:], Name: firstName, Loopback: true, Created: created, Expires: created.Add(firstLife)}
	identity := own(nhi.KindOperator, firstName, "", "first sign-in", created)
	token.Identity = identity.ID
	if err := s.c.Tokens.AddToken(ctx, token, identity); err != nil {
		return first, errors.Join(fmt.Errorf("first administrator token: %w", err), os.Remove(first.Path))
	}
	first.Created = true
	first.Finding = nhi.Finding{
		ID: nhi.FindingID("first-administrator-token", identity.ID, "", token.KeyID), Rule: "first-administrator-token",
		Title: "The first administrator token is alive", Severity: nhi.Medium, Score: 40, Status: nhi.Open, Identity: identity.ID,
		FirstSeen: created, LastSeen: created, DetectedAt: created, Count: 1,
		Sentence: "Whoever can read " + TokenFile + " in the data folder can administer Muster from this host until " + token.Expires.Format(time.RFC3339) + "; sign in, make your own access and remove it.",
	}
	return first, nil
}

// FirstAlive reports whether a first administrator token could still be used.
func (s *Service) FirstAlive(ctx context.Context) (bool, error) {
	tokens, err := s.c.Tokens.Tokens(ctx)
	if err != nil {
		return false, fmt.Errorf("look for a first administrator token: %w", err)
	}
	at := now()
	return slices.ContainsFunc(tokens, func(t Token) bool { return t.Name == firstName && at.Before(t.Expires) }), nil
}

// writeOwn creates a file for its owner only, and never follows or reuses one
// that is there.
func writeOwn(path, content string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// MintToken makes an operator token for a person or a client. A life of zero
// is 8 hours; the longest is 90 days. Loopback tokens work from this host only.
func (s *Service) MintToken(ctx context.Context, name, owner string, life time.Duration, loopback bool) (Token, key.Minted, error) {
	if life == 0 {
		life = defaultLife
	}
	if life < 0 || life > maxLife {
		return Token{}, key.Minted{}, nhi.Invalidf("an operator token lives at most %v", maxLife)
	}
	if err := checkName("token", name); err != nil {
		return Token{}, key.Minted{}, err
	}
	minted, created := key.Mint(key.Token), now()
	identity := own(nhi.KindOperator, name, owner, "operator token", created)
	token := Token{KeyID: minted.ID, Verifier: minted.Verifier[:], Name: name, Identity: identity.ID, Loopback: loopback, Created: created, Expires: created.Add(life)}
	if err := s.c.Tokens.AddToken(ctx, token, identity); err != nil {
		return Token{}, key.Minted{}, fmt.Errorf("mint token %s: %w", name, err)
	}
	return token, minted, nil
}

// DropToken ends an operator token at once.
func (s *Service) DropToken(ctx context.Context, keyID string) error {
	if err := s.c.Tokens.DropToken(ctx, keyID); err != nil {
		return fmt.Errorf("drop token %s: %w", keyID, err)
	}
	return nil
}
