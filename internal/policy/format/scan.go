package format

import (
	"strings"

	"github.com/muster-id/muster/internal/clause"
)

// A token is a piece of Cedar, with the comments around it.
type token struct {
	text   string
	before []comment // on lines of their own
	after  []string  // on its line
	blank  bool      // an empty line stands between the last comment and it
	unary  bool      // a sign, not an operation
	effect bool      // permit or forbid, where a policy begins
}

// A comment stands on lines of its own.
type comment struct {
	text  string
	blank bool // an empty line stands before it
}

// scan takes a text apart that was parsed before. The last token is empty: it
// holds the comments at the end.
func scan(text string) []token {
	var out []token
	next := token{}
	lines := 1 // begun since the last token or comment; the text begins a line
	for i := 0; i < len(text); {
		n := 1
		switch c := text[i]; {
		case c == '\n':
			lines++
			i++
			continue
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case c == '/' && i+1 < len(text) && (text[i+1] == '/' || text[i+1] == '*'):
			n = clause.CommentLength(text[i:])
			remark := strings.TrimRight(text[i:i+n], " \t\r")
			if lines == 0 && len(next.before) == 0 && len(out) > 0 {
				out[len(out)-1].after = append(out[len(out)-1].after, remark)
			} else {
				next.before = append(next.before, comment{remark, lines > 1})
			}
			i += n
			lines = 0
			continue
		case c == '"':
			n = clause.LiteralLength(text[i:])
		case isWord(c):
			for i+n < len(text) && isWord(text[i+n]) {
				n++
			}
		case i+1 < len(text) && isPair(text[i:i+2]):
			n = 2
		}
		next.text, next.blank = text[i:i+n], lines > 1
		next.unary = (next.text == "-" || next.text == "!") && (len(out) == 0 || !endsOperand(&out[len(out)-1]))
		out = append(out, next)
		next, lines = token{}, 0
		i += n
	}
	next.blank = lines > 1
	return append(out, next)
}

func isPair(s string) bool {
	switch s {
	case "::", "!=", "<=", ">=", "==", "||", "&&":
		return true
	}
	return false
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// isKeyword reports whether s can be no name.
func isKeyword(s string) bool {
	switch s {
	case "if", "then", "else", "in", "like", "has", "is":
		return true
	}
	return false
}

// endsOperand reports whether an operation may follow t, so that a minus is
// one.
func endsOperand(t *token) bool {
	return isClosing(t.text) || t.text[0] == '"' || isWord(t.text[0]) && !isKeyword(t.text)
}
