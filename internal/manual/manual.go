// Package manual serves the documentation below /docs, from files embedded in
// the program: it works offline, asks nobody to sign in, and runs no script.
//
// The table of contents is README.md: every second-level heading is a section,
// every link below it a page of that section, in that order. A page has three
// forms: /docs/guide/nginx for people, /docs/guide/nginx.md for programs (with
// /docs/llms.txt as their list of all pages), and a place in the answer of
// /docs/search. Pages are rendered once, when the Manual is made.
//
// Markdown is CommonMark with tables; raw HTML in it is left out. The content
// security policy allows our own style and pictures and nothing else.
package manual

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Root is where the manual is to be mounted; everything lies below it.
const Root = "/docs"

const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed page.html manual.css
var assets embed.FS

// A page is one Markdown file.
type page struct {
	URL, Title string
	Section    string
	Previous   *page
	Next       *page
	Body       template.HTML

	source []byte
	prose  string   // the text without its marks, on one line
	words  string   // prose in lower case, for the search
	heads  []string // lower-case headings
	links  []link
	ids    map[string]bool
}

// A section is a heading of the table of contents.
type section struct {
	Title string
	Pages []*page
}

// A link is where a page points to.
type link struct{ file, fragment string }

// A Manual is an http.Handler for everything below [Root]. It is safe for
// concurrent use.
type Manual struct {
	pages    map[string]*page // by file
	contents []*section
	pictures map[string][]byte // by URL
	css      []byte
	shell    *template.Template
}

// New reads all of files, whose README.md is the table of contents. It returns
// an error when a file cannot be read or the contents name a page that is not
// there.
func New(files fs.FS) (*Manual, error) {
	m := &Manual{pages: map[string]*page{}, pictures: map[string][]byte{}}
	var err error
	if m.css, err = assets.ReadFile("manual.css"); err != nil {
		return nil, err
	}
	if m.shell, err = template.ParseFS(assets, "page.html"); err != nil {
		return nil, err
	}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		switch path.Ext(name) {
		case ".md":
			return m.read(name, body)
		case ".png", ".webp", ".svg":
			m.pictures[Root+"/"+name] = body
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the documentation: %w", err)
	}
	return m, m.order()
}

// address is the URL of a file.
func address(file string) string {
	if file == "README.md" {
		return Root
	}
	if dir, name := path.Split(file); name == "README.md" {
		return Root + "/" + strings.TrimSuffix(dir, "/")
	}
	return Root + "/" + strings.TrimSuffix(file, ".md")
}

// read renders one file.
func (m *Manual) read(file string, source []byte) error {
	p := &page{URL: address(file), source: source, ids: map[string]bool{}}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(
		parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(&rewrite{p, file}, 100))))
	var out bytes.Buffer
	if err := md.Convert(source, &out); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	// What scrolls sideways must be reachable by keyboard.
	body := strings.NewReplacer("<pre>", `<pre tabindex="0">`, "<table>", `<div class="wide" tabindex="0"><table>`, "</table>", "</table></div>").Replace(out.String())
	p.Body = template.HTML(body) // our own text; the renderer leaves raw HTML out
	p.prose = strings.Join(strings.Fields(p.prose), " ")
	p.words = strings.ToLower(p.prose)
	if p.Title == "" {
		return fmt.Errorf("%s has no title", file)
	}
	m.pages[file] = p
	return nil
}

// A rewrite collects what the manual wants to know of a page, and turns links
// between files into links between pages.
type rewrite struct {
	page *page
	file string
}

// Transform implements parser.ASTTransformer.
func (r *rewrite) Transform(doc *ast.Document, reader text.Reader, _ parser.Context) {
	var outside []*ast.Link
	var prose strings.Builder
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		if n.Type() == ast.TypeBlock {
			prose.WriteByte(' ')
		}
		switch n := n.(type) {
		case *ast.Text:
			prose.Write(n.Segment.Value(reader.Source()))
			if n.SoftLineBreak() {
				prose.WriteByte(' ')
			}
		case *ast.FencedCodeBlock:
			prose.Write(n.Lines().Value(reader.Source()))
		case *ast.Heading:
			title := plain(n, reader.Source())
			if n.Level == 1 && r.page.Title == "" {
				r.page.Title = title
			}
			r.page.heads = append(r.page.heads, strings.ToLower(title))
			if id, ok := n.AttributeString("id"); ok {
				r.page.ids[string(id.([]byte))] = true
			}
		case *ast.Image:
			n.Destination = []byte(Root + "/" + path.Join(path.Dir(r.file), string(n.Destination)))
		case *ast.Link:
			if !r.follow(n) {
				outside = append(outside, n)
			}
		}
		return ast.WalkContinue, nil
	})
	for _, l := range outside {
		unlink(l)
	}
	r.page.prose = prose.String()
}

// follow makes a link lead to a page. It reports false for a file that is not
// part of the manual, such as a source file: what cannot be opened is no link.
func (r *rewrite) follow(n *ast.Link) bool {
	to := string(n.Destination)
	if strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "http://") {
		return true
	}
	file, fragment, _ := strings.Cut(to, "#")
	if file == "" {
		r.page.links = append(r.page.links, link{r.file, fragment})
		return true
	}
	file = path.Join(path.Dir(r.file), file)
	switch {
	case strings.HasPrefix(file, "..") || strings.Contains(file, ":"):
		return false
	case path.Ext(file) == "":
		file += "/README.md"
	case path.Ext(file) != ".md":
		return false
	}
	r.page.links = append(r.page.links, link{file, fragment})
	n.Destination = []byte(address(file))
	if fragment != "" {
		n.Destination = append(n.Destination, "#"+fragment...)
	}
	return true
}

// unlink leaves only the words of a link.
func unlink(l *ast.Link) {
	parent := l.Parent()
	for c := l.FirstChild(); c != nil; {
		next := c.NextSibling()
		parent.InsertBefore(parent, l, c)
		c = next
	}
	parent.RemoveChild(parent, l)
}

// plain is the text of a node.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// order reads the table of contents.
func (m *Manual) order() error {
	home := m.pages["README.md"]
	if home == nil {
		return errors.New("the documentation has no README.md")
	}
	home.Section = "Contents"
	doc := goldmark.New().Parser().Parse(text.NewReader(home.source))
	var open *section
	var last *page
	var missing error
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering && h.Level == 2 {
			open = &section{Title: plain(h, home.source)}
			m.contents = append(m.contents, open)
		}
		l, ok := n.(*ast.Link)
		if !ok || !entering || open == nil {
			return ast.WalkContinue, nil
		}
		file := string(l.Destination)
		if strings.Contains(file, "://") || strings.HasPrefix(file, "..") {
			return ast.WalkContinue, nil
		}
		if path.Ext(file) == "" {
			file = path.Join(file, "README.md")
		}
		p := m.pages[file]
		if p == nil {
			missing = fmt.Errorf("README.md names %s, which is not there", file)
			return ast.WalkStop, nil
		}
		p.Section, p.Previous = open.Title, last
		if last != nil {
			last.Next = p
		}
		last = p
		open.Pages = append(open.Pages, p)
		return ast.WalkContinue, nil
	})
	return missing
}

// ServeHTTP answers GET and HEAD below [Root].
func (m *Manual) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the documentation is only read", http.StatusMethodNotAllowed)
		return
	}
	url := strings.TrimSuffix(r.URL.Path, "/")
	switch url {
	case Root + "/manual.css":
		m.send(w, r, "text/css; charset=utf-8", m.css)
		return
	case Root + "/llms.txt":
		m.send(w, r, "text/plain; charset=utf-8", m.list())
		return
	case Root + "/search":
		m.answer(w, r)
		return
	}
	if picture, ok := m.pictures[url]; ok {
		m.send(w, r, map[string]string{".png": "image/png", ".webp": "image/webp", ".svg": "image/svg+xml"}[path.Ext(url)], picture)
		return
	}
	for _, p := range m.pages {
		switch url {
		case p.URL:
			m.show(w, r, http.StatusOK, view{Page: p})
			return
		case p.URL + ".md":
			m.send(w, r, "text/markdown; charset=utf-8", p.source)
			return
		}
	}
	m.show(w, r, http.StatusNotFound, view{Page: &page{Title: "There is no such page", Body: "<p>The contents beside this text list every page. The search looks through all of them.</p>"}})
}

// A view is what page.html shows.
type view struct {
	Page     *page
	Contents []*section
	Query    string
	Hits     []hit
	Asked    bool
}

func (m *Manual) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.Contents = m.contents
	var out bytes.Buffer
	if err := m.shell.Execute(&out, v); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	if status == http.StatusOK && !v.Asked {
		m.send(w, r, "text/html; charset=utf-8", out.Bytes())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the reader may be gone
}

// send writes one body that stays the same until the program changes.
func (m *Manual) send(w http.ResponseWriter, r *http.Request, mediaType string, body []byte) {
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the reader may be gone
	}
}

// list is the table of contents for programs.
func (m *Manual) list() []byte {
	var b bytes.Buffer
	b.WriteString("# Muster\n\nZero trust for non-human identities. Every page below is Markdown.\n")
	for _, s := range m.contents {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		for _, p := range s.Pages {
			fmt.Fprintf(&b, "- [%s](%s.md)\n", p.Title, p.URL)
		}
	}
	return b.Bytes()
}
