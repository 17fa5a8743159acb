// Package output prints data for people and for programs: as aligned tables,
// JSON, YAML or CSV, whole or as it comes, with fields picked and filtered by
// jq expressions.
//
// A [Form] says which, and to where. [One] prints one thing (an object, or a
// line for each column), [List] many (an array, or a line for each), [Follow]
// what has no known end (JSON Lines). What a table shows is a list of columns,
// made from field names by [Columns].
//
// Names come from outside and may be hostile. In every form, what a terminal
// could take for a command or a reader for another word is printed as an
// escape (in JSON as \u, so the value stays the same), and in CSV a cell that
// a spreadsheet would compute is defused. Only strings that a jq expression
// yields go out as they are when no terminal reads them.
package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/itchyny/gojq"
)

// Formats are the forms of output.
var Formats = []string{"table", "wide", "json", "yaml", "csv"}

// A Form says how data is printed. It is used by one command, not
// concurrently.
type Form struct {
	Out      io.Writer
	Format   string   // one of Formats
	Pick     []string // fields of each object; implies JSON
	Filter   string   // jq expression; implies JSON
	Known    []string // the fields that may be picked; empty means any
	Colour   bool
	Terminal bool // a terminal reads what is printed

	query *gojq.Code
	lines bool
}

// Check compiles what was asked for. It must be called before printing; its
// errors are about the caller's words.
func (f *Form) Check() error {
	if !slices.Contains(Formats, f.Format) {
		return fmt.Errorf("there is no form of output %q; choose %s", f.Format, strings.Join(Formats, ", "))
	}
	for _, p := range f.Pick {
		if len(f.Known) > 0 && !slices.Contains(f.Known, p) {
			return fmt.Errorf("--json: there is no field %q; choose from %s", p, strings.Join(f.Known, ","))
		}
	}
	if f.Filter == "" {
		return nil
	}
	parsed, err := gojq.Parse(f.Filter)
	if err == nil {
		f.query, err = gojq.Compile(parsed)
	}
	if err != nil {
		return fmt.Errorf("--jq %s: %w", f.Filter, err)
	}
	return nil
}

// Structured reports whether JSON or YAML is wanted, rather than a table.
func (f *Form) Structured() bool {
	return f.Format == "json" || f.Format == "yaml" || len(f.Pick) > 0 || f.query != nil
}

// One prints one thing. A narrow table leaves out what is empty and wide.
func One[T any](f *Form, v T, columns []Column[T]) error {
	if f.Structured() {
		return f.Object(v)
	}
	if f.Format == "csv" {
		return f.csv(cells([]T{v}, columns, true))
	}
	width := 0
	for _, c := range columns {
		width = max(width, len(c.Head))
	}
	for _, c := range columns {
		text := c.Of(v)
		if text == "" && c.Wide && f.Format != "wide" {
			continue
		}
		if err := line(f.Out, f.Colour, []int{width, 0}, []string{c.Head, dashed([]string{text})[0]}); err != nil {
			return err
		}
	}
	return nil
}

// List prints many things.
func List[T any](f *Form, items []T, columns []Column[T]) error {
	if items == nil {
		items = []T{}
	}
	switch {
	case f.Structured():
		return f.Object(items)
	case f.Format == "csv":
		return f.csv(cells(items, columns, true))
	}
	return f.table(cells(items, columns, f.Format == "wide"))
}

// Object prints a value as JSON or YAML.
func (f *Form) Object(v any) error {
	data, err := encode(v)
	if err == nil && len(f.Pick) > 0 {
		data, err = pick(data, f.Pick)
	}
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	switch {
	case f.query != nil:
		return f.filter(data)
	case f.Format == "yaml":
		return f.yaml(data)
	case !f.lines:
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, data, "", "  "); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		data = pretty.Bytes()
	}
	_, err = f.Out.Write(append(visibleJSON(data), '\n'))
	return err
}

// encode is JSON without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// yaml prints JSON as YAML. The encoder leaves control characters as they are,
// so they become visible escapes: YAML is for people, JSON for programs.
func (f *Form) yaml(data []byte) error {
	text, err := yaml.JSONToYAML(data)
	if err != nil {
		return fmt.Errorf("encode the answer as YAML: %w", err)
	}
	if f.lines {
		text = append([]byte("---\n"), text...)
	}
	_, err = io.WriteString(f.Out, VisibleLines(string(text)))
	return err
}

// filter prints every result of the jq expression, strings as they are.
func (f *Form) filter(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // an id of 64 bits must not lose its end
	var v any
	if err := dec.Decode(&v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	for results := f.query.Run(v); ; {
		r, ok := results.Next()
		if !ok {
			return nil
		}
		if err, bad := r.(error); bad {
			if halt := (*gojq.HaltError)(nil); errors.As(err, &halt) && halt.Value() == nil {
				return nil
			}
			return fmt.Errorf("--jq %s: %w", f.Filter, err)
		}
		if err := f.result(r); err != nil {
			return err
		}
	}
}

func (f *Form) result(r any) error {
	if s, ok := r.(string); ok {
		if f.Terminal {
			s = VisibleLines(s)
		}
		_, err := io.WriteString(f.Out, s+"\n")
		return err
	}
	text, err := gojq.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = f.Out.Write(append(visibleJSON(text), '\n'))
	return err
}

// pick keeps some fields of an object, or of every object of an array, in the
// order asked for.
func pick(data []byte, want []string) ([]byte, error) {
	if bytes.HasPrefix(data, []byte("[")) {
		var items []json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil {
			return nil, err
		}
		for i, it := range items {
			picked, err := pick(it, want)
			if err != nil {
				return nil, err
			}
			items[i] = picked
		}
		return encode(items)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, name := range want {
		value := object[name]
		if value == nil {
			value = json.RawMessage("null")
		}
		quoted, err := encode(name)
		if err != nil {
			return nil, err
		}
		out.WriteByte("{,"[min(i, 1)])
		out.Write(quoted)
		out.WriteByte(':')
		out.Write(value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
