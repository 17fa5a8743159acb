package signals

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/jose"
)

const (
	// MaxAge is how long ago a SET may have been issued to be taken: as long as
	// its jti is remembered.
	MaxAge = 7 * 24 * time.Hour

	// Leeway is what the clocks of two organisations may differ by.
	Leeway = time.Minute

	maxEvents = 8 // URIs in one SET
)

// A Token is a SET before it is signed, or once it is verified.
type Token struct {
	ID       string // jti
	Issuer   string
	Audience string // of a verified one: the one that was asked for
	IssuedAt time.Time
	Txn      string
	Subject  Subject
	// Event is what it says; its Subject is the token's. Of a verified token
	// whose events are not understood only Others says what they are.
	Event  Event
	Others []string
}

// claims are those of a SET (RFC 8417, section 2.2; SSF 1.0, section 4). There
// is no sub and no exp.
type claims struct {
	Issuer   string                    `json:"iss"`
	ID       string                    `json:"jti"`
	IssuedAt int64                     `json:"iat"`
	Audience string                    `json:"aud"`
	Txn      string                    `json:"txn,omitempty"`
	Subject  Subject                   `json:"sub_id"`
	Events   map[string]map[string]any `json:"events"`
}

// Claims returns what is to be signed, as JSON. The same token has one text.
func (t *Token) Claims() ([]byte, error) {
	b, err := json.Marshal(claims{
		Issuer: t.Issuer, ID: t.ID, IssuedAt: t.IssuedAt.Unix(), Audience: t.Audience, Txn: t.Txn, Subject: t.Subject,
		Events: map[string]map[string]any{t.Event.Type: t.Event.payload()},
	}, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encode signal %s: %w", t.ID, err)
	}
	return b, nil
}

// Want is what a receiver demands of a SET.
type Want struct {
	Issuer   string // byte for byte
	Audience string // must be among aud
	Now      time.Time
}

// Open verifies a SET and decodes it: algorithm (ES256, RS256), key, signature,
// typ, iss, aud, iat, the absence of exp and sub (SSF 1.0, section 4), and its
// one event. Nothing is believed before the signature is good. The error is a
// *Refusal. Whether the SET was seen before, and whether its issuer may speak
// about its subject, is the caller's to ask.
func Open(token string, keys jose.KeyFinder, want Want) (Token, error) {
	v, err := jose.Verify(token, keys, jose.Options{
		Types: []string{Type}, Issuer: want.Issuer, Audience: want.Audience, Now: want.Now, Leeway: Leeway, MaxLife: MaxAge, Statement: true,
	})
	if err != nil {
		return Token{}, explain(err)
	}
	switch {
	case v.ID == "" || !plain(v.ID, maxText):
		return Token{}, refuse(CodeRequest, "jti is missing, too long or not printable")
	case v.Bound:
		return Token{}, refuse(CodeRequest, "a security event token is not bound to a key")
	}
	if _, has := v.Value("sub"); has {
		return Token{}, refuse(CodeRequest, "sub must not be there, the subject is sub_id")
	}
	t := Token{ID: v.ID, Issuer: v.Issuer, Audience: want.Audience, IssuedAt: v.IssuedAt}
	if txn, ok := v.Text("txn"); ok && plain(txn, maxText) {
		t.Txn = txn
	}
	raw, ok := v.Value("sub_id")
	if !ok {
		return Token{}, refuse(CodeRequest, "sub_id is missing")
	}
	if t.Subject, err = ParseSubject(raw); err != nil {
		return Token{}, refuse(CodeRequest, "%v", err)
	}
	if raw, ok = v.Value("events"); !ok {
		return Token{}, refuse(CodeRequest, "events is missing")
	}
	if err := t.events(raw, want.Now); err != nil {
		return Token{}, refuse(CodeRequest, "%v", err)
	}
	return t, nil
}

// events reads the events of a SET. Several are names of the same one (SSF 1.0,
// section 4.2), so two that are understood contradict each other.
func (t *Token) events(raw []byte, now time.Time) error {
	var all map[string]jsontext.Value
	if err := json.Unmarshal(raw, &all); err != nil || len(all) == 0 || len(all) > maxEvents {
		return fmt.Errorf("events: not an object with 1 to %d events", maxEvents)
	}
	for uri, body := range all {
		if !Understood(uri) {
			t.Others = append(t.Others, uri)
			continue
		}
		if t.Event.Type != "" {
			return errors.New("events: more than one")
		}
		var err error
		if t.Event, err = parseEvent(uri, body); err != nil {
			return err
		}
		if t.Event.At.After(now.Add(Leeway)) {
			return errors.New("event: event_timestamp is in the future")
		}
	}
	t.Event.Subject = t.Subject
	return nil
}

// explain says in the codes of RFC 8935, section 2.4, why a token was refused.
func explain(err error) *Refusal {
	switch {
	case errors.Is(err, jose.ErrUnknownKey), errors.Is(err, jose.ErrKey):
		return refuse(CodeKey, "the key is not among those that the issuer publishes")
	case errors.Is(err, jose.ErrSignature):
		return refuse(CodeAuthentication, "the signature is wrong")
	case errors.Is(err, jose.ErrAlgorithm):
		return refuse(CodeKey, "the algorithm must be ES256 or RS256")
	case errors.Is(err, jose.ErrIssuer):
		return refuse(CodeIssuer, "iss is not the issuer that this endpoint listens to")
	case errors.Is(err, jose.ErrAudience):
		return refuse(CodeAudience, "aud does not name this receiver")
	case errors.Is(err, jose.ErrType):
		return refuse(CodeRequest, "typ must be secevent+jwt, and exp must not be there")
	case errors.Is(err, jose.ErrExpired), errors.Is(err, jose.ErrNotYet):
		return refuse(CodeRequest, "iat is missing, in the future or more than 7 days ago")
	}
	return refuse(CodeRequest, "it is no well-formed security event token")
}
