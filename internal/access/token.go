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
	maxLife     = 365 * 24 * time.Hour
	defaultLife = 90 * 24 * time.Hour

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
		if !renew || created.Before(t.Expires) && t.Revoked.IsZero() && PermitsOf(t.Grants).MayEverywhere(Administer) {
			return first, nil
		}
	}
	minted := key.Mint(key.Token)
	if err := writeOwn(first.Path, minted.Reveal()+"\n"); err != nil {
		return first, fmt.Errorf("first administrator token: %w", err)
	}
	token := Token{KeyID: minted.ID, Verifier: minted.Verifier[:], Name: firstName, Loopback: true, Created: created, Expires: created.Add(firstLife), Grants: everywhere}
	identity := own(nhi.KindOperator, firstName, "", "first sign-in", created)
	token.Identity = identity.ID
	if err := s.c.Tokens.AddToken(ctx, token, identity, credentialOf(token)); err != nil {
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
	return slices.ContainsFunc(tokens, func(t Token) bool { return t.Name == firstName && at.Before(t.Expires) && t.Revoked.IsZero() }), nil
}

// first reports whether this is a first administrator token. Whatever else is
// called the same was made by somebody.
func (t *Token) first() bool {
	return t.Name == firstName && t.Loopback && t.Person == "" && t.Parent == ""
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

// credentialOf is how the inventory knows a token: as a key that expires, can
// leak, and is then contained like any other.
func credentialOf(t Token) nhi.Credential {
	return nhi.Credential{
		ID: nhi.NewCredentialID("muster", "access", t.KeyID), Identity: t.Identity, Kind: nhi.CredentialAPIKey, Provider: "muster", Account: "access",
		PublicID: t.KeyID, Verifier: t.Verifier, State: nhi.CredentialActive, Created: t.Created, Expires: t.Expires,
	}
}

// endFirst ends the first administrator tokens that are alive: somebody
// administers in a better way now.
func (s *Service) endFirst(ctx context.Context) ([]Token, error) {
	tokens, err := s.c.Tokens.Tokens(ctx)
	if err != nil {
		return nil, fmt.Errorf("end the first administrator token: %w", err)
	}
	var out []Token
	at := now()
	for _, t := range tokens {
		if t.Name != firstName || !at.Before(t.Expires) || !t.Revoked.IsZero() {
			continue
		}
		if err := s.c.Tokens.DropToken(ctx, t.KeyID, false, at); err != nil {
			return nil, fmt.Errorf("end the first administrator token: %w", err)
		}
		out = append(out, t)
	}
	return out, nil
}

// A NewToken says what operator token is wanted.
type NewToken struct {
	Name     string
	Owner    string        // who answers for it
	Life     time.Duration // 0: 90 days; at most a year
	Loopback bool          // good from this host only
	Grants   []Grant       // empty: those of its maker
	Rights   []Right       // empty: all that the roles allow
}

// MintToken makes an operator token for by. It never allows more than by does:
// asking for more is an error wrapping nhi.ErrDenied, and what by loses later
// the token loses too. A token that a token made makes none.
func (s *Service) MintToken(ctx context.Context, by Caller, n NewToken) (Token, key.Minted, error) {
	fail := func(err error) (Token, key.Minted, error) { return Token{}, key.Minted{}, err }
	if n.Life == 0 {
		n.Life = defaultLife
	}
	if n.Life < time.Minute || n.Life > maxLife {
		return fail(nhi.Invalidf("a token lives at least a minute and at most %v", maxLife))
	}
	if err := checkName("token", n.Name); err != nil {
		return fail(err)
	}
	if len(n.Grants) == 0 {
		n.Grants = by.Grants
	}
	if len(n.Grants) == 0 || len(n.Grants) > maxGrants {
		return fail(nhi.Invalidf("a token has 1 to %d roles", maxGrants))
	}
	for _, g := range n.Grants {
		if err := g.Check(); err != nil {
			return fail(err)
		}
	}
	for _, r := range n.Rights {
		if !slices.Contains(AllRights, r) {
			return fail(nhi.Invalidf("right %.40q: want some of %v", r, AllRights))
		}
	}
	wanted := PermitsOf(n.Grants)
	if len(n.Rights) > 0 {
		wanted = wanted.Only(n.Rights)
	}
	if len(wanted) == 0 || !by.Permits.Cover(wanted) {
		return fail(fmt.Errorf("mint token %s: it would allow more than you hold: %w", n.Name, nhi.ErrDenied))
	}
	if by.Token != "" {
		parent, err := s.c.Tokens.Token(ctx, by.Token)
		if err != nil {
			return fail(fmt.Errorf("mint token %s: %w", n.Name, err))
		}
		if parent.Parent != "" {
			return fail(fmt.Errorf("mint token %s: a token that was made by a token makes none: %w", n.Name, nhi.ErrDenied))
		}
	}
	if !s.minted.take(by.Person+"/"+by.Token, now()) {
		return fail(fmt.Errorf("mint token %s: too many at once: %w", n.Name, nhi.ErrBusy))
	}
	minted, created := key.Mint(key.Token), now()
	identity := own(nhi.KindOperator, n.Name, n.Owner, "operator token", created)
	token := Token{
		KeyID: minted.ID, Verifier: minted.Verifier[:], Name: n.Name, Identity: identity.ID, Loopback: n.Loopback, Created: created,
		Expires: created.Add(n.Life), Grants: n.Grants, Rights: n.Rights, Person: by.Person, Parent: by.Token,
	}
	if err := s.c.Tokens.AddToken(ctx, token, identity, credentialOf(token)); err != nil {
		return fail(fmt.Errorf("mint token %s: %w", n.Name, err))
	}
	return token, minted, nil
}

// Tokens returns the operator tokens, the newest first.
func (s *Service) Tokens(ctx context.Context) ([]Token, error) { return s.c.Tokens.Tokens(ctx) }

// DropToken ends an operator token at once, with the tokens that it made and
// the sessions that began with it.
func (s *Service) DropToken(ctx context.Context, keyID string) error {
	if err := s.c.Tokens.DropToken(ctx, keyID, true, now()); err != nil {
		return fmt.Errorf("drop token %s: %w", keyID, err)
	}
	return nil
}
