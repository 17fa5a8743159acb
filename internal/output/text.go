package output

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Visible returns text in which nothing is hidden: control characters, marks
// that turn the direction of writing, characters without width and bytes that
// are no UTF-8 are written as escapes.
func Visible(text string) string {
	hidden := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, hidden) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, text[i])
		case hidden(r):
			quoted := strconv.QuoteRuneToASCII(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		default:
			out.WriteRune(r)
		}
		i += n
	}
	return out.String()
}

// Unmixed writes letters as escapes that pretend to be others: in a word with
// Latin letters, those of the scripts that have letters of the same look.
// A word that is wholly of one script stays as it is.
func Unmixed(text string) string {
	if !strings.ContainsFunc(text, lookalike) {
		return text
	}
	var out strings.Builder
	word := func(w string) {
		if !strings.ContainsFunc(w, lookalike) || !strings.ContainsFunc(w, func(r rune) bool { return unicode.Is(unicode.Latin, r) }) {
			out.WriteString(w)
			return
		}
		for _, r := range w {
			if !lookalike(r) {
				out.WriteRune(r)
				continue
			}
			quoted := strconv.QuoteRuneToASCII(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	begin := 0
	for i, r := range text {
		if unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) {
			continue
		}
		word(text[begin:i])
		out.WriteRune(r)
		begin = i + utf8.RuneLen(r)
	}
	word(text[begin:])
	return out.String()
}

// lookalike reports letters of scripts in which some look like Latin ones.
func lookalike(r rune) bool {
	return r > unicode.MaxLatin1 && unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Lisu)
}

// VisibleLines is Visible for text of several lines: line ends stay, tabs
// become spaces.
func VisibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = Visible(strings.ReplaceAll(strings.TrimSuffix(l, "\r"), "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// visibleJSON escapes in JSON what Visible would: inside strings, where alone
// such characters can stand, so the value stays the same.
func visibleJSON(data []byte) []byte {
	text := string(data)
	if !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x7f }) {
		return data
	}
	out := make([]byte, 0, len(text)+len(text)/8)
	for _, r := range text {
		switch {
		case r < 0x7f, unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff: // a pair of surrogates (RFC 8259, section 7)
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// defused keeps a spreadsheet from taking a cell for a formula, as some take one
// that begins with a sign of double width, too.
func defused(cell string) string {
	if first, _ := utf8.DecodeRuneInString(cell); cell != "" && strings.ContainsRune("=+-@\t\r\uff1d\uff0b\uff0d\uff20", first) {
		return "'" + cell
	}
	return cell
}

// When writes a time in UTC, to the second; a zero time is empty.
func When(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// Count writes a number with its noun.
func Count[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Size writes a number of bytes.
func Size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
