package client

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"
)

// An Option says more about one call.
type Option func(*call)

// A call is what one request carries beside its body, and what is kept of its
// reply beside the body.
type call struct {
	header   http.Header
	etag     *string
	replayed *bool
}

func callOf(options []Option) *call {
	c := &call{header: http.Header{}}
	for _, o := range options {
		o(c)
	}
	return c
}

// keep stores what the options ask for of a reply.
func (c *call) keep(h http.Header) {
	if c.etag != nil {
		*c.etag = h.Get("ETag")
	}
	if c.replayed != nil {
		*c.replayed = h.Get("Idempotency-Replayed") == "true"
	}
}

// IfMatch makes a change only if nobody changed the thing since its entity tag
// was read (RFC 9110, section 13.1.1); else the call fails with an error for
// which [IsStale] holds, and nothing is changed. An empty tag is no condition.
func IfMatch(etag string) Option {
	return func(c *call) {
		if etag != "" {
			c.header.Set("If-Match", etag)
		}
	}
}

// ReadETag stores the reply's entity tag, for [IfMatch]; empty if it has none.
// Things in lists carry their tag themselves.
func ReadETag(into *string) Option { return func(c *call) { c.etag = into } }

// IdempotencyKey makes a write happen once: whoever does not know whether a
// call arrived repeats it with the same key, within a day, and gets the answer
// of the first. The same key with another request is refused with status 422.
// What showed a secret the first time fails with status 409 and says what was
// made: the secret is not kept. [NewKey] makes a key.
func IdempotencyKey(key string) Option {
	return func(c *call) { c.header.Set("Idempotency-Key", key) }
}

// Replayed stores whether the reply is that of an earlier call with the same
// [IdempotencyKey].
func Replayed(into *bool) Option { return func(c *call) { c.replayed = into } }

// NewKey returns a key for [IdempotencyKey] that nobody else has.
func NewKey() string { return rand.Text() }

// A ListQuery says which part of a list is wanted. The zero value is the first
// page of the whole list.
type ListQuery struct {
	Filter    string `query:"filter"`     // terms that must all hold; see /docs/reference/filter of a server
	Order     string `query:"order"`      // a field; - before it for the largest or newest first
	Limit     int    `query:"limit"`      // rows of a page, up to 500; 0: 50
	PageToken string `query:"page_token"` // Next of the page before
}

// values encodes the fields of a query struct; zero ones are left out.
func values(query any) url.Values {
	out := url.Values{}
	encode(out, reflect.ValueOf(query))
	return out
}

func encode(into url.Values, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Tag.Get("query")
		switch {
		case v.Type().Field(i).Anonymous:
			encode(into, f)
		case f.IsZero() || name == "":
		default:
			into.Set(name, text(f))
		}
	}
}

func text(f reflect.Value) string {
	switch x := f.Interface().(type) {
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	case bool:
		return strconv.FormatBool(x)
	case int:
		return strconv.Itoa(x)
	case uint64:
		return strconv.FormatUint(x, 10)
	}
	return f.String()
}

// read gets one thing.
func read[T any](ctx context.Context, c *Client, path string, query url.Values, options ...Option) (out T, err error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	err = c.Do(ctx, http.MethodGet, path, "", nil, &out, options...)
	return out, err
}

// write sends one thing.
func write[T any](ctx context.Context, c *Client, method, path string, request any, options []Option) (out T, err error) {
	err = c.Send(ctx, method, path, request, &out, options...)
	return out, err
}

// at is a path with an id in it.
func at(before, id, behind string) string { return before + url.PathEscape(id) + behind }

// errEndless is that of a server whose pages lead to themselves.
var errEndless = errors.New("the server's list does not come to an end")

// pages goes through a list from the page that the query names to its end, one
// page at a time. An error ends it and is the last that is given.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		query := url.Values(http.Header(query).Clone())
		if query.Get("limit") == "" {
			query.Set("limit", "500")
		}
		for {
			page, err := read[Page[T]](ctx, c, path, query)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			switch page.Next {
			case "":
				return
			case query.Get("page_token"): // an empty page may have a next one: the filter matched nothing of it
				yield(none, errEndless)
				return
			}
			query.Set("page_token", page.Next)
		}
	}
}
