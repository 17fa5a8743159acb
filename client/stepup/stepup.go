// Package stepup lets a program that knows nothing of step-ups pass them: a
// [Transport] reads what a point says would unlock a request (RFC 9470), has a
// [Prover] prove it, and sends the request once more. It needs nothing but the
// standard library.
package stepup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Authentication context classes that a point asks for (RFC 9470, section 3).
const (
	ClassBound    = "urn:muster:acr:bound"    // a credential bound to a key, with a proof made for this request
	ClassAttested = "urn:muster:acr:attested" // a fresh attestation, exchanged for such a credential
)

// A Challenge is what a point says would unlock a request that it refused.
type Challenge struct {
	// Classes are what the evidence has to be, each of them; none is unknown here.
	Classes []string
	// MaxAge is how old an attestation may be; zero when the point does not say.
	MaxAge time.Duration
	// Audience is the origin that refused, scheme and host: evidence for it must
	// be good for nothing else.
	Audience string
	// Decision is the id of the decision, Reasons are the ids of the policies, and
	// Task is the approval that people were asked for, "" when nobody was. A proxy
	// such as nginx, which drops the body of a refusal, leaves them empty.
	Decision string
	Reasons  []string
	Task     string
}

// Bounds on what a refusal may say.
const (
	maxChallenge = 8 << 10
	maxRefusal   = 64 << 10
	maxStepAge   = 366 * 24 * time.Hour
)

// ChallengeOf reads what would unlock a request that a point refused, and whether
// the caller can do it by itself. That is a 401 with the error
// insufficient_user_authentication (RFC 9470, section 3) whose classes are all
// known; what cannot be read cannot be answered. A 403 on which people were asked
// has a Task and is not ok. The body of res can still be read.
func ChallengeOf(res *http.Response) (c Challenge, ok bool) {
	if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		return c, false
	}
	if r := res.Request; r != nil && r.URL != nil {
		c.Audience = r.URL.Scheme + "://" + r.URL.Host
	}
	c.refusal(res)
	return c, res.StatusCode == http.StatusUnauthorized && c.header(res.Header.Values("WWW-Authenticate"))
}

// refusal reads the body, and puts it back.
func (c *Challenge) refusal(res *http.Response) {
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || media != "application/json" || res.Body == nil {
		return
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	rest := io.Reader(res.Body)
	if err != nil {
		rest = unread{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), rest), res.Body}
	var said struct {
		Decision string   `json:"decision"`
		Reasons  []string `json:"reasons"`
		Task     *struct {
			ID string `json:"id"`
		} `json:"task"`
	}
	if json.Unmarshal(text, &said) != nil {
		return
	}
	c.Decision, c.Reasons = said.Decision, said.Reasons
	if said.Task != nil {
		c.Task = said.Task.ID
	}
}

// unread is the rest of a body that could not be read to its end.
type unread struct{ err error }

func (f unread) Read([]byte) (int, error) { return 0, f.err }

// header reads the challenges of a refusal. Two that ask for a step-up could be
// read in two ways, so neither is.
func (c *Challenge) header(values []string) bool {
	found := 0
	for _, value := range values {
		scheme, rest, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "DPoP") && !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		parameters, ok := parameters(rest)
		if !ok || parameters["error"] != "insufficient_user_authentication" {
			continue
		}
		found++
		c.Classes = strings.Fields(parameters["acr_values"])
		if text, there := parameters["max_age"]; there {
			seconds, err := strconv.ParseInt(text, 10, 64)
			if err != nil || seconds < 0 || seconds > int64(maxStepAge/time.Second) {
				return false
			}
			c.MaxAge = time.Duration(seconds) * time.Second
		}
	}
	unknown := func(class string) bool { return class != ClassBound && class != ClassAttested }
	return found == 1 && len(c.Classes) > 0 && !slices.ContainsFunc(c.Classes, unknown)
}

// parameters reads name=value and name="value" behind a scheme (RFC 9110, section
// 11.2). It is not ok when anything is left over, such as a second challenge, or
// when a name comes twice.
func parameters(text string) (map[string]string, bool) {
	out := map[string]string{}
	if len(text) > maxChallenge {
		return nil, false
	}
	for text = strings.Trim(text, " \t"); text != ""; {
		name, rest, ok := strings.Cut(text, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if _, twice := out[name]; !ok || twice || name == "" || strings.ContainsAny(name, " \t,\"") {
			return nil, false
		}
		value, rest, ok := parameter(strings.TrimLeft(rest, " \t"))
		if !ok {
			return nil, false
		}
		out[name] = value
		rest = strings.TrimLeft(rest, " \t")
		if rest != "" && rest[0] != ',' {
			return nil, false
		}
		text = strings.Trim(strings.TrimPrefix(rest, ","), " \t")
	}
	return out, true
}

func parameter(text string) (value, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " \t,\"")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], true
		case text[i] == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", false
}

// A Prover makes evidence. A local proxy that knows how to attest its workload is
// one.
type Prover interface {
	// Prove puts into r what c asks for, in the place of what r carried before:
	// Authorization, and DPoP with a proof for r's method and URL. It must check
	// that c.Audience is one that it wants to prove itself to. It may be called
	// concurrently, and should remember evidence as long as it is good: a service
	// that refuses everything is answered once for each request. After an error
	// the refusal stands.
	Prove(ctx context.Context, c Challenge, r *http.Request) error
}

// A Transport is a transport for programs that know nothing of step-ups: when a
// point refuses a request and says what would unlock it, it has new evidence
// made, and sends the request once more. It never sends one a third time. A
// request whose body cannot be had again ([http.Request.GetBody]) is not
// repeated, and neither is one that waits for people; then the refusal is the
// answer, for [ChallengeOf]. It is safe for concurrent use.
type Transport struct {
	Prover Prover
	Base   http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip implements http.RoundTripper. It does not change r.
func (s *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := s.Base
	if base == nil {
		base = http.DefaultTransport
	}
	res, err := base.RoundTrip(r)
	if err != nil || s.Prover == nil {
		return res, err
	}
	c, ok := ChallengeOf(res)
	if !ok {
		return res, nil
	}
	// Evidence is for where it is sent, even if whatever carries requests went
	// elsewhere by itself and was refused there.
	c.Audience = r.URL.Scheme + "://" + r.URL.Host
	again, ok := repeat(r)
	if !ok || s.Prover.Prove(r.Context(), c, again) != nil {
		if ok && again.Body != nil {
			_ = again.Body.Close() // nothing was read of it
		}
		return res, nil
	}
	// What is left of a refusal is read so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, res.Body, maxRefusal)
	_ = res.Body.Close()
	res, err = base.RoundTrip(again)
	if err != nil {
		return nil, fmt.Errorf("send the request again with new evidence: %w", err)
	}
	return res, nil
}

// repeat returns a copy of a request with its body from the beginning.
func repeat(r *http.Request) (*http.Request, bool) {
	again := r.Clone(r.Context())
	if r.Body == nil || r.Body == http.NoBody {
		return again, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, false
	}
	again.Body = body
	return again, true
}
