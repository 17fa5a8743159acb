package leak

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"
)

// Redact appends text to dst with every secret replaced by a marker such as
//
//	[secret muster-key …X3fa]
//
// that names its kind and the end of its public id, which may be shown. Public
// ids themselves stay. What is known only by its shape is hidden, too: a word
// too few in a log is cheaper than a secret too many. It allocates only to grow
// dst, or when there is something to hide.
func (s *Scanner) Redact(dst, text []byte) []byte {
	marks := s.marks(text)
	at := 0
	for _, m := range marks {
		dst = append(dst, text[at:m.start]...)
		dst = append(dst, m.text...)
		at = m.end
	}
	return append(dst, text[at:]...)
}

// RedactString is Redact for strings. It returns text itself, without
// allocating, if there is nothing to hide.
func (s *Scanner) RedactString(text string) string {
	// The bytes are only read; no verifier keeps or changes what it is given.
	marks := s.marks(unsafe.Slice(unsafe.StringData(text), len(text)))
	if len(marks) == 0 {
		return text
	}
	var out strings.Builder
	at := 0
	for _, m := range marks {
		out.WriteString(text[at:m.start])
		out.WriteString(m.text)
		at = m.end
	}
	out.WriteString(text[at:])
	return out.String()
}

// A mark is a range of text to be replaced.
type mark struct {
	span
	text string
}

// marks lists the secrets in text in order of place. Those that overlap are
// hidden together under the first one's name.
func (s *Scanner) marks(text []byte) []mark {
	if s.clean(text) {
		return nil
	}
	var found []mark
	s.scan(text, 0, func(m *Match) bool {
		if m.inner.end > m.inner.start {
			found = append(found, mark{m.inner, m.marker()})
		}
		m.Wipe()
		return true
	})
	slices.SortFunc(found, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	merged := found[:0]
	for _, f := range found {
		if n := len(merged); n > 0 && f.start < merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, f.end)
			continue
		}
		merged = append(merged, f)
	}
	return merged
}

// clean reports whether no needle stands in text, which is the usual case and
// must stay free of allocations.
func (s *Scanner) clean(text []byte) bool {
	at, state := s.search.find(text, 0, 0)
	for state >= s.search.accept {
		for _, i := range s.search.ending(state) {
			if s.needles[i].at(text, at) {
				return false
			}
		}
		at, state = s.search.find(text, at, state)
	}
	return true
}

func (m *Match) marker() string {
	if m.PublicID == "" {
		return "[secret " + m.Kind + "]"
	}
	return "[secret " + m.Kind + " …" + m.PublicID[max(0, len(m.PublicID)-4):] + "]"
}
