package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// visible returns text in which nothing is hidden: control characters, marks
// that turn the direction of writing, characters without width and bytes that
// are no UTF-8 are written as escapes.
func visible(text string) string {
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

// visibleLines is visible for text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(visible(strings.ReplaceAll(l, "\t", "    ")), `\r`, "")
	}
	return strings.Join(lines, "\n")
}

// visibleJSON escapes in JSON what visible would: inside strings, where alone
// such characters can stand, so the value stays the same.
func visibleJSON(data []byte) []byte {
	text := string(data)
	if !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf || r == 0x7f }) {
		return data
	}
	out := make([]byte, 0, len(text)+len(text)/8)
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf && r != 0x7f, unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// defused keeps a spreadsheet from taking a cell for a formula.
func defused(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// tones are the words that are worth a colour. The word is always there, so
// nothing is lost without.
var tones = map[string]string{
	"allow": "36", "active": "36", "enforce": "36", "done": "36",
	"step-up": "33", "narrowed": "33", "observe": "33", "medium": "33", "high": "33", "proposed": "33", "acknowledged": "33",
	"deny": "31", "suspended": "31", "revoked": "31", "quarantined": "31", "critical": "31", "confirmed": "31",
}

// table writes rows with aligned columns. A cell is made visible; an empty one
// is a dash.
func table(w io.Writer, colour bool, head []string, rows [][]string) error {
	widths := make([]int, len(head))
	lines := append([][]string{head}, rows...)
	for i, row := range lines {
		for j := range row {
			if i > 0 {
				row[j] = visible(row[j])
			}
			if row[j] == "" {
				row[j] = "-"
			}
			widths[j] = max(widths[j], utf8.RuneCountInString(row[j]))
		}
	}
	for i, row := range lines {
		if err := tableLine(w, colour && i > 0, widths, row); err != nil {
			return err
		}
	}
	return nil
}

func tableLine(w io.Writer, colour bool, widths []int, row []string) error {
	var b strings.Builder
	for j, cell := range row {
		pad := widths[j] - utf8.RuneCountInString(cell)
		if code := tones[cell]; colour && code != "" {
			cell = "\x1b[" + code + "m" + cell + "\x1b[0m"
		}
		b.WriteString(cell)
		if j < len(row)-1 {
			b.WriteString(strings.Repeat(" ", max(pad, 0)+2))
		}
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// when writes a time for a table.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func whenever(t *time.Time) string {
	if t == nil {
		return ""
	}
	return when(*t)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// count writes a number with its noun.
func count[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// size writes a number of bytes.
func size(n int64) string {
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
