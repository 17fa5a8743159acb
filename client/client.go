// Package client is Muster's public Go client: the request and reply types of
// the management API and a small client that speaks them.
//
// The types here are what the server serves; one mapping in the server turns
// its own vocabulary into them. Requests and replies are apart. A reply may
// gain fields in a later release, so decode it leniently.
//
// A [Client] is safe for concurrent use. Every call blocks until the reply is
// read, the context ends or the client's timeout passes. An answer that is
// not a success is an [*Error] (RFC 9457 problem details).
//
// There is a method for every operation of the server's description, named as
// its operationId. Lists have two: one that reads a page, and one that goes
// through all of them:
//
//	for i, err := range c.Identities(ctx, client.IdentityQuery{Unowned: true}) {
//
// A change can be made on the condition that nobody was faster ([IfMatch]), and
// a write repeated without happening twice ([IdempotencyKey]). [Client.Follow]
// reads the live stream and goes on where it was cut off.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxReply bounds what a reply may hold.
const maxReply = 64 << 20

// A Client calls one Muster server.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// New returns a client of the server at base, such as http://127.0.0.1:8700.
// token is an operator token, or the key of a source or point; it is sent
// only to base. Plain HTTP is accepted for loopback only.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("server address %q: want a URL such as http://127.0.0.1:8700", base)
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !loopback(u.Hostname()) {
			return nil, fmt.Errorf("server address %q: plain HTTP is for loopback only; use https", base)
		}
	default:
		return nil, fmt.Errorf("server address %q: want http or https", base)
	}
	return &Client{base: u, token: token, http: &http.Client{
		Timeout: 5 * time.Minute,
		// A redirect could carry the token elsewhere; the API has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// loopback reports whether a host is this machine: by address or as localhost. A
// name that begins like an address is somebody's else.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// WithTransport returns a client that sends through t, such as one that knows
// the authority of a server's certificate. Redirects are not followed and the
// timeout stays.
func (c *Client) WithTransport(t http.RoundTripper) *Client {
	out, h := *c, *c.http
	h.Transport = t
	out.http = &h
	return &out
}

// Error is a refusal by the server: problem details (RFC 9457).
type Error struct {
	Type   string `json:"type"` // where the server's documentation explains it
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"` // what is wrong and what to do
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"` // such as body.name
	} `json:"errors"`
	// RetryAfter is how long to wait before trying again; 0 when the server did
	// not say.
	RetryAfter time.Duration `json:"-"`
}

// Error says what the server said, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Detail != "" {
		b.WriteString(e.Detail)
	} else {
		b.WriteString(strings.ToLower(e.Title))
	}
	for _, p := range e.Errors {
		fmt.Fprintf(&b, "; %s", p.Message)
		if p.Location != "" {
			fmt.Fprintf(&b, " (%s)", p.Location)
		}
	}
	return b.String()
}

// IsStale reports whether err says that somebody else was faster: the condition
// of [IfMatch] does not hold any more. Read the thing again and decide anew.
func IsStale(err error) bool { return isStatus(err, http.StatusPreconditionFailed) }

func isStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// IsNotFound reports whether err is a refusal with status 404.
func IsNotFound(err error) bool { return isStatus(err, http.StatusNotFound) }

// Get reads path into reply. It is for routes that this release of the client
// has no method for, as are Send and Do.
func (c *Client) Get(ctx context.Context, path string, query url.Values, reply any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.Do(ctx, http.MethodGet, path, "", nil, reply)
}

// Send sends request as JSON with method to path and reads the answer into
// reply, which may be nil.
func (c *Client) Send(ctx context.Context, method, path string, request, reply any, options ...Option) error {
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("encode request to %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	return c.Do(ctx, method, path, "application/json", body, reply, options...)
}

// Do sends body as it is. The caller still owns body.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body io.Reader, reply any, options ...Option) error {
	said := callOf(options)
	res, err := c.send(ctx, method, path, contentType, "application/json", body, said)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return fmt.Errorf("read the reply of %s: %w", path, err)
	}
	if len(data) > maxReply {
		return fmt.Errorf("the reply of %s is over %d MB", path, maxReply>>20)
	}
	said.keep(res.Header)
	if reply == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, reply); err != nil {
		return fmt.Errorf("the reply of %s is not what a Muster server sends: %w", path, err)
	}
	return nil
}

// send sends a request and returns the answer, which is a success. The caller
// closes its body.
func (c *Client) send(ctx context.Context, method, path, contentType, accept string, body io.Reader, said *call) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	for name, v := range said.header {
		req.Header[name] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if contentType != "" && body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", accept)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach the server at %s: %w", c.base, err)
	}
	if res.StatusCode >= 300 {
		defer res.Body.Close()
		data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what there is of an explanation
		return nil, refusal(res, data)
	}
	return res, nil
}

func refusal(res *http.Response, data []byte) error {
	e := &Error{}
	if json.Unmarshal(data, e) != nil || (e.Detail == "" && e.Title == "") {
		e.Detail = strings.TrimSpace(string(data[:min(len(data), 300)]))
		e.Title = http.StatusText(res.StatusCode)
	}
	e.Status = res.StatusCode
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	return e
}

// A Page is one page of a list. Next is empty on the last page.
type Page[T any] struct {
	Items   []T    `json:"items"`
	Next    string `json:"next,omitempty" doc:"page_token of the next page; absent on the last one"`
	Total   int    `json:"total" doc:"how many there are in all, as far as they were counted"`
	AtLeast bool   `json:"at_least,omitempty" doc:"there are more than total"`
}
