package format

import "strings"

// A printer writes tokens, and breaks lines where they become too long.
type printer struct {
	out     strings.Builder
	column  int  // bytes in the line so far
	atStart bool // of a line; nothing is written in it
	must    bool // a comment ended the line
	indent  int  // of the next line
	line    int  // indent of this line
	prev    *token
}

// newline ends the line, unless it is empty.
func (p *printer) newline() {
	p.must = false
	if !p.atStart {
		p.out.WriteByte('\n')
		p.column, p.atStart, p.line = 0, true, p.indent
	}
}

func (p *printer) write(s string) {
	if p.atStart {
		p.out.WriteString(strings.Repeat("  ", p.line))
		p.column, p.atStart = 2*p.line, false
	}
	p.out.WriteString(s)
	p.column += len(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 { // a comment over several lines
		p.column = len(s) - i - 1
	}
}

// comments writes comments on lines of their own.
func (p *printer) comments(list []comment, spaced bool) {
	for i, c := range list {
		p.newline()
		if spaced && c.blank && i > 0 {
			p.out.WriteByte('\n')
		}
		line := p.line
		p.write(c.text)
		p.newline()
		p.line = line // as deep as what it is about
	}
}

// separate puts an empty line before a policy, or before the comments at the
// end.
func (p *printer) separate(t *token, first bool) {
	p.newline()
	if !first && (t.text != "" || len(t.before) > 0) {
		p.out.WriteByte('\n')
	}
	if t.text == "" {
		return
	}
	p.comments(t.before, true)
	if t.blank && len(t.before) > 0 {
		p.out.WriteByte('\n')
	}
	p.prev = nil
}

// policy writes one policy, the comments before it excepted.
func (p *printer) policy(t *tree) {
	begun := t.peek()
	bare := *begun
	bare.before = nil // written
	for !t.done() {
		n := t.next()
		if n.token == begun {
			n.token = &bare
		}
		segment := []node{n}
		switch n.token.text {
		case ";":
			p.inline(segment)
			return
		case "@":
			segment = append(segment, t.next())
		case "permit", "forbid":
			n.token.effect = true
		}
		for !t.done() && isOpening(t.peek().text) {
			segment = append(segment, t.next())
		}
		p.inline(segment)
		if !t.done() && t.peek().text != ";" {
			p.newline()
		}
	}
}

// token writes t with its comments.
func (p *printer) token(t *token) {
	if len(t.before) > 0 {
		p.comments(t.before, false)
	}
	if p.must {
		p.newline()
	}
	if !p.atStart && space(p.prev, t) {
		p.write(" ")
	}
	p.write(t.text)
	for _, c := range t.after {
		p.write(" " + c)
		p.must = true
	}
	p.prev = t
}

// inline writes nodes one after the other; a group that does not fit is
// broken.
func (p *printer) inline(nodes []node) {
	for i := range nodes {
		n := &nodes[i]
		if n.close == nil {
			p.token(n.token)
			continue
		}
		if p.must {
			p.newline()
		}
		if len(n.token.before) == 0 && p.fits(nodes[i:i+1], 1) {
			p.flat(n)
		} else {
			p.broken(n)
		}
	}
}

func (p *printer) flat(n *node) {
	p.token(n.token)
	for i := range n.inner {
		if inner := &n.inner[i]; inner.close != nil {
			p.flat(inner)
		} else {
			p.token(inner.token)
		}
	}
	p.token(n.close)
}

// broken writes a group with its brackets at the ends of lines.
func (p *printer) broken(n *node) {
	p.token(n.token)
	outer, line := p.indent, p.line
	p.indent = line + 1
	if len(n.inner) > 0 || len(n.token.after) > 0 || len(n.close.before) > 0 {
		p.newline()
		p.pieces(n.inner)
		p.comments(n.close.before, false)
		p.indent = line
		p.newline()
		p.line = line
	}
	closing := *n.close
	closing.before = nil // written, as deep as what they are about
	p.token(&closing)
	p.indent = outer
}

// pieces writes nodes in one line if they fit, else each piece of them in a
// line of its own.
func (p *printer) pieces(nodes []node) {
	if silent(nodes) && p.fits(nodes, 0) {
		p.inline(nodes)
		return
	}
	list := split(nodes)
	if len(list) == 1 {
		p.inline(nodes)
		return
	}
	for i, piece := range list {
		if i > 0 {
			p.newline()
		}
		p.indent++ // of what a piece is continued in
		p.pieces(piece)
		p.indent--
	}
}

// fits reports whether nodes, and as many bytes besides, fit into the line and
// hold no comment that would end it.
func (p *printer) fits(nodes []node, besides int) bool {
	column, prev := p.column, p.prev
	switch {
	case p.must:
		column, prev = 2*p.indent, nil
	case p.atStart:
		column, prev = 2*p.line, nil
	}
	end, _ := width(nodes, column+besides, prev)
	return end <= Width && silent(nodes)
}

// width returns the column after nodes in one line, and the last token.
func width(nodes []node, column int, prev *token) (int, *token) {
	add := func(t *token) {
		if prev != nil && space(prev, t) {
			column++
		}
		column += len(t.text)
		prev = t
	}
	for i := range nodes {
		n := &nodes[i]
		add(n.token)
		if n.close != nil {
			if column > Width {
				return column, prev
			}
			column, prev = width(n.inner, column, prev)
			add(n.close)
		}
	}
	return column, prev
}

// split takes nodes apart where they are joined most loosely: after commas,
// before then and else, after ||, after &&.
func split(nodes []node) [][]node {
	after := func(text string) [][]node {
		var out [][]node
		from := 0
		for i := range nodes {
			if nodes[i].token.text == "if" { // what follows belongs to it
				break
			}
			if nodes[i].token.text != text || i == 0 || i+1 == len(nodes) {
				continue
			}
			end := i + 1
			if n := &nodes[i-1]; len(nodes[i].token.before) > 0 || len(n.last().after) > 0 {
				end = i // a comment ends the line before it
			}
			if end > from {
				out, from = append(out, nodes[from:end]), end
			}
		}
		return append(out, nodes[from:])
	}
	var commas [][]node
	from := 0
	for i := range nodes {
		if nodes[i].token.text == "," && i+1 < len(nodes) {
			commas, from = append(commas, nodes[from:i+1]), i+1
		}
	}
	if from > 0 {
		return append(commas, nodes[from:])
	}
	if len(nodes) > 0 && nodes[0].token.text == "if" {
		return branches(nodes)
	}
	for _, operator := range []string{"||", "&&"} {
		if list := after(operator); len(list) > 1 {
			return list
		}
	}
	return [][]node{nodes}
}

// branches splits an if before its then and its else.
func branches(nodes []node) [][]node {
	var out [][]node
	from, depth := 0, 0
	for i := range nodes {
		switch nodes[i].token.text {
		case "if":
			depth++
		case "then":
			if depth == 1 {
				out, from = append(out, nodes[from:i]), i
			}
		case "else":
			if depth--; depth == 0 {
				out, from = append(out, nodes[from:i]), i
			}
		}
	}
	return append(out, nodes[from:])
}

// space reports whether a blank stands between two tokens of a line.
func space(a, b *token) bool {
	if a == nil {
		return false
	}
	switch b.text {
	case ",", ";", ")", "]", ".", "::", ":":
		return false
	case "}":
		return a.text != "{"
	}
	switch a.text {
	case "(", "[", ".", "::", "@":
		return false
	case "{":
		return true
	}
	if a.unary {
		return false
	}
	name := isWord(a.text[0]) && !isKeyword(a.text)
	switch b.text {
	case "(":
		return !name || a.effect
	case "[":
		return !name && a.text != ")" && a.text != "]" && a.text != "}" && a.text[0] != '"'
	}
	return true
}
