package manual

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-id/muster/docs"
)

func load(t *testing.T) *Manual {
	t.Helper()
	m, err := New(docs.Files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func get(h http.Handler, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	return w
}

func TestEveryPageIsInTheContentsOrBelowAPageThatIs(t *testing.T) {
	m := load(t)
	reached := map[string]bool{"README.md": true}
	var follow func(file string)
	follow = func(file string) {
		for _, l := range m.pages[file].links {
			if m.pages[l.file] != nil && !reached[l.file] {
				reached[l.file] = true
				follow(l.file)
			}
		}
	}
	follow("README.md")
	for file := range m.pages {
		if !reached[file] {
			t.Errorf("%s: no page leads there", file)
		}
	}
	if len(m.contents) != 4 {
		t.Errorf("the contents have %d sections, want tutorials, guides, reference and explanation", len(m.contents))
	}
}

func TestNoLinkLeadsNowhere(t *testing.T) {
	m := load(t)
	for file, p := range m.pages {
		for _, l := range p.links {
			to := m.pages[l.file]
			switch {
			case to == nil:
				t.Errorf("%s links to %s, which is not there", file, l.file)
			case l.fragment != "" && !to.ids[l.fragment]:
				t.Errorf("%s links to %s#%s, and that page has no such heading", file, l.file, l.fragment)
			}
		}
	}
	relative := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, name := range []string{"README.md", "SECURITY.md", "CONTRIBUTING.md"} {
		body, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range relative.FindAllStringSubmatch(string(body), -1) {
			if _, err := os.Stat(filepath.Join("..", "..", to[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, to[1], err)
			}
		}
	}
	err := fs.WalkDir(docs.Files, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".md" {
			return err
		}
		body, err := fs.ReadFile(docs.Files, name)
		for _, to := range relative.FindAllStringSubmatch(string(body), -1) {
			if _, err := os.Stat(filepath.Join("..", "..", "docs", path.Dir(name), to[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, to[1], err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryPageIsServedInBothForms(t *testing.T) {
	m := load(t)
	for file, p := range m.pages {
		w := get(m, p.URL)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<article>") || !strings.Contains(w.Body.String(), "<h1") {
			t.Errorf("%s: status %d, or no article", p.URL, w.Code)
		}
		want, err := fs.ReadFile(docs.Files, file)
		if err != nil {
			t.Fatal(err)
		}
		if w := get(m, p.URL+".md"); w.Code != http.StatusOK || w.Body.String() != string(want) {
			t.Errorf("%s.md: status %d, or not the file", p.URL, w.Code)
		}
	}
	if got := get(m, "/docs/llms.txt").Body.String(); !strings.Contains(got, "](/docs/tutorial/first-hour.md)") {
		t.Errorf("llms.txt lists no first hour:\n%s", got)
	}
}

func TestThePolicyLetsNoScriptAndNoStrangerIn(t *testing.T) {
	m := load(t)
	for _, url := range []string{"/docs", "/docs/search?q=x", "/docs/nowhere", "/docs/manual.css"} {
		w := get(m, url)
		if got := w.Header().Get("Content-Security-Policy"); got != policy {
			t.Errorf("%s: policy %q", url, got)
		}
		if body := w.Body.String(); strings.Contains(body, "<script") || strings.Contains(body, "style=") {
			t.Errorf("%s carries a script or an inline style", url)
		}
	}
	if got := get(m, "/docs/nowhere").Code; got != http.StatusNotFound {
		t.Errorf("a page that is not there answers %d", got)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/docs", strings.NewReader("x")))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d", w.Code)
	}
}

func TestAQuestionIsShownAsText(t *testing.T) {
	m := load(t)
	for _, q := range []string{"%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cimg%20src=x%3E", strings.Repeat("%E2%80%AE", 400), "%ff%fe"} {
		w := get(m, "/docs/search?q="+q)
		body := w.Body.String()
		if w.Code != http.StatusOK || strings.Contains(body, "<script") || strings.Contains(body, "<img src=x") {
			t.Errorf("%s: status %d, or markup came back", q, w.Code)
		}
	}
}

func TestTheSearchFindsThePageThatATitleNames(t *testing.T) {
	m := load(t)
	hits := m.search("first hour")
	if len(hits) == 0 || hits[0].Page.URL != "/docs/tutorial/first-hour" {
		t.Fatalf("found %+v", hits)
	}
	if got := m.search("a word that nowhere stands qqqq"); len(got) != 0 {
		t.Errorf("found %d pages for words that stand nowhere", len(got))
	}
	if hits[0].Excerpt == "" {
		t.Error("no excerpt")
	}
}

func TestARepeatedReadingIsNotSentAgain(t *testing.T) {
	m := load(t)
	first := get(m, "/docs")
	r := httptest.NewRequest(http.MethodGet, "/docs", nil)
	r.Header.Set("If-None-Match", first.Header().Get("ETag"))
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	if rest, _ := io.ReadAll(w.Body); w.Code != http.StatusNotModified || len(rest) != 0 {
		t.Errorf("status %d with %d bytes", w.Code, len(rest))
	}
}

func TestWrongDocumentationIsRefused(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"without contents":            {"a.md": {Data: []byte("# A")}},
		"contents naming a lost page": {"README.md": {Data: []byte("# R\n\n## S\n\n- [A](a.md)\n")}},
		"a page without a title":      {"README.md": {Data: []byte("# R\n")}, "a.md": {Data: []byte("text")}},
	} {
		if _, err := New(files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	m, err := New(fstest.MapFS{"README.md": {Data: []byte("# R\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if body := get(m, "/docs").Body.String(); strings.Contains(body, "<script") || strings.Contains(body, "javascript:") {
		t.Error("raw HTML or a script link was served")
	}
}
