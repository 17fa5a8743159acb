// Package format writes Cedar policies in one canonical way: two people who
// write the same policy write the same bytes, and a diff shows what changed.
//
// It works on tokens, not on parsed policies, because a parser forgets
// comments. [Text] only moves white space: every token and every comment of the
// input is in the output, in the same order, and Text makes sure of it before it
// returns. So what is formatted means what it meant. Formatting twice changes
// nothing.
//
// The form: one annotation a line, the head on one line, each when and unless
// on a line of its own; what does not fit into 100 columns is broken after
// commas, then || and &&, and indented by two blanks. One empty line stands
// between policies, and where the author put one between comments.
package format

import (
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/policy"
)

// Width is how many bytes a line has at most, where it can be broken at all.
const Width = 100

// Text returns the canonical form of a file of policies. The error is
// [policy.Problems], which wraps nhi.ErrInvalid and names line and column, when
// text is no Cedar. An empty text stays empty.
func Text(file, text string) (string, error) {
	if bad := policy.Syntax(file, text); len(bad) > 0 {
		return "", bad
	}
	tokens := scan(text)
	p := printer{atStart: true}
	top := &tree{tokens: tokens}
	for first := true; !top.done(); first = false {
		p.separate(top.peek(), first)
		p.policy(top)
	}
	p.separate(&tokens[len(tokens)-1], len(tokens) == 1)
	p.comments(tokens[len(tokens)-1].before, true)
	out := strings.TrimRight(p.out.String(), "\n")
	if out != "" {
		out += "\n"
	}
	if !same(tokens, scan(out)) {
		return "", policy.Problems{{File: file, Line: 1, Column: 1, Reason: "it cannot be formatted without changing it; this is a bug worth a report"}}
	}
	return out, nil
}

// same reports whether two texts have the same tokens and comments.
func same(a, b []token) bool {
	return slices.EqualFunc(a, b, func(a, b token) bool { return a.text == b.text }) &&
		slices.Equal(remarks(a), remarks(b))
}

func remarks(tokens []token) []string {
	var out []string
	for i := range tokens {
		for _, c := range tokens[i].before {
			out = append(out, c.text)
		}
		out = append(out, tokens[i].after...)
	}
	return out
}

// A node is a token, or a group: an opening bracket, what is inside, and the
// closing one.
type node struct {
	token *token
	inner []node
	close *token // nil: not a group
}

// last is the token that a node ends with.
func (n *node) last() *token {
	if n.close != nil {
		return n.close
	}
	return n.token
}

// A tree reads nodes from tokens.
type tree struct {
	tokens []token // the last one is the end
	at     int
}

func (t *tree) done() bool { return t.at >= len(t.tokens)-1 }

func (t *tree) peek() *token { return &t.tokens[t.at] }

// next reads a node. The brackets of what was parsed are in pairs.
func (t *tree) next() node {
	n := node{token: t.peek()}
	t.at++
	if !isOpening(n.token.text) {
		return n
	}
	for !t.done() && !isClosing(t.peek().text) {
		n.inner = append(n.inner, t.next())
	}
	n.close = t.peek()
	t.at++
	return n
}

func isOpening(s string) bool { return s == "(" || s == "[" || s == "{" }
func isClosing(s string) bool { return s == ")" || s == "]" || s == "}" }

// silent reports whether no comment stands anywhere in nodes, but for those
// before the first token and after the last.
func silent(nodes []node) bool {
	for i := range nodes {
		n := &nodes[i]
		if i > 0 && len(n.token.before) > 0 || (i < len(nodes)-1 || n.close != nil) && len(n.token.after) > 0 {
			return false
		}
		if n.close != nil && (!quiet(n.inner) || len(n.close.before) > 0 || i < len(nodes)-1 && len(n.close.after) > 0) {
			return false
		}
	}
	return true
}

// quiet reports whether no comment stands anywhere in nodes.
func quiet(nodes []node) bool {
	if len(nodes) == 0 {
		return true
	}
	return silent(nodes) && len(nodes[0].token.before) == 0 && len(nodes[len(nodes)-1].last().after) == 0
}
