package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

// Secrets travel encoded: Kubernetes keeps them in base64, query strings in
// percent signs, dumps in hexadecimal. Decoding every run of such characters
// would cost more than the search itself, so the search is turned round: the
// needles are encoded too. What "ghp_" looks like inside base64 depends only
// on where it falls in a group of three bytes, so three more needles find it
// in any base64 text. Only around such a hit is anything decoded, and the
// decoded bytes go through the same scanner one level deeper.

// An encoding is one way in which a secret may be wrapped.
type encoding uint8

const (
	plain       encoding = iota
	base64At0            // base64 in which the needle starts at byte 0 of a group of three,
	base64At1            // at byte 1,
	base64At2            // at byte 2
	hexadecimal          // two digits a byte, nothing between
	percent              // the keyword wholly as %xx; a few %xx in a plain secret are the verifiers' business
	encodings
)

const (
	// maxDepth is how many encodings may be wrapped around a secret.
	maxDepth = 2

	// minNeedle is the shortest encoded needle worth looking for: shorter ones
	// turn up by chance in every base64 text.
	minNeedle = 4

	// Of an encoded run, this much around a hit is decoded. A PEM key of 4096
	// bits is 4.4 KiB of base64 when encoded once more, 5.9 KiB when twice.
	decodeBefore = 4 << 10
	decodeAfter  = 32 << 10

	// decodeAgain is how much of a run that was cut off is decoded once more
	// with what follows, so that a secret across the cut is not lost.
	decodeAgain = 8 << 10

	// wrapColumn is the shortest line after which an encoded run may go on in
	// the next line. Tools wrap base64 at 64 or 76 columns.
	wrapColumn = 60
)

// A needle is one string the automaton looks for.
type needle struct {
	text    []byte
	exact   bool     // letters must match in case, too
	wrapped encoding // outermost encoding; plain for a keyword itself
	rules   []int    // plain only: the rules that have this keyword
}

// encodedForms returns text as it looks under one more encoding.
func encodedForms(text []byte) []needle {
	forms := []needle{
		{text: []byte(hex.EncodeToString(text)), wrapped: hexadecimal},
		{text: percentForm(text), wrapped: percent},
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for phase := range 3 {
			form := base64Form(enc, text, phase)
			known := func(n needle) bool { return bytes.Equal(n.text, form) }
			if len(form) >= minNeedle && !slices.ContainsFunc(forms, known) {
				forms = append(forms, needle{text: form, exact: true, wrapped: base64At0 + encoding(phase)})
			}
		}
	}
	return forms
}

// wrappedForms returns base64 needles as they look where a line ends within
// them, at 64 or 76 columns: one token in ten stands across such a break.
func wrappedForms(forms []needle) []needle {
	var out []needle
	for _, n := range forms {
		if !n.exact {
			continue
		}
		for i := 1; i < len(n.text); i++ {
			text := slices.Concat(n.text[:i], newline, n.text[i:])
			out = append(out, needle{text: text, exact: true, wrapped: n.wrapped})
		}
	}
	return out
}

// base64Form returns those characters of the encoding of text that do not
// depend on its neighbours, if text starts at byte phase of a group of three.
func base64Form(enc *base64.Encoding, text []byte, phase int) []byte {
	padded := append(make([]byte, phase), text...)
	return []byte(enc.EncodeToString(padded))[firstDetermined(phase) : len(padded)*8/6]
}

// firstDetermined is the index in its group of the first base64 character that
// holds no bit of the phase bytes in front.
func firstDetermined(phase int) int { return (phase*8 + 5) / 6 }

func percentForm(text []byte) []byte {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 3*len(text))
	for _, c := range text {
		out = append(out, '%', digits[c>>4], digits[c&15])
	}
	return out
}

// An encodedRun is a stretch of encoded text, decoded. A run is a sequence of
// units: base64 characters, hexadecimal digits, or bytes one of which may be
// written as %xx.
type encodedRun struct {
	enc    encoding
	outer  []byte // the text the run lies in
	start  int    // offset in outer of the first unit decoded
	column int    // how many units stand before it in its line
	end    int    // offset in outer behind the last
	cut    bool   // the run went on and was cut off for its length
	data   []byte // what it decodes to; may hold a secret
	walked walker // where source got to
}

// decodeAround decodes the run in which a needle wrapped in enc was found at
// outer[at].
func decodeAround(outer []byte, at int, enc encoding) *encodedRun {
	r := &encodedRun{enc: enc, outer: outer}
	w := walker{at: enc.runStart(outer, at)}
	before := w
	if before.reach(enc, outer, at); before.at < at {
		// What looks like one run from behind is two from the front.
		w.at = enc.lineStart(outer, at, max(0, at-decodeBefore))
		before = w
		before.reach(enc, outer, at)
	}
	w.advance(enc, outer, enc.misaligned(before.units))
	r.start, r.column = w.at, w.column
	r.walked = walker{at: r.start, column: r.column}
	units := make([]byte, 0, 256)
	for w.at < len(outer) {
		c, n := enc.unit(outer, w.at)
		if n == 0 {
			if n = enc.wrap(outer, w.at, w.column); n == 0 {
				break
			}
			w.at, w.column = w.at+n, 0
			continue
		}
		if w.at-at >= decodeAfter {
			r.cut = true
			break
		}
		units = append(units, c)
		w.at, w.column = w.at+n, w.column+1
		r.end = w.at
	}
	r.data = enc.decode(units)
	clear(units)
	return r
}

// misaligned returns how many units to drop in front so that groups begin
// where they must for a needle that begins behind that many units.
func (e encoding) misaligned(before int) int {
	switch e {
	case hexadecimal:
		return before % 2
	case base64At0, base64At1, base64At2:
		return (before + 4 - firstDetermined(int(e-base64At0))) % 4
	}
	return 0
}

// decode turns units into bytes; what is left of an incomplete group is lost.
func (e encoding) decode(units []byte) []byte {
	switch e {
	case hexadecimal:
		out := make([]byte, len(units)/2)
		_, _ = hex.Decode(out, units[:len(units)&^1])
		return out
	case base64At0, base64At1, base64At2:
		if len(units)%4 == 1 {
			units = units[:len(units)-1]
		}
		out := make([]byte, base64.RawStdEncoding.DecodedLen(len(units)))
		n, _ := base64.RawStdEncoding.Decode(out, units)
		return out[:n]
	}
	return bytes.Clone(units)
}

// unit reads one unit at text[i]: its character in the standard alphabet and
// the bytes it takes, 0 if there is none.
func (e encoding) unit(text []byte, i int) (c byte, n int) {
	c = text[i]
	switch {
	case e == hexadecimal:
		return c, boolInt(isHex(c))
	case e == percent:
		if c != '%' {
			return c, boolInt(c > ' ' && c < 0x7f && c != '"' && c != '\'' && c != '&' && c != '<' && c != '>')
		}
		if i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]) {
			return hexValue(text[i+1])<<4 | hexValue(text[i+2]), 3
		}
		return 0, 0
	case isAlnum(c), c == '+', c == '/':
		return c, 1
	case c == '-':
		return '+', 1
	case c == '_':
		return '/', 1
	}
	return percentUnit(text, i)
}

// percentUnit reads the two base64 characters that query strings escape.
func percentUnit(text []byte, i int) (c byte, n int) {
	if i+2 < len(text) && text[i] == '%' && text[i+1] == '2' {
		switch fold(text[i+2]) {
		case 'b':
			return '+', 3
		case 'f':
			return '/', 3
		}
	}
	return 0, 0
}

// wrap returns the length of a line break (real, or written as \n in a string)
// and of the indentation behind it, if a run that has filled column units in
// this line goes on after it; else 0.
func (e encoding) wrap(text []byte, i, column int) int {
	if column < wrapColumn || e == percent {
		return 0
	}
	j := i
	switch {
	case text[j] == '\n':
		j++
	case text[j] == '\r' && j+1 < len(text) && text[j+1] == '\n':
		j += 2
	case text[j] == '\\' && j+1 < len(text) && text[j+1] == 'n':
		j += 2
	default:
		return 0
	}
	for j < len(text) && j < i+64 && (text[j] == ' ' || text[j] == '\t') {
		j++
	}
	if j == len(text) {
		return 0
	}
	if _, n := e.unit(text, j); n == 0 {
		return 0
	}
	return j - i
}

// runStart walks back from text[at] to where its run begins, at most
// decodeBefore bytes, across line breaks behind full lines.
func (e encoding) runStart(text []byte, at int) int {
	limit, start := max(0, at-decodeBefore), at
	for {
		line := e.lineStart(text, start, limit)
		end := line
		for end > limit && (text[end-1] == ' ' || text[end-1] == '\t') {
			end--
		}
		switch {
		case end > limit && text[end-1] == '\n':
			end--
			if end > limit && text[end-1] == '\r' {
				end--
			}
		case line > limit && text[line-1] == '\\' && text[line] == 'n' && line < at:
			line, end = line+1, line-1
		default:
			return line
		}
		previous := e.lineStart(text, end, limit)
		// A line that the limit cuts looks too short to be wrapped.
		if e.wrap(text, end, end-previous) == 0 || previous == limit && limit > 0 {
			return line
		}
		start = previous
	}
}

// lineStart walks back over units that stand without a gap.
func (e encoding) lineStart(text []byte, at, limit int) int {
	for at > limit {
		if _, n := e.unit(text, at-1); n == 1 {
			at--
			continue
		}
		// A %2B ends in two characters that look like units themselves.
		if _, n := e.unit(text, at-1); n != 3 {
			break
		}
		at--
	}
	return at
}

// A walker goes along a run unit by unit.
type walker struct {
	units  int // passed so far
	at     int // offset in the text
	column int // units passed in this line
}

// advance goes on until the given number of units is behind it, or the run
// ends. Line breaks in front of the next unit are passed, too.
func (w *walker) advance(e encoding, text []byte, units int) {
	for w.at < len(text) {
		_, n := e.unit(text, w.at)
		if n == 0 {
			if n = e.wrap(text, w.at, w.column); n == 0 {
				return
			}
			w.at, w.column = w.at+n, 0
			continue
		}
		if w.units >= units {
			return
		}
		w.at, w.column, w.units = w.at+n, w.column+1, w.units+1
	}
}

// reach goes on until it stands at or behind an offset of the text.
func (w *walker) reach(e encoding, text []byte, at int) {
	for w.at < at {
		was := w.at
		if w.advance(e, text, w.units+1); w.at == was {
			return
		}
	}
}

// source returns which bytes of the outer text hold data[start:end]. Matches
// come nearly in order, so it goes on from the start of the last one.
func (r *encodedRun) source(start, end int) (int, int) {
	first, last := start, end // in units
	switch r.enc {
	case hexadecimal:
		first, last = 2*start, 2*end
	case base64At0, base64At1, base64At2:
		first, last = start*8/6, (end*8+5)/6
	}
	if first < r.walked.units {
		r.walked = walker{at: r.start, column: r.column}
	}
	r.walked.advance(r.enc, r.outer, first)
	to := r.walked
	to.advance(r.enc, r.outer, last-1)
	_, n := r.enc.unit(r.outer, min(to.at, len(r.outer)-1))
	return r.walked.at, min(to.at+n, r.end)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= fold(c) && fold(c) <= 'f'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return fold(c) - 'a' + 10
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= fold(c) && fold(c) <= 'z'
}
