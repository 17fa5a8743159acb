package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A Place is where a setting stands in a document. Both count from 1.
type Place struct{ Line, Column int }

// Places says where each setting of a document stands, by its path as in
// "notify[0].url". A document that cannot be read has none.
func Places(data []byte) map[string]Place {
	out := map[string]Place{}
	walk(data, func(path string, at Place, _ reflect.Type) { out[path] = at }, nil)
	return out
}

// Unknown returns every key of data that a document decoded into `into` may not
// hold, in the order of the document, each with its place and the key that was
// probably meant: the nearest beside it, else where the same word belongs.
func Unknown(file string, data []byte, into any) []*Error {
	var out []*Error
	root := reflect.TypeOf(into)
	walk(data, func(path string, at Place, parent reflect.Type) {
		if parent == nil {
			return
		}
		_, word := cutLast(path)
		if slices.Contains(siblings(parent), word) {
			return
		}
		out = append(out, &Error{File: file, Line: at.Line, Column: at.Column, Reason: unknownKey(word, parent, root)})
	}, root)
	return out
}

func unknownKey(word string, parent, root reflect.Type) string {
	reason := fmt.Sprintf("there is no setting %.80q", word)
	if near := Nearest(word, siblings(parent)); near != "" {
		return reason + fmt.Sprintf("; did you mean %q?", near)
	}
	if path := belongs(word, root, "", nil); path != "" {
		return reason + fmt.Sprintf(" here; did you mean %q?", path)
	}
	if near := Nearest(word, fieldNames(root, nil)); near != "" {
		if path := belongs(near, root, "", nil); path != "" {
			near = path
		}
		return reason + fmt.Sprintf("; did you mean %q?", near)
	}
	return reason
}

// cutLast splits a path before its last key.
func cutLast(path string) (parent, word string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// walk calls visit for every key. parent is the struct that the key should be a
// field of; nil when t is nil or the place is no struct.
func walk(data []byte, visit func(path string, at Place, parent reflect.Type), t reflect.Type) {
	defer func() { _ = recover() }() // the parser panics on some malformed tags; Decode reports it
	if len(data) > MaxSize {
		return
	}
	if depth, _ := nesting(data); depth > maxDepth {
		return
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return
	}
	for _, doc := range tree.Docs {
		if doc.Body != nil {
			walkNode(doc.Body, "", t, visit)
		}
	}
}

func walkNode(n ast.Node, path string, t reflect.Type, visit func(string, Place, reflect.Type)) {
	t = bare(t)
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			walkPair(v, path, t, visit)
		}
	case *ast.MappingValueNode:
		walkPair(n, path, t, visit)
	case *ast.SequenceNode:
		var element reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			element = t.Elem()
		}
		for i, v := range n.Values {
			inner := fmt.Sprintf("%s[%d]", path, i)
			if p := firstPlace(v); p.Line > 0 {
				visit(inner, p, nil)
			}
			walkNode(v, inner, element, visit)
		}
	case *ast.AnchorNode:
		walkNode(n.Value, path, t, visit)
	case *ast.TagNode:
		walkNode(n.Value, path, t, visit)
	}
}

// firstPlace is where an entry of a list begins.
func firstPlace(n ast.Node) Place {
	switch m := n.(type) {
	case *ast.MappingNode:
		if len(m.Values) > 0 {
			return firstPlace(m.Values[0])
		}
	case *ast.MappingValueNode:
		p := m.Key.GetToken().Position
		return Place{p.Line, p.Column}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return Place{t.Position.Line, t.Position.Column}
	}
	return Place{}
}

func walkPair(v *ast.MappingValueNode, path string, t reflect.Type, visit func(string, Place, reflect.Type)) {
	token := v.Key.GetToken()
	word := token.Value
	inner := word
	if path != "" {
		inner = path + "." + word
	}
	var parent, value reflect.Type
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		parent, value = t, fieldType(t, word)
	case t.Kind() == reflect.Map:
		value = t.Elem()
	}
	visit(inner, firstPlace(v), parent)
	if v.Value != nil && (parent == nil || value != nil) {
		walkNode(v.Value, inner, value, visit)
	}
}

func bare(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// A Field is one key of a struct.
type Field struct {
	Key string
	reflect.StructField
	Owner reflect.Type // the struct that declares it, which differs when inlined
	Index []int        // from the struct that was asked about
}

// Fields lists the keys that a document decoded into the struct t may hold, in
// the order of declaration. Fields of inlined structs count as its own.
func Fields(t reflect.Type) []Field {
	t = bare(t)
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var out []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if slices.Contains(strings.Split(options, ","), "inline") {
			for _, in := range Fields(f.Type) {
				in.Index = append([]int{i}, in.Index...)
				out = append(out, in)
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		out = append(out, Field{Key: name, StructField: f, Owner: t, Index: []int{i}})
	}
	return out
}

func siblings(t reflect.Type) []string {
	var out []string
	for _, f := range Fields(t) {
		out = append(out, f.Key)
	}
	return out
}

func fieldType(t reflect.Type, key string) reflect.Type {
	for _, f := range Fields(t) {
		if f.Key == key {
			return f.Type
		}
	}
	return nil
}

// belongs returns the first path below t whose last key is word, or "".
func belongs(word string, t reflect.Type, path string, seen []reflect.Type) string {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		if t.Kind() == reflect.Slice {
			path += "[]"
		}
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || slices.Contains(seen, t) {
		return ""
	}
	seen = append(seen, t)
	for _, f := range Fields(t) {
		inner := strings.TrimPrefix(path+"."+f.Key, ".")
		if f.Key == word {
			return inner
		}
		if found := belongs(word, f.Type, inner, seen); found != "" {
			return found
		}
	}
	return ""
}
