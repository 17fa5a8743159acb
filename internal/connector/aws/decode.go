package aws

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// Limits of a file. An account at all of IAM's quotas stays well below.
const (
	maxFile  = 512 << 20
	maxItem  = 2 << 20
	maxDepth = 64
)

// A bounded reader fails when a file, or one item in it, is too large: an item
// must fit into memory.
type bounded struct {
	r     io.Reader
	total int64
	item  int64 // read since the item began
	over  error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.total += int64(n)
	b.item += int64(n)
	switch {
	case b.total > maxFile:
		b.over = fmt.Errorf("file is larger than %d MB: %w", maxFile>>20, nhi.ErrTooLarge)
	case b.item > 2*maxItem: // the decoder reads ahead
		b.over = fmt.Errorf("one value is larger than %d MB: %w", maxItem>>20, nhi.ErrTooLarge)
	}
	if b.over != nil {
		return 0, b.over
	}
	return n, err
}

// A stream reads a file of JSON objects item by item.
type stream struct {
	name string
	in   *bounded
	dec  *json.Decoder
}

// openBounded returns the content without a byte order mark, and refuses what
// is plainly another encoding.
func openBounded(f connector.File) (*bufio.Reader, *bounded, error) {
	in := &bounded{r: f.Reader}
	r := bufio.NewReaderSize(in, 64<<10)
	head, err := r.Peek(3)
	if err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	switch {
	case len(head) == 0:
		return nil, nil, nhi.Invalidf("%s: the file is empty", f.Name)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return nil, nil, nhi.Invalidf("%s: the file is UTF-16 (PowerShell's > writes that): save it as UTF-8", f.Name)
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return nil, nil, nhi.Invalidf("%s: the file is compressed: unpack it first", f.Name)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err = r.Discard(3)
	default:
		err = nil
	}
	return r, in, err
}

func openJSON(f connector.File) (*stream, error) {
	r, in, err := openBounded(f)
	if err != nil {
		return nil, err
	}
	return &stream{name: f.Name, in: in, dec: json.NewDecoder(r)}, nil
}

// fail names the file and the place.
func (s *stream) fail(err error) error {
	if s.in.over != nil {
		return fmt.Errorf("%s: byte %d: %w", s.name, s.dec.InputOffset(), s.in.over)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nhi.Invalidf("%s: byte %d: the file ends in the middle: it is truncated", s.name, s.dec.InputOffset())
	}
	var foreign *foreignError
	if errors.As(err, &foreign) {
		return foreign.error
	}
	return nhi.Invalidf("%s: byte %d: %v", s.name, s.dec.InputOffset(), err)
}

// objects calls field for each field of each object of the file, one object
// after the other or all in one list, and end after each object. field consumes
// the field's value.
func (s *stream) objects(field func(key string) error, end func()) error {
	inList := false
	for first := true; ; first = false {
		s.in.item = 0
		t, err := s.dec.Token()
		switch {
		case err == io.EOF && !first && !inList:
			return nil
		case err != nil:
			return s.fail(err)
		case t == json.Delim('[') && !inList:
			inList = true
			continue
		case t == json.Delim(']') && inList:
			inList = false
			continue
		case t != json.Delim('{'):
			return s.fail(fmt.Errorf("found %s where a JSON object is expected", describe(t)))
		}
		if err := s.object(field); err != nil {
			return err
		}
		end()
	}
}

func describe(t json.Token) string {
	switch t := t.(type) {
	case string:
		return "text"
	case json.Delim:
		return "the sign " + t.String()
	case nil:
		return "null"
	default:
		return fmt.Sprintf("a %T", t)
	}
}

func (s *stream) object(field func(key string) error) error {
	for s.dec.More() {
		key, err := s.dec.Token()
		if err != nil {
			return s.fail(err)
		}
		s.in.item = 0
		if err := field(key.(string)); err != nil {
			return err
		}
	}
	if _, err := s.dec.Token(); err != nil {
		return s.fail(err)
	}
	return nil
}

// list calls take for each element of a list. What take cannot read is a
// problem; only a foreign account, or what is no JSON, ends the list.
func (s *stream) list(key string, take func(json.RawMessage) error, problem func(connector.Problem)) error {
	t, err := s.dec.Token()
	switch {
	case err != nil:
		return s.fail(err)
	case t == nil: // null
		return nil
	case t != json.Delim('['):
		return s.fail(fmt.Errorf("%s is %s, not a list", key, describe(t)))
	}
	for n := 0; s.dec.More(); n++ {
		s.in.item = 0
		at := s.dec.InputOffset()
		var raw json.RawMessage
		if err := s.dec.Decode(&raw); err != nil {
			return s.fail(err)
		}
		err := shallow(raw)
		if err == nil {
			err = take(raw)
		}
		var foreign *foreignError
		switch {
		case errors.As(err, &foreign):
			return s.fail(err)
		case err != nil:
			problem(connector.Problem{File: s.name, Where: fmt.Sprintf("%s[%d] at byte %d", key, n, at), What: clean(err.Error(), 300)})
		}
	}
	if _, err := s.dec.Token(); err != nil {
		return s.fail(err)
	}
	return nil
}

// value decodes the present value into v, which must be small.
func (s *stream) value(v any) error {
	if err := s.dec.Decode(v); err != nil {
		return s.fail(err)
	}
	return nil
}

// skip steps over the present value.
func (s *stream) skip() error {
	var raw json.RawMessage
	return s.value(&raw)
}

// shallow refuses JSON that is nested deeper than any of IAM's is.
func shallow(raw []byte) error {
	var s jsonscan.Scanner
	s.Reset(raw, maxDepth)
	s.Skip()
	return s.Err()
}

// A stamp is a time as the tools write it: RFC 3339, or seconds since 1970.
type stamp struct{ time.Time }

// UnmarshalJSON takes both forms. Null is the zero time.
func (s *stamp) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	t, err := parseTime(text)
	if err != nil {
		return err
	}
	s.Time = t
	return nil
}

func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return plausible(t)
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 && seconds < 1e11 {
		return plausible(time.UnixMicro(int64(seconds * 1e6)))
	}
	return time.Time{}, fmt.Errorf("%q is not a time", clean(text, 40))
}

// plausible refuses times that no account can hold and that a database could
// not keep.
func plausible(t time.Time) (time.Time, error) {
	if y := t.UTC().Year(); y < 1990 || y > 2200 {
		return time.Time{}, fmt.Errorf("the year %d is not plausible", y)
	}
	return t.UTC(), nil
}

// clean makes outside text fit to be kept and shown: valid UTF-8, at most max
// bytes, and no control characters.
func clean(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
