package leak

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// A Scanner finds secrets. It is immutable and safe for concurrent use.
type Scanner struct {
	rules   []Rule
	verify  []verifier // by rule
	needles []needle
	search  *automaton
}

// NewScanner builds a scanner for the given rules, or for the rules that ship
// if none are given. It takes a few milliseconds; build one and share it.
func NewScanner(rules ...Rule) (*Scanner, error) {
	if len(rules) == 0 {
		var err error
		if rules, err = Rules(); err != nil {
			return nil, err
		}
	}
	s := &Scanner{rules: rules}
	ids := map[string]bool{}
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return nil, err
		}
		if ids[rules[i].ID] {
			return nil, fmt.Errorf("%w: two leak rules are called %s", nhi.ErrInvalid, rules[i].ID)
		}
		ids[rules[i].ID] = true
		s.verify = append(s.verify, verifiers[rules[i].Verifier])
		s.addKeywords(i)
	}
	texts := make([][]byte, len(s.needles))
	for i := range s.needles {
		texts[i] = s.needles[i].text
	}
	if s.search = newAutomaton(texts); s.search == nil {
		return nil, fmt.Errorf("%w: %d leak rules have too many keywords", nhi.ErrInvalid, len(rules))
	}
	return s, nil
}

// addKeywords adds the needles of rule i. Rules may share a keyword.
func (s *Scanner) addKeywords(i int) {
	r := &s.rules[i]
	for _, k := range r.Keywords {
		same := func(n needle) bool {
			return n.wrapped == plain && string(n.text) == k && n.exact == !r.AnyCase
		}
		if at := slices.IndexFunc(s.needles, same); at >= 0 {
			s.needles[at].rules = append(s.needles[at].rules, i)
			continue
		}
		s.needles = append(s.needles, needle{text: []byte(k), exact: !r.AnyCase, rules: []int{i}})
		if !r.AnyCase {
			s.addEncoded([]byte(k), 1)
		}
	}
}

// addEncoded adds the needles that find text under one and more encodings.
func (s *Scanner) addEncoded(text []byte, depth int) {
	forms := encodedForms(text)
	if depth == 1 {
		s.needles = append(s.needles, wrappedForms(forms)...)
	}
	for _, n := range forms {
		s.needles = append(s.needles, n)
		// Nobody percent-encodes letters and then encodes the result again.
		if depth < maxDepth && n.wrapped != percent {
			s.addEncoded(n.text, depth+1)
		}
	}
}

// Rules returns the rules of the scanner. Do not change them.
func (s *Scanner) Rules() []Rule { return s.rules }

// Scan calls yield for every secret in data, roughly in order of place, until
// yield returns false. It does not keep data. The match belongs to the caller
// from then on: keep it or Wipe it.
func (s *Scanner) Scan(data []byte, yield func(*Match) bool) {
	text, wide := transcode(data)
	at := newCursor(wide)
	var last seen
	s.scan(text, 0, func(m *Match) bool {
		if last.again(m) {
			m.Wipe()
			return true
		}
		at.place(text, 0, m)
		return yield(m)
	})
	if wide {
		clear(text)
	}
}

// seen remembers the last match with a public id. A run that reads as two
// encodings is decoded twice, and what lies in it is still one secret.
type seen struct {
	kind, id string
	end      int
}

// again reports whether m is the match before it once more.
func (l *seen) again(m *Match) bool {
	if m.PublicID != "" && m.Kind == l.kind && m.PublicID == l.id && m.Start < l.end {
		return true
	}
	l.kind, l.id, l.end = m.Kind, m.PublicID, m.End
	return false
}

// A pass is one scan of one text: the input itself or a decoded part of it.
type pass struct {
	s     *Scanner
	text  []byte
	depth int
	yield func(*Match) bool

	// taken is the end of the last secret found; what lies inside a secret is
	// part of it and not another one.
	taken int

	// decoded says, for every encoding, up to where runs were decoded.
	decoded [encodings]int
}

// scan reports the secrets in text with offsets in text and no lines. It
// reports whether yield wants more. It allocates nothing before the first
// needle.
func (s *Scanner) scan(text []byte, depth int, yield func(*Match) bool) bool {
	at, state := s.search.find(text, 0, 0)
	for state >= s.search.accept {
		for _, i := range s.search.ending(state) {
			if s.needles[i].at(text, at) {
				p := &pass{s: s, text: text, depth: depth, yield: yield}
				return p.run(at, state)
			}
		}
		at, state = s.search.find(text, at, state)
	}
	return true
}

// run goes on from the first needle.
func (p *pass) run(at int, state uint16) bool {
	search := p.s.search
	for ; state >= search.accept; at, state = search.find(p.text, at, state) {
		for _, i := range search.ending(state) {
			if n := &p.s.needles[i]; n.at(p.text, at) && !p.hit(n, at-len(n.text)) {
				return false
			}
		}
	}
	return true
}

// at reports whether n, which ends at text[end] in some case, has the case it
// must have.
func (n *needle) at(text []byte, end int) bool {
	return !n.exact || bytes.Equal(text[end-len(n.text):end], n.text)
}

// hit looks closer at the place where a needle stands.
func (p *pass) hit(n *needle, at int) bool {
	if at < p.taken {
		return true
	}
	if n.wrapped != plain {
		return p.depth >= maxDepth || at < p.decoded[n.wrapped] || p.unwrap(n, at)
	}
	for _, i := range n.rules {
		// A rule that comes first takes the secret from those behind it.
		if f, ok := p.s.verify[i](p.text, at); ok {
			if f.inner == f.whole { // the halves of a pair lie apart
				p.taken = max(p.taken, f.whole.end)
			}
			return p.yield(p.s.rules[i].match(f))
		}
	}
	return true
}

// match joins what the rule says and what the verifier found.
func (r *Rule) match(f finding) *Match {
	return &Match{
		Rule: r.ID, Provider: r.Provider, Kind: r.Kind, Severity: r.Severity,
		PublicID: f.publicID, Account: f.account, Class: f.class, Confidence: f.confidence, Note: f.note,
		Start: f.whole.start, End: f.whole.end, inner: f.inner, secret: f.secret,
	}
}

// unwrap decodes the run around a hit and scans what comes out.
func (p *pass) unwrap(n *needle, at int) bool {
	run := decodeAround(p.text, at, n.wrapped)
	defer clear(run.data)
	p.decoded[n.wrapped] = max(at+1, run.end)
	if run.cut {
		p.decoded[n.wrapped] = max(at+1, run.end-decodeAgain)
	}
	return p.s.scan(run.data, p.depth+1, func(m *Match) bool {
		m.Start, m.End = run.source(m.Start, m.End)
		if m.inner != (span{}) {
			m.inner.start, m.inner.end = run.source(m.inner.start, m.inner.end)
		}
		if m.Start < p.taken { // found under another encoding already
			m.Wipe()
			return true
		}
		if m.inner == (span{m.Start, m.End}) {
			p.taken = m.End
		}
		return p.yield(m)
	})
}

// A cursor turns offsets into lines and columns. It remembers the last place,
// because matches come nearly in order.
type cursor struct {
	wide      bool // the input is UTF-16 and text is its UTF-8 form
	offset    int  // how far it has read, in text
	line      int  // of offset, from 1
	lineStart int  // offset of the first byte of that line
	first     int  // lineStart of the first byte in memory
	units     int  // UTF-16 code units before offset, if wide
}

func newCursor(wide bool) *cursor { return &cursor{wide: wide, line: 1} }

// place fills in the lines and columns of m, whose offsets are relative to
// text, which itself begins at offset base. It makes the offsets absolute and,
// for UTF-16, those of the input.
func (c *cursor) place(text []byte, base int, m *Match) {
	var start, end int
	start, m.Line, m.Column = c.move(text, base, m.Start)
	if m.inner != (span{}) {
		m.inner.start, _, _ = c.move(text, base, m.inner.start)
		m.inner.end, _, _ = c.move(text, base, m.inner.end)
	}
	end, m.EndLine, m.EndColumn = c.move(text, base, m.End)
	m.Start, m.End = start, end
}

// move goes to text[at] and returns its offset in the input, line and column.
func (c *cursor) move(text []byte, base, at int) (offset, line, column int) {
	from, to := c.offset-base, at
	if to >= from {
		passed := text[from:to]
		c.line += bytes.Count(passed, newline)
		if last := bytes.LastIndexByte(passed, '\n'); last >= 0 {
			c.lineStart = base + from + last + 1
		}
		c.units += c.count(passed)
	} else {
		passed := text[to:from]
		c.line -= bytes.Count(passed, newline)
		if bytes.IndexByte(passed, '\n') >= 0 {
			c.lineStart = c.first
			if last := bytes.LastIndexByte(text[:to], '\n'); last >= 0 {
				c.lineStart = base + last + 1
			}
		}
		c.units -= c.count(passed)
	}
	c.offset = base + to
	offset = c.offset
	if c.wide {
		offset = 2 + 2*c.units
	}
	return offset, c.line, c.offset - c.lineStart + 1
}

func (c *cursor) count(text []byte) int {
	if !c.wide {
		return 0
	}
	return codeUnits(text)
}

var newline = []byte{'\n'}
