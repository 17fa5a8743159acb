package activity

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/jsonscan"
)

// A Limit bounds a kind of text in bytes.
type Limit int

// The limits of text in events.
const (
	Word Limit = iota // codes and verbs: 128
	Name              // names of things: 256
	Line              // user agents, error messages: 512
	Path              // ARNs, subjects: 1024
	limits
)

var limitBytes = [limits]int{128, 256, 512, 1024}

// maxInterned bounds each table of a Text.
const maxInterned = 8192

// A Text makes strings from spans of records. Most strings in a log were in
// the record before, too: those are looked up, neither allocated nor cleaned
// nor redacted a second time. A table that is full is emptied, so memory is
// bounded whatever a log holds. A Text is not for concurrent use.
type Text struct {
	redact  func(string) string
	free    [limits]map[string]string
	plain   [limits]map[string]string
	addr    map[string]netip.Addr
	scratch []byte
}

// NewText returns a Text that passes free text through redact (which may be
// nil).
func NewText(redact func(string) string) *Text {
	t := &Text{redact: redact, addr: map[string]netip.Addr{}}
	for i := range t.free {
		t.free[i] = map[string]string{}
		t.plain[i] = map[string]string{}
	}
	return t
}

// Free returns text that anybody may have written: cleaned, bounded and
// redacted.
func (t *Text) Free(span jsonscan.Span, limit Limit) string {
	return t.get(t.free[limit], span, limit, t.redact)
}

// ID returns text that the provider makes, such as ids and account numbers:
// cleaned and bounded, but never redacted, since ids must stay comparable.
func (t *Text) ID(span jsonscan.Span, limit Limit) string {
	return t.get(t.plain[limit], span, limit, nil)
}

// Unique is ID for text that no other record has, such as event ids: it is
// not worth a place in a table. Ids of events are numbers and UUIDs; in what
// is neither, a source may have put anything; one that holds a secret is no
// id, and empty.
func (t *Text) Unique(span jsonscan.Span, limit Limit) string {
	raw := span.Raw
	if span.Escaped {
		t.scratch = span.Append(t.scratch[:0])
		raw = t.scratch
	}
	id := Clean(string(raw), limitBytes[limit])
	if t.redact != nil && !hexadecimal(id) && t.redact(id) != id {
		return ""
	}
	return id
}

func hexadecimal(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') && c != '-' {
			return false
		}
	}
	return true
}

func (t *Text) get(table map[string]string, span jsonscan.Span, limit Limit, redact func(string) string) string {
	if len(span.Raw) == 0 {
		return ""
	}
	if s, ok := table[string(span.Raw)]; ok {
		return s
	}
	raw := span.Raw
	if span.Escaped {
		t.scratch = span.Append(t.scratch[:0])
		raw = t.scratch
	}
	// A secret must be whole to be recognised, so redaction comes before the
	// cut; the first bound only keeps its cost down.
	clean := Clean(string(raw), 8*limitBytes[limit])
	if redact != nil {
		was := clean
		if clean = redact(clean); clean != was {
			return Clean(clean, limitBytes[limit]) // the table must not keep the secret as its key
		}
	}
	clean = Clean(clean, limitBytes[limit])
	if len(span.Raw) > 2*limitBytes[limit] {
		return clean
	}
	if len(table) >= maxInterned {
		clear(table)
	}
	if string(span.Raw) == clean {
		table[clean] = clean
	} else {
		table[string(span.Raw)] = clean
	}
	return clean
}

// Address returns the address in span, or the zero Addr when it is none: logs
// put host names and remarks there, too. Zones are dropped and IPv4 inside
// IPv6 is unwrapped, so that one place has one address.
func (t *Text) Address(span jsonscan.Span) netip.Addr {
	if len(span.Raw) == 0 || len(span.Raw) > 64 {
		return netip.Addr{}
	}
	if a, ok := t.addr[string(span.Raw)]; ok {
		return a
	}
	key := string(span.Raw)
	a, err := netip.ParseAddr(key)
	if err != nil {
		a = netip.Addr{}
	}
	a = a.WithZone("").Unmap()
	if len(t.addr) >= maxInterned {
		clear(t.addr)
	}
	t.addr[key] = a
	return a
}

// Clean returns s as valid UTF-8 of at most limit bytes, in which control
// characters, line separators and the marks that turn the direction of text
// are spaces: a name must not be able to move a cursor or to read differently
// from what it is.
func Clean(s string, limit int) string {
	if len(s) <= limit && printable(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hostile(r) {
			r = ' '
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return utf8.ValidString(s) && strings.IndexFunc(s, hostile) < 0
		}
	}
	return true
}

// hostile names the characters of Unicode that no name needs: C0 and C1
// controls, zero-width and bidirectional marks, separators, tags and the byte
// order mark.
func hostile(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}
