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
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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
		if h := u.Hostname(); h != "localhost" && h != "::1" && !strings.HasPrefix(h, "127.") {
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

// Error is a refusal by the server.
type Error struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
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
	if e.Status == http.StatusUnauthorized {
		b.WriteString("; give a token with --token-file FILE or MUSTER_TOKEN")
	}
	return b.String()
}

// IsNotFound reports whether err is a refusal with status 404.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Get reads path into reply.
func (c *Client) Get(ctx context.Context, path string, query url.Values, reply any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.Do(ctx, http.MethodGet, path, "", nil, reply)
}

// Send sends request as JSON with method to path and reads the answer into
// reply, which may be nil.
func (c *Client) Send(ctx context.Context, method, path string, request, reply any) error {
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("encode request to %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	return c.Do(ctx, method, path, "application/json", body, reply)
}

// Do sends body as it is. The caller still owns body.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body io.Reader, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return fmt.Errorf("request %s: %w", path, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if contentType != "" && body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach the server at %s: %w", c.base, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return fmt.Errorf("read the reply of %s: %w", path, err)
	}
	if len(data) > maxReply {
		return fmt.Errorf("the reply of %s is over %d MB", path, maxReply>>20)
	}
	if res.StatusCode >= 300 {
		return refusal(res.StatusCode, data)
	}
	if reply == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, reply); err != nil {
		return fmt.Errorf("the reply of %s is not what a Muster server sends: %w", path, err)
	}
	return nil
}

func refusal(status int, data []byte) error {
	e := &Error{}
	if json.Unmarshal(data, e) != nil || (e.Detail == "" && e.Title == "") {
		e.Detail = strings.TrimSpace(string(data[:min(len(data), 300)]))
		e.Title = http.StatusText(status)
	}
	e.Status = status
	return e
}

// A Page is one page of a list. Next is empty on the last page.
type Page[T any] struct {
	Items   []T    `json:"items"`
	Next    string `json:"next,omitempty" doc:"page_token of the next page; absent on the last one"`
	Total   int    `json:"total" doc:"how many there are in all, as far as they were counted"`
	AtLeast bool   `json:"at_least,omitempty" doc:"there are more than total"`
}
