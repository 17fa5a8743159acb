package output

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A Column shows one thing about a T in tables and CSV.
type Column[T any] struct {
	Head string
	Of   func(T) string
	Wide bool // left out of narrow tables
}

// Columns makes columns of the fields of a struct by their names in JSON, a
// dot leading into a struct or to where a pointer leads: "id name owner.ref". HEAD=field gives a column
// another heading, with _ for a space. What stands behind a bar is shown only
// in wide tables. It panics on a name that is not there, so it belongs into
// package variables.
func Columns[T any](spec string) []Column[T] {
	var out []Column[T]
	wide := false
	for _, word := range strings.Fields(spec) {
		if word == "|" {
			wide = true
			continue
		}
		head, path, renamed := strings.Cut(word, "=")
		if !renamed {
			head, path = word, word
		}
		way := wayTo(reflect.TypeFor[T](), strings.Split(path, "."))
		out = append(out, Column[T]{
			Head: strings.ToUpper(strings.NewReplacer("_", " ", ".", " ").Replace(head)), Wide: wide,
			Of: func(v T) string { return cell(walk(reflect.ValueOf(v), way)) },
		})
	}
	return out
}

// wayTo is the index of each field on the path.
func wayTo(t reflect.Type, path []string) [][]int {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && !f.Anonymous && nameOf(f) == path[0] {
			if len(path) == 1 {
				return [][]int{f.Index}
			}
			return append([][]int{f.Index}, wayTo(f.Type, path[1:])...)
		}
	}
	panic(fmt.Sprintf("output: %v has no field %q", t, path[0]))
}

// walk goes the way; behind a nil pointer is nothing.
func walk(v reflect.Value, way [][]int) reflect.Value {
	for _, index := range way {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.FieldByIndex(index)
	}
	return v
}

func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" {
		return ""
	}
	return name
}

// Fields are the names that the fields of T have in JSON.
func Fields[T any]() []string {
	var out []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if name := nameOf(f); f.IsExported() && !f.Anonymous && name != "" {
			out = append(out, name)
		}
	}
	return out
}

// cell writes one field for a table; nothing there is empty.
func cell(v reflect.Value) string {
	if !v.IsValid() {
		return ""
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return When(x)
	case *time.Time:
		if x == nil {
			return ""
		}
		return When(*x)
	case []string:
		return strings.Join(x, ",")
	case json.RawMessage:
		return string(x)
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return Yes(v.Bool())
	case reflect.Float64, reflect.Float32:
		return strconv.FormatFloat(v.Float(), 'f', 1, 64)
	case reflect.Slice, reflect.Map:
		return strconv.Itoa(v.Len())
	}
	return fmt.Sprint(v.Interface())
}

// Yes writes a truth.
func Yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func cells[T any](items []T, columns []Column[T], wide bool) (head []string, rows [][]string) {
	for _, c := range columns {
		if wide || !c.Wide {
			head = append(head, c.Head)
		}
	}
	for _, it := range items {
		row := make([]string, 0, len(head))
		for _, c := range columns {
			if wide || !c.Wide {
				row = append(row, c.Of(it))
			}
		}
		rows = append(rows, row)
	}
	return head, rows
}
