package clause

import "fmt"

// A Position is where a scan stopped, both from 1.
type Position struct{ Line, Column int }

// Bounds on the text of policies, in bytes and in levels.
const (
	MaxFile    = 4 << 20
	MaxPolicy  = 64 << 10
	MaxNesting = 64
)

// Scan looks at policy text before the parser does: size, nesting and length
// of each policy. The parser and the type checker recurse with nesting, and Go
// cannot recover from an exhausted stack, so a bound must come first. It
// returns where and why the text is refused; an empty reason means that it may
// be parsed.
func Scan(text string) (Position, string) {
	at := Position{1, 1}
	if len(text) > MaxFile {
		return at, fmt.Sprintf("the file has %d bytes, at most %d are allowed", len(text), MaxFile)
	}
	depth, start := 0, 0
	for i := 0; i < len(text); {
		if i-start > MaxPolicy {
			return at, fmt.Sprintf("a policy has more than %d bytes", MaxPolicy)
		}
		n := 1
		switch text[i] {
		case '"':
			n = LiteralLength(text[i:])
		case '/':
			n = CommentLength(text[i:])
		case '(', '[', '{':
			if depth++; depth > MaxNesting {
				return at, fmt.Sprintf("brackets are nested deeper than %d", MaxNesting)
			}
		case ')', ']', '}':
			depth--
		case ';':
			depth, start = 0, i
		}
		at = advance(at, text[i:i+n])
		i += n
	}
	return at, ""
}

// LiteralLength is the length of the literal that s begins with, to the end of
// s if it is not closed.
func LiteralLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// CommentLength is the length of the comment that s begins with, 1 if it is
// none.
func CommentLength(s string) int {
	if len(s) < 2 {
		return 1
	}
	switch s[1] {
	case '/':
		for i := range len(s) {
			if s[i] == '\n' {
				return i
			}
		}
		return len(s)
	case '*':
		for i := 3; i < len(s); i++ {
			if s[i-1] == '*' && s[i] == '/' {
				return i + 1
			}
		}
		return len(s)
	}
	return 1
}

func advance(at Position, passed string) Position {
	for i := range len(passed) {
		switch {
		case passed[i] == '\n':
			at.Line++
			at.Column = 1
		case passed[i]&0xc0 != 0x80: // columns count characters, not bytes
			at.Column++
		}
	}
	return at
}
