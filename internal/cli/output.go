package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"
)

var formats = []string{"table", "wide", "json", "yaml", "csv"}

// A column shows one field of a T in tables and CSV.
type column[T any] struct {
	head string
	of   func(T) string
	wide bool // left out of narrow tables
}

// An output prints data in the form that the flags ask for.
type output struct {
	app    *app
	format string
	fields []string
	filter string
	query  *gojq.Code
	lines  bool // what is printed has no known end
}

// output gives a command the flags of its form of output.
func (a *app) output(cmd *cobra.Command) *output {
	o := &output{app: a}
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "`form` of the output: "+strings.Join(formats, ", "))
	cmd.Flags().StringSliceVar(&o.fields, "json", nil, "print only these `fields`, as JSON: id,name")
	cmd.Flags().StringVar(&o.filter, "jq", "", "print what this jq `expression` makes of the JSON")
	complete(cmd, "output", formats...)
	run := cmd.RunE
	cmd.RunE = func(c *cobra.Command, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		return run(c, args)
	}
	return o
}

// complete makes a flag complete to some words.
func complete(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag that is not there: any test of the command finds it
	}
}

// required makes a command ask for flags.
func required(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // as above
		}
	}
}

func (o *output) check() error {
	if !slices.Contains(formats, o.format) {
		return usagef("there is no form of output %q; choose %s", o.format, strings.Join(formats, ", "))
	}
	if o.filter == "" {
		return nil
	}
	parsed, err := gojq.Parse(o.filter)
	if err == nil {
		o.query, err = gojq.Compile(parsed)
	}
	if err != nil {
		return usagef("--jq %s: %w", o.filter, err)
	}
	return nil
}

// structured reports whether JSON or YAML is wanted, rather than a table.
func (o *output) structured() bool {
	return o.format == "json" || o.format == "yaml" || len(o.fields) > 0 || o.query != nil
}

func (o *output) colour() bool {
	getenv := o.app.std.Getenv
	return terminal(o.app.std.Out) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// one prints one thing: an object, or a table with a line for each column.
func one[T any](o *output, v T, columns []column[T]) error {
	if o.structured() {
		return o.object(v)
	}
	if o.format == "csv" {
		return o.csv(cells([]T{v}, columns, true))
	}
	width := 0
	for _, c := range columns {
		width = max(width, len(c.head))
	}
	for _, c := range columns {
		cell := visible(c.of(v))
		if cell == "" {
			if c.wide && o.format != "wide" {
				continue
			}
			cell = "-"
		}
		if err := tableLine(o.app.std.Out, o.colour(), []int{width, 0}, []string{c.head, cell}); err != nil {
			return err
		}
	}
	return nil
}

// list prints many things: an array, or a table with a line for each.
func list[T any](o *output, items []T, columns []column[T]) error {
	if items == nil {
		items = []T{}
	}
	if o.structured() {
		return o.object(items)
	}
	if o.format == "csv" {
		return o.csv(cells(items, columns, true))
	}
	head, rows := cells(items, columns, o.format == "wide")
	return table(o.app.std.Out, o.colour(), head, rows)
}

func cells[T any](items []T, columns []column[T], wide bool) (head []string, rows [][]string) {
	for _, c := range columns {
		if wide || !c.wide {
			head = append(head, c.head)
		}
	}
	for _, it := range items {
		row := make([]string, 0, len(head))
		for _, c := range columns {
			if wide || !c.wide {
				row = append(row, c.of(it))
			}
		}
		rows = append(rows, row)
	}
	return head, rows
}

func (o *output) csv(head []string, rows [][]string) error {
	w := csv.NewWriter(o.app.std.Out)
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
			row[i] = defused(visible(row[i]))
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// A follower prints things one by one as they come.
type follower[T any] struct {
	o       *output
	columns []column[T]
	widths  []int
	begun   bool
}

// follow prints things as they come: JSON Lines, YAML documents, CSV, or a
// table whose columns grow when they must.
func follow[T any](o *output, columns []column[T]) *follower[T] {
	o.lines = true
	return &follower[T]{o: o, columns: columns}
}

func (f *follower[T]) add(v T) error {
	if f.o.structured() {
		return f.o.object(v)
	}
	head, rows := cells([]T{v}, f.columns, f.o.format != "table")
	first := !f.begun
	f.begun = true
	if f.o.format == "csv" {
		if !first {
			head = nil
		}
		return f.o.csv(head, rows)
	}
	if first {
		f.widths = make([]int, len(head))
	}
	for i := range head {
		if rows[0][i] = visible(rows[0][i]); rows[0][i] == "" {
			rows[0][i] = "-"
		}
		f.widths[i] = max(f.widths[i], len([]rune(rows[0][i])), len(head[i]))
	}
	if first {
		if err := tableLine(f.o.app.std.Out, false, f.widths, head); err != nil {
			return err
		}
	}
	return tableLine(f.o.app.std.Out, f.o.colour(), f.widths, rows[0])
}

// object prints a value as JSON or YAML.
func (o *output) object(v any) error {
	data, err := encode(v)
	if err == nil && len(o.fields) > 0 {
		data, err = pick(data, o.fields, fieldsOf(reflect.TypeOf(v)))
	}
	if err != nil {
		return err
	}
	switch {
	case o.query != nil:
		return o.run(data)
	case o.format == "yaml":
		return o.yaml(data)
	case !o.lines:
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, data, "", "  "); err != nil {
			return err
		}
		data = pretty.Bytes()
	}
	_, err = o.app.std.Out.Write(append(visibleJSON(data), '\n'))
	return err
}

// encode is JSON without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func (o *output) yaml(data []byte) error {
	text, err := yaml.JSONToYAML(visibleJSON(data))
	if err != nil {
		return fmt.Errorf("encode the answer as YAML: %w", err)
	}
	if o.lines {
		text = append([]byte("---\n"), text...)
	}
	_, err = o.app.std.Out.Write(text)
	return err
}

// run prints every result of the jq expression, strings as they are.
func (o *output) run(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return err
	}
	results := o.query.Run(v)
	for {
		r, ok := results.Next()
		if !ok {
			return nil
		}
		if err, bad := r.(error); bad {
			var halt *gojq.HaltError
			if errors.As(err, &halt) && halt.Value() == nil {
				return nil
			}
			return usagef("--jq %s: %w", o.filter, err)
		}
		if err := o.result(r); err != nil {
			return err
		}
	}
}

func (o *output) result(r any) error {
	if s, ok := r.(string); ok {
		if terminal(o.app.std.Out) {
			s = visibleLines(s)
		}
		_, err := io.WriteString(o.app.std.Out, s+"\n")
		return err
	}
	line, err := gojq.Marshal(r)
	if err != nil {
		return err
	}
	_, err = o.app.std.Out.Write(append(visibleJSON(line), '\n'))
	return err
}

// pick keeps some fields of an object, or of every object of an array, in the
// order asked for.
func pick(data []byte, want, have []string) ([]byte, error) {
	for _, f := range want {
		if have != nil && !slices.Contains(have, f) {
			return nil, usagef("--json: there is no field %q; choose from %s", f, strings.Join(have, ","))
		}
	}
	if len(data) > 0 && data[0] == '[' {
		var items []json.RawMessage
		if err := json.Unmarshal(data, &items); err != nil {
			return nil, err
		}
		for i, it := range items {
			picked, err := pick(it, want, nil)
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
	for i, f := range want {
		value := object[f]
		if value == nil {
			value = json.RawMessage("null")
		}
		out.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&out, "%q:%s", f, value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// fieldsOf are the names that a type's fields have in JSON.
func fieldsOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && !f.Anonymous && name != "-" && name != "" {
			out = append(out, name)
		}
	}
	return out
}
