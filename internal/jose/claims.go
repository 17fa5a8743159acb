package jose

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Claims are the registered claims of a token (RFC 7519, section 4.1), and the
// whole of them as JSON.
type Claims struct {
	Issuer    string    // iss
	Subject   string    // sub
	Audience  []string  // aud, also when the token has a single string
	Expires   time.Time // exp; zero if there is none, which Verify refuses
	NotBefore time.Time // nbf; zero if there is none
	IssuedAt  time.Time // iat; zero if there is none
	ID        string    // jti

	// Bound says that the token carries a cnf claim (RFC 7800): it must not
	// be honoured without proof of possession, even if the method is unknown
	// to us and both thumbprints below are empty.
	Bound bool
	JKT   string // cnf.jkt, a DPoP key's thumbprint (RFC 9449, section 6.1)
	X5T   string // cnf["x5t#S256"], a TLS certificate's (RFC 8705, section 3.1)

	// Raw is the JSON object. Names are unique, exact and at any depth valid.
	Raw json.RawMessage
}

// Decode unmarshals the claims into dst with encoding/json. Mind that it matches
// names without regard to case: for a claim that decides, use Text or Value.
func (c Claims) Decode(dst any) error {
	if err := json.Unmarshal(c.Raw, dst); err != nil {
		return fmt.Errorf("%w: claims of another shape", ErrMalformed)
	}
	return nil
}

// Value returns the raw JSON of the claim with exactly this name.
func (c Claims) Value(name string) (json.RawMessage, bool) {
	members, err := parseObject(c.Raw)
	if err != nil {
		return nil, false
	}
	raw, ok := members.get(name)
	return raw, ok
}

// Text returns the string claim with exactly this name, and false if there is
// none, if it is no string or holds control characters.
func (c Claims) Text(name string) (string, bool) {
	raw, ok := c.Value(name)
	if !ok {
		return "", false
	}
	s, err := text(name, raw)
	return s, err == nil
}

func parseClaims(segment string) (Claims, error) {
	raw, err := decode64(segment)
	if err != nil {
		return Claims{}, err
	}
	members, err := parseObject(raw)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	c := Claims{Raw: raw}
	if err := c.fill(members); err != nil {
		return Claims{}, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	return c, nil
}

func (c *Claims) fill(members object) (err error) {
	if c.Issuer, err = members.text("iss"); err != nil {
		return err
	}
	if c.Subject, err = members.text("sub"); err != nil {
		return err
	}
	if c.ID, err = members.name("jti"); err != nil {
		return err
	}
	if c.Audience, err = audience(members); err != nil {
		return err
	}
	if c.Expires, err = numericDate(members, "exp"); err != nil {
		return err
	}
	if c.NotBefore, err = numericDate(members, "nbf"); err != nil {
		return err
	}
	if c.IssuedAt, err = numericDate(members, "iat"); err != nil {
		return err
	}
	raw, bound := members.get("cnf")
	if !bound {
		return nil
	}
	c.Bound = true
	cnf, err := parseObject(raw)
	if err != nil {
		return fmt.Errorf("cnf: %w", err)
	}
	if c.JKT, err = cnf.name("jkt"); err != nil {
		return err
	}
	c.X5T, err = cnf.name("x5t#S256")
	return err
}

// audience reads aud, a string or a list of strings (RFC 7519, section 4.1.3).
func audience(members object) ([]string, error) {
	raw, ok := members.get("aud")
	if !ok {
		return nil, nil
	}
	if raw[0] == '[' {
		return members.texts("aud")
	}
	one, err := text("aud", raw)
	return []string{one}, err
}

// numericDate reads seconds since 1970, possibly with a fraction (RFC 7519,
// section 2), from 0 to the end of the year 9999.
func numericDate(members object, name string) (time.Time, error) {
	raw, ok := members.get(name)
	if !ok {
		return time.Time{}, nil
	}
	const last = 253402300799
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && n >= 0 && n <= last {
		return time.Unix(n, 0).UTC(), nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	// The raw text is checked too: ParseFloat reads "inf" and "0x1p3".
	if err != nil || raw[0] < '0' || raw[0] > '9' || !(f >= 0 && f <= last) {
		return time.Time{}, fmt.Errorf("%s is not a time", name)
	}
	seconds, fraction := math.Modf(f)
	return time.Unix(int64(seconds), int64(fraction*1e9)).UTC(), nil
}

// check compares the claims with what the caller demands.
func (c *Claims) check(opts Options) error {
	if opts.Issuer == "" || c.Issuer != opts.Issuer {
		return ErrIssuer
	}
	if !opts.AnyAudience && (opts.Audience == "" || !slices.Contains(c.Audience, opts.Audience)) {
		return ErrAudience
	}
	now := opts.Now
	if now.IsZero() {
		now = time.Now()
	}
	if opts.Statement {
		return c.checkStatement(opts, now)
	}
	switch {
	case c.Expires.IsZero():
		return fmt.Errorf("%w: it has no exp", ErrExpired)
	case !now.Before(c.Expires.Add(opts.Leeway)):
		return ErrExpired
	case c.NotBefore.After(now.Add(opts.Leeway)):
		return ErrNotYet
	case c.IssuedAt.After(now.Add(opts.Leeway)):
		return fmt.Errorf("%w: issued in the future", ErrNotYet)
	}
	start := c.IssuedAt
	if start.IsZero() {
		start = now
	}
	if opts.MaxLife > 0 && c.Expires.Sub(start) > opts.MaxLife {
		return ErrLifetime
	}
	return nil
}

// checkStatement checks the times of a token that has no end.
func (c *Claims) checkStatement(opts Options, now time.Time) error {
	switch {
	case !c.Expires.IsZero():
		return fmt.Errorf("%w: a statement has no exp", ErrType)
	case c.IssuedAt.IsZero():
		return fmt.Errorf("%w: it has no iat", ErrExpired)
	case c.IssuedAt.After(now.Add(opts.Leeway)):
		return fmt.Errorf("%w: issued in the future", ErrNotYet)
	case c.NotBefore.After(now.Add(opts.Leeway)):
		return ErrNotYet
	case !now.Before(c.IssuedAt.Add(opts.MaxLife + opts.Leeway)):
		return fmt.Errorf("%w: the statement is too old", ErrExpired)
	}
	return nil
}
