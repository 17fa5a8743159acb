package frame

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

// ListQuery is what every list understands. It is exported because the
// framework fills in only what is.
type ListQuery struct {
	Filter    string `query:"filter" maxLength:"2048" doc:"terms that must all hold, such as kind:iam-user -owner:* risk>=50; see /docs/reference/filter"`
	Order     string `query:"order" maxLength:"64" doc:"a field of the list; - before it for the largest or newest first"`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"rows of a page"`
	PageToken string `query:"page_token" maxLength:"8192" doc:"next of the page before, with the same filter and order"`
}

// A Place is where a page ended: what a page token carries. Position and query
// are signed, so that a token of another list, of another filter, or one that
// was made up, is refused instead of showing something else.
type Place struct {
	Version int    `json:"v"`
	Query   []byte `json:"q"`           // digest of list, filter, order and what else narrows
	At      int64  `json:"t"`           // when the first page was asked for: ages count from it
	Text    string `json:"s,omitempty"` // the last row's place in the order
	Number  int64  `json:"n,omitempty"`
	ID      string `json:"i,omitempty"`
	Total   int    `json:"c,omitempty"` // counted for the first page
	AtLeast bool   `json:"m,omitempty"`
}

const placeVersion = 1

// A Query is a list's request, read and checked.
type Query struct {
	Expr  filter.Expr
	Order filter.Order
	Limit int
	From  Place // zero ID: the first page

	key []byte
}

// Read checks a list's request. narrowed names whatever else narrows the list.
func (s *Frame) Read(l *filter.Language, in ListQuery, narrowed ...string) (*Query, error) {
	h := sha256.New()
	for _, part := range append([]string{l.List, in.Filter, in.Order}, narrowed...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	q := &Query{Limit: in.Limit, From: Place{Version: placeVersion, Query: h.Sum(nil)[:16], At: time.Now().UnixMicro()}, key: s.Key}
	if q.Limit == 0 {
		q.Limit = 50
	}
	if in.PageToken != "" {
		if err := q.resume(in.PageToken); err != nil {
			return nil, err
		}
	}
	var err error
	if q.Expr, err = l.Parse(in.Filter, time.UnixMicro(q.From.At)); err != nil {
		return nil, err
	}
	q.Order, err = l.ParseOrder(in.Order)
	return q, err
}

// First reports whether the first page is asked for.
func (q *Query) First() bool { return q.From.ID == "" }

// resume takes up where a token says.
func (q *Query) resume(token string) error {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < tagSize || !hmac.Equal(raw[:tagSize], q.tag(raw[tagSize:])) {
		return nhi.Invalidf("page_token is not one that this server gave; begin again without it")
	}
	var p Place
	switch err := json.Unmarshal(raw[tagSize:], &p); {
	case err != nil || p.Version != placeVersion:
		return nhi.Invalidf("page_token is one of another release; begin again without it")
	case !hmac.Equal(p.Query, q.From.Query):
		return nhi.Invalidf("page_token belongs to another list, filter or order; begin again without it")
	}
	q.From = p
	return nil
}

const tagSize = 16

func (q *Query) tag(body []byte) []byte {
	m := hmac.New(sha256.New, q.key)
	m.Write(body)
	return m.Sum(nil)[:tagSize]
}

// Next returns the token of the page behind a row.
func (q *Query) Next(text string, number int64, id string) string {
	p := q.From
	p.Text, p.Number, p.ID = text, number, id
	body, err := json.Marshal(p)
	if err != nil {
		return "" // a place always encodes
	}
	return base64.RawURLEncoding.EncodeToString(append(q.tag(body), body...))
}

// Counted puts a first page's total into the page and into its token.
func (q *Query) Counted(total int, atLeast bool) { q.From.Total, q.From.AtLeast = total, atLeast }

// With adds a condition that a parameter of its own states.
func (q *Query) With(l *filter.Language, field string, values ...string) {
	f, ok := l.Field(field)
	if !ok {
		return
	}
	t := filter.Term{Field: f, Op: filter.Is}
	for _, v := range values {
		value := filter.Value{Text: v}
		if f.Kind == filter.Flag && v == "true" {
			value.Number = 1
		}
		t.Values = append(t.Values, value)
	}
	q.Expr.Terms = append(q.Expr.Terms, t)
}

// Without adds the condition that a field has no value.
func (q *Query) Without(l *filter.Language, field string) {
	if f, ok := l.Field(field); ok {
		q.Expr.Terms = append(q.Expr.Terms, filter.Term{Field: f, Op: filter.Present, Not: true})
	}
}

// Words adds bare words.
func (q *Query) Words(text string) {
	fields := strings.Fields(text)
	for _, w := range fields[:min(len(fields), filter.MaxTerms)] {
		q.Expr.Terms = append(q.Expr.Terms, filter.Term{Op: filter.Bare, Values: []filter.Value{{Text: strings.ToValidUTF8(strings.ReplaceAll(w, "\x00", ""), "")}}})
	}
}

// NewKey returns the key that page tokens are signed with: the one that was
// set, or one that dies with the process.
func NewKey(set []byte) []byte {
	if len(set) >= 16 {
		return slices.Clone(set)
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return key
}

// Part is the query as a store takes it.
func (q *Query) Part(ctx context.Context) filter.Part {
	return filter.Part{
		Expr: q.Expr, Within: Within(ctx), Order: q.Order, Limit: q.Limit, Count: q.First(),
		After: filter.Position{Text: q.From.Text, Number: q.From.Number, ID: q.From.ID},
	}
}

// Shorts adds what parameters say that are short for terms.
func (q *Query) Shorts(l *filter.Language, fields map[string]string) {
	for field, v := range fields {
		if v != "" {
			q.With(l, field, v)
		}
	}
}
