// Package strictyaml reads YAML that people write by hand and says exactly
// what is wrong with it. A key that nobody knows is an error with its line and
// the nearest key that exists, because a misspelt setting that is silently
// ignored is a setting that is silently off. Aliases are refused, and size and
// depth are limited, so a file cannot be made to explode.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxSize is the largest document that is read, in bytes.
const MaxSize = 8 << 20

const maxDepth = 32

// An Error says what is wrong and where. Line and Column count from 1 and are
// 0 when the place is unknown.
type Error struct {
	File         string
	Line, Column int
	Reason       string
}

// Error is "file:line:column: reason".
func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Reason)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Reason)
	}
}

// Decode reads data, which came from file, into the struct or slice that into
// points to. An empty document leaves it as it is, so defaults may be set
// before. The error is an *[Error].
func Decode(file string, data []byte, into any) (err error) {
	// The parser below is not ours and panics on some malformed tags: such a
	// document is wrong, and the program goes on.
	defer func() {
		if p := recover(); p != nil {
			err = &Error{File: file, Reason: "the document cannot be understood as YAML"}
		}
	}()
	if len(data) > MaxSize {
		return &Error{File: file, Reason: fmt.Sprintf("the file has %d bytes; the limit is %d", len(data), MaxSize)}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return &Error{File: file, Line: 1 + bytes.Count(data[:i], []byte{'\n'}), Column: 1, Reason: "the file holds a NUL byte; is it really YAML?"}
	}
	if depth, line := nesting(data); depth > maxDepth {
		return &Error{File: file, Line: line, Column: 1, Reason: fmt.Sprintf("nested more than %d deep", maxDepth)}
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return explain(file, data, err, into)
	}
	if bad := findAlias(tree); bad != nil {
		return &Error{File: file, Line: bad.Line, Column: bad.Column, Reason: "aliases (*name) are not accepted; write the value again"}
	}
	if empty(tree) {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := dec.Decode(into); err != nil {
		return explain(file, data, err, into)
	}
	return nil
}

// nesting bounds the depth before the parser recurses: the deepest run of open
// brackets, or of indentation.
func nesting(data []byte) (deepest, line int) {
	open, at := 0, 1
	for _, c := range data {
		switch c {
		case '\n':
			at++
		case '[', '{':
			if open++; open > deepest {
				deepest, line = open, at
			}
		case ']', '}':
			open = max(open-1, 0)
		}
	}
	for i, l := range bytes.Split(data, []byte{'\n'}) {
		// "- - - -" and indentation nest without brackets.
		rest, n := l, 0
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '-' || rest[0] == '?') {
			if rest[0] != ' ' {
				n++
			}
			rest = rest[1:]
		}
		if n = max(n, (len(l)-len(rest))/8); n > deepest && len(rest) > 0 {
			deepest, line = n, i+1
		}
	}
	return deepest, line
}

func empty(tree *ast.File) bool {
	for _, d := range tree.Docs {
		if d.Body != nil && d.Body.Type() != ast.NullType && d.Body.Type() != ast.CommentType && d.Body.Type() != ast.CommentGroupType {
			return false
		}
	}
	return true
}

type position struct{ Line, Column int }

type aliasFinder struct{ found *position }

func (f *aliasFinder) Visit(n ast.Node) ast.Visitor {
	if n.Type() == ast.AliasType && f.found == nil {
		p := n.GetToken().Position
		f.found = &position{p.Line, p.Column}
	}
	return f
}

func findAlias(tree *ast.File) *position {
	f := &aliasFinder{}
	for _, d := range tree.Docs {
		if d.Body != nil {
			ast.Walk(f, d.Body)
		}
	}
	return f.found
}

func explain(file string, data []byte, err error, into any) error {
	e := &Error{File: file, Reason: firstLine(err.Error())}
	var at yaml.Error
	if errors.As(err, &at) {
		e.Reason = at.GetMessage()
		if t := at.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
			var unknown *yaml.UnknownFieldError
			if errors.As(err, &unknown) {
				e.Reason = fmt.Sprintf("there is no setting %.80q", t.Value)
				for _, u := range Unknown(file, data, into) {
					if u.Line == e.Line && u.Column == e.Column {
						e.Reason = u.Reason
					}
				}
			}
		}
	}
	return e
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// fieldNames lists every key that a document of type t may hold, at any depth.
func fieldNames(t reflect.Type, seen []reflect.Type) []string {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	for _, s := range seen {
		if s == t {
			return nil
		}
	}
	seen = append(seen, t)
	var names []string
	for _, f := range Fields(t) {
		names = append(names, f.Key)
		names = append(names, fieldNames(f.Type, seen)...)
	}
	return names
}

// Nearest returns the candidate that a person most likely meant by word, or ""
// when none is close.
func Nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, bound := "", 1+len(word)/3
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d <= bound {
			best, bound = c, d-1
		}
	}
	return best
}

// distance is the number of single-character edits between a and b
// (Levenshtein, 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
