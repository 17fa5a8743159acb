package output

import (
	"encoding/csv"
	"io"
	"strings"
	"unicode/utf8"
)

// tones are the words that are worth a colour. The word is always there, so
// nothing is lost without.
var tones = map[string]string{
	"allow": "36", "active": "36", "enforce": "36", "done": "36",
	"step-up": "33", "narrowed": "33", "observe": "33", "medium": "33", "high": "33", "proposed": "33", "acknowledged": "33",
	"deny": "31", "suspended": "31", "revoked": "31", "quarantined": "31", "critical": "31", "confirmed": "31",
}

// A Follower prints things one by one as they come.
type Follower[T any] struct {
	f       *Form
	columns []Column[T]
	widths  []int
	begun   bool
}

// Follow prints things as they come: JSON Lines, YAML documents, CSV, or a
// table whose columns grow when they must.
func Follow[T any](f *Form, columns []Column[T]) *Follower[T] {
	f.lines = true
	return &Follower[T]{f: f, columns: columns}
}

// Add prints one more.
func (w *Follower[T]) Add(v T) error {
	if w.f.Structured() {
		return w.f.Object(v)
	}
	head, rows := cells([]T{v}, w.columns, w.f.Format != "table")
	first := !w.begun
	w.begun = true
	if w.f.Format == "csv" {
		if !first {
			head = nil
		}
		return w.f.csv(head, rows)
	}
	if first {
		w.widths = make([]int, len(head))
	}
	row := dashed(rows[0])
	for i := range head {
		w.widths[i] = max(w.widths[i], utf8.RuneCountInString(row[i]), len(head[i]))
	}
	if first {
		if err := line(w.f.Out, false, w.widths, head); err != nil {
			return err
		}
	}
	return line(w.f.Out, w.f.Colour, w.widths, row)
}

// dashed makes cells fit for a table: visible, and a dash where nothing is.
func dashed(row []string) []string {
	for i, c := range row {
		if row[i] = Visible(c); c == "" {
			row[i] = "-"
		}
	}
	return row
}

// table writes rows with aligned columns.
func (f *Form) table(head []string, rows [][]string) error {
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range rows {
		for i, c := range dashed(row) {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	if err := line(f.Out, false, widths, head); err != nil {
		return err
	}
	for _, row := range rows {
		if err := line(f.Out, f.Colour, widths, row); err != nil {
			return err
		}
	}
	return nil
}

func line(w io.Writer, colour bool, widths []int, row []string) error {
	var b strings.Builder
	for i, c := range row {
		pad := widths[i] - utf8.RuneCountInString(c)
		if code := tones[c]; colour && code != "" {
			c = "\x1b[" + code + "m" + c + "\x1b[0m"
		}
		b.WriteString(c)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", max(pad, 0)+2))
		}
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// csv writes rows as RFC 4180 says, harmless to spreadsheets.
func (f *Form) csv(head []string, rows [][]string) error {
	w := csv.NewWriter(f.Out)
	if head != nil {
		for i, h := range head {
			head[i] = strings.ToLower(strings.ReplaceAll(h, " ", "_"))
		}
		if err := w.Write(head); err != nil {
			return err
		}
	}
	for _, row := range rows {
		for i := range row {
			row[i] = defused(Visible(row[i]))
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}
