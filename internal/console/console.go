// Package console serves the web console, which is embedded in the program.
//
// The console is built from web/ into dist/ and embedded when the program is
// built with the tag "console" (make build does both). Without the tag there is
// a page that says so, so that a plain "go install" compiles and works.
//
// Every file is read once, when the Handler is made, together with its
// compressed twins (.br, .gz): serving is a look-up in a map, which also means
// that no path can lead outside. Files below /assets/ carry a hash of their
// content in their name and may be kept for ever; everything else is asked for
// again with its ETag. The addresses of the console's pages all answer with
// index.html, and the script in it takes over; at an address that no page has
// it says so to a person, with status 404.
//
// The content security policy has no exceptions: no inline script or style, no
// other origin, no frame, and the sinks that turn text into script are closed
// (Trusted Types).
package console

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// policy is the Content-Security-Policy of every reply.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// pages are the addresses that the console's own router knows. One more
// segment is allowed below those that end in a slash. web/src/router.tsx is
// the other half of this list.
var pages = []string{"/", "/activity", "/findings", "/identities", "/identities/", "/policies", "/points", "/refusals", "/approvals", "/settings", "/sources"}

// types are the media types of what the console consists of. They are written
// here because the tables of the host differ.
var types = map[string]string{
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".svg":   "image/svg+xml",
	".txt":   "text/plain; charset=utf-8",
	".woff2": "font/woff2",
}

// Handler returns the handler of the console, to be mounted at the root. It
// answers GET and HEAD and is safe for concurrent use.
func Handler() http.Handler {
	h, err := handler(embedded, index)
	if err != nil {
		panic("console: the embedded files cannot be read: " + err.Error()) // a bug of the build
	}
	return h
}

// Licences returns the list of the packages in the console with the texts of
// their licences, as its build wrote it; empty when the console was not built.
func Licences() string {
	text, err := fs.ReadFile(embedded, "licenses.txt")
	if err != nil {
		return "" // only the placeholder is embedded
	}
	return string(text)
}

// An encoding is one form in which a file can be sent.
type encoding struct {
	body []byte
	etag string
}

// A file is something to serve, in all forms that exist.
type file struct {
	mediaType string
	forms     map[string]encoding // by content coding; "" is the plain one
}

type server struct {
	files map[string]file // by the path of the URL
	index file
}

// handler reads files, of which the one named index answers for every page.
func handler(files fs.FS, index string) (*server, error) {
	s := &server{files: map[string]file{}}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		plain, coding := strings.TrimSuffix(name, path.Ext(name)), strings.TrimPrefix(path.Ext(name), ".")
		if coding != "br" && coding != "gz" {
			plain, coding = name, ""
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		s.add("/"+plain, coding, body)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found, ok := s.files["/"+index]
	if !ok || found.forms[""].body == nil {
		return nil, fmt.Errorf("%s: %w", index, fs.ErrNotExist)
	}
	s.index = found
	// Pages have one address each: the files behind them have none.
	delete(s.files, "/index.html")
	delete(s.files, "/placeholder.html")
	return s, nil
}

func (s *server) add(url, coding string, body []byte) {
	f, ok := s.files[url]
	if !ok {
		f = file{mediaType: types[path.Ext(url)], forms: map[string]encoding{}}
		if f.mediaType == "" {
			f.mediaType = mime.TypeByExtension(path.Ext(url))
		}
	}
	if coding == "gz" {
		coding = "gzip"
	}
	sum := sha256.Sum256(body)
	f.forms[coding] = encoding{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	s.files[url] = f
}

// ServeHTTP serves one file or page.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the console is only read; the API is below /v1", http.StatusMethodNotAllowed)
		return
	}
	f, ok := s.files[r.URL.Path]
	switch {
	case ok && strings.HasPrefix(r.URL.Path, "/assets/"):
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	case ok:
		w.Header().Set("Cache-Control", "no-cache")
	case isPage(r.URL.Path):
		f = s.index
		w.Header().Set("Cache-Control", "no-cache")
	default:
		w.Header().Set("Cache-Control", "no-store")
		if !navigates(r) {
			http.Error(w, "there is no such page", http.StatusNotFound)
			return
		}
		s.index.serve(w, r, http.StatusNotFound)
		return
	}
	f.serve(w, r, http.StatusOK)
}

// isPage reports whether the console's router knows an address.
func isPage(url string) bool {
	for _, page := range pages {
		if url == page {
			return page == "/" || !strings.HasSuffix(page, "/")
		}
		if rest, below := strings.CutPrefix(url, page); below && page != "/" && strings.HasSuffix(page, "/") {
			return rest != "" && !strings.ContainsAny(rest, "/.\\")
		}
	}
	return false
}

// navigates reports whether a person opens the address in a browser (W3C Fetch
// Metadata), rather than a page or a program that asks for a file.
func navigates(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// serve writes the best form that the reader accepts. Only what was found can
// be what the reader holds already.
func (f file) serve(w http.ResponseWriter, r *http.Request, status int) {
	coding := choose(r.Header.Values("Accept-Encoding"), f.forms)
	form := f.forms[coding]
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("ETag", form.etag)
	if len(f.forms) > 1 {
		h.Set("Vary", "Accept-Encoding")
	}
	if status == http.StatusOK && matches(r.Header.Values("If-None-Match"), form.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Length", strconv.Itoa(len(form.body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(form.body) // the reader may be gone
	}
}

// choose returns the content coding to use: the smallest form that exists and
// that the reader takes (RFC 9110, section 12.5.3). The plain form is the way
// out even for a reader who refuses it, as that section allows.
func choose(accept []string, forms map[string]encoding) string {
	wants := map[string]float64{}
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		coding, parameters, _ := strings.Cut(element, ";")
		weight := 1.0
		if q, found := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(parameters, " ", "")), "q="); found {
			var err error
			if weight, err = strconv.ParseFloat(q, 64); err != nil {
				weight = 0
			}
		}
		wants[strings.ToLower(strings.TrimSpace(coding))] = weight
	}
	for _, coding := range []string{"br", "gzip"} {
		weight, named := wants[coding]
		if !named {
			weight = wants["*"]
		}
		if _, exists := forms[coding]; exists && weight > 0 {
			return coding
		}
	}
	return ""
}

// matches reports whether one of the entity tags that a reader holds is etag
// (RFC 9110, section 13.1.2: the comparison is weak).
func matches(held []string, etag string) bool {
	for element := range strings.SplitSeq(strings.Join(held, ","), ",") {
		if tag := strings.TrimPrefix(strings.TrimSpace(element), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// secure sets what keeps a page of ours to itself.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()")
}
