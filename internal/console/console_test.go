package console

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// built is a small console, as the build writes it.
func built() fstest.MapFS {
	return fstest.MapFS{
		"index.html":               {Data: []byte("<!doctype html><title>Muster</title>")},
		"index.html.br":            {Data: []byte("index as brotli")},
		"index.html.gz":            {Data: []byte("index as gzip")},
		"placeholder.html":         {Data: []byte("no console")},
		"theme.js":                 {Data: []byte("theme()")},
		"theme.js.gz":              {Data: []byte("theme as gzip")},
		"assets/main-abc123.js":    {Data: []byte("main()")},
		"assets/main-abc123.js.br": {Data: []byte("main as brotli")},
		"assets/inter-abc.woff2":   {Data: []byte("font")},
	}
}

func get(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	s, err := handler(built(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path = target
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func read(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryReplyKeepsThePageToItself(t *testing.T) {
	for _, target := range []string{"/", "/assets/main-abc123.js", "/nowhere", "/assets/missing.js"} {
		t.Run(target, func(t *testing.T) {
			h := get(t, http.MethodGet, target).Header
			got := map[string]string{}
			for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy"} {
				got[name] = h.Get(name)
			}
			want := map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if h.Get("Permissions-Policy") == "" {
				t.Error("there is no Permissions-Policy")
			}
			csp := h.Get("Content-Security-Policy")
			for _, rule := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
				if !strings.Contains(csp, rule) {
					t.Errorf("Content-Security-Policy %q lacks %q", csp, rule)
				}
			}
			for _, hole := range []string{"unsafe-inline", "unsafe-eval", "*", "http:", "https:"} {
				if strings.Contains(csp, hole) {
					t.Errorf("Content-Security-Policy %q has the exception %q", csp, hole)
				}
			}
		})
	}
}

func TestTheSmallestFormThatTheReaderTakesIsSent(t *testing.T) {
	for _, tt := range []struct {
		name, target string
		accept       []string
		coding, body string
	}{
		{"a browser gets brotli", "/", []string{"gzip, deflate, br, zstd"}, "br", "index as brotli"},
		{"who knows only gzip gets gzip", "/", []string{"gzip"}, "gzip", "index as gzip"},
		{"curl gets the plain file", "/", nil, "", "<!doctype html><title>Muster</title>"},
		{"a refused coding is not sent", "/", []string{"br;q=0, gzip;q=0.5"}, "gzip", "index as gzip"},
		{"a broken weight counts as refused", "/", []string{"br;q=lots, gzip"}, "gzip", "index as gzip"},
		{"a star takes anything", "/", []string{"*"}, "br", "index as brotli"},
		{"a star does not override a refusal", "/", []string{"br;q=0, *;q=0.1"}, "gzip", "index as gzip"},
		{"two lines count as one", "/", []string{"gzip", "br"}, "br", "index as brotli"},
		{"case does not matter", "/", []string{"BR; Q=0.5"}, "br", "index as brotli"},
		{"a form that does not exist is not promised", "/theme.js", []string{"br"}, "", "theme()"},
		{"a font has one form", "/assets/inter-abc.woff2", []string{"br, gzip"}, "", "font"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			for _, a := range tt.accept {
				header = append(header, "Accept-Encoding", a)
			}
			r := get(t, http.MethodGet, tt.target, header...)
			if got := r.Header.Get("Content-Encoding"); got != tt.coding {
				t.Errorf("Content-Encoding = %q, want %q", got, tt.coding)
			}
			if got := read(t, r); got != tt.body {
				t.Errorf("body = %q, want %q", got, tt.body)
			}
		})
	}
}

func TestReadersAreToldHowLongToKeep(t *testing.T) {
	for _, tt := range []struct{ name, target, cache, mediaType, vary string }{
		{"a hashed file is kept for ever", "/assets/main-abc123.js", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8", "Accept-Encoding"},
		{"a font is kept for ever", "/assets/inter-abc.woff2", "public, max-age=31536000, immutable", "font/woff2", ""},
		{"a page is asked for again", "/", "no-cache", "text/html; charset=utf-8", "Accept-Encoding"},
		{"a file without a hash is asked for again", "/theme.js", "no-cache", "text/javascript; charset=utf-8", "Accept-Encoding"},
		{"what is missing is not kept", "/assets/gone.js", "no-store", "text/plain; charset=utf-8", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := get(t, http.MethodGet, tt.target).Header
			got := [3]string{h.Get("Cache-Control"), h.Get("Content-Type"), h.Get("Vary")}
			if want := [3]string{tt.cache, tt.mediaType, tt.vary}; got != want {
				t.Errorf("Cache-Control, Content-Type, Vary = %q, want %q", got, want)
			}
		})
	}
}

func TestOnlyTheAddressesOfPagesAnswerWithThePage(t *testing.T) {
	for target, want := range map[string]int{
		"/": 200, "/activity": 200, "/findings": 200, "/identities": 200, "/policies": 200, "/points": 200, "/refusals": 200, "/approvals": 200, "/settings": 200, "/sources": 200,
		"/identities/nhi_mzxw6ytboi": 200,
		"/identities/":               404,
		"/identities/a/b":            404,
		"/identities/a.js":           404,
		"/activity/x":                404,
		"/nowhere":                   404,
		"/v1/me":                     404,
		"/index.html":                404,
		"/placeholder.html":          404,
		"/index.html.br":             404,
		"/assets/":                   404,
		"/assets/gone-abc.js":        404,
		"":                           404,
	} {
		t.Run(target, func(t *testing.T) {
			if got := get(t, http.MethodGet, target).StatusCode; got != want {
				t.Errorf("GET %q = %d, want %d", target, got, want)
			}
		})
	}
}

func TestAPersonAtAnAddressThatNoPageHasIsToldSoByThePage(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/nowhere", nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("If-None-Match", "*")
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	if got := w.Result(); got.StatusCode != http.StatusNotFound || got.Header.Get("Content-Type") != "text/html; charset=utf-8" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, type %q, cache %q; want a page with 404 that is not kept", got.StatusCode, got.Header.Get("Content-Type"), got.Header.Get("Cache-Control"))
	}
}

func TestPathTraversalLeadsNowhere(t *testing.T) {
	for _, target := range []string{
		"/../console.go", "/assets/../../console.go", "/..%2fconsole.go", "//etc/passwd", "/assets/..\\..\\console.go",
		"/./index.html", "/identities/..", "/identities/../../console.go", "/\x00", "/assets/main-abc123.js/",
	} {
		t.Run(target, func(t *testing.T) {
			if got := get(t, http.MethodGet, target).StatusCode; got != http.StatusNotFound {
				t.Errorf("GET %q = %d, want 404", target, got)
			}
		})
	}
}

func TestWhatTheReaderHoldsIsNotSentAgain(t *testing.T) {
	etag := get(t, http.MethodGet, "/", "Accept-Encoding", "br").Header.Get("ETag")
	plain := get(t, http.MethodGet, "/").Header.Get("ETag")
	if etag == "" || etag == plain {
		t.Fatalf("ETag of brotli = %s, of the plain form = %s: want two different ones", etag, plain)
	}
	for _, tt := range []struct {
		name, held string
		want       int
	}{
		{"the same", etag, http.StatusNotModified},
		{"one of several, weak", `"other", W/` + etag, http.StatusNotModified},
		{"anything", "*", http.StatusNotModified},
		{"an older one", `"older"`, http.StatusOK},
		{"that of another form", plain, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get(t, http.MethodGet, "/", "Accept-Encoding", "br", "If-None-Match", tt.held)
			if r.StatusCode != tt.want {
				t.Errorf("status = %d, want %d", r.StatusCode, tt.want)
			}
			if body := read(t, r); (tt.want == http.StatusNotModified) != (body == "") {
				t.Errorf("body = %q with status %d", body, r.StatusCode)
			}
		})
	}
}

func TestTheConsoleIsOnlyRead(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
		r := get(t, method, "/")
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s / = %d, Allow %q; want 405, GET, HEAD", method, r.StatusCode, r.Header.Get("Allow"))
		}
	}
	r := get(t, http.MethodHead, "/")
	if body := read(t, r); r.StatusCode != http.StatusOK || body != "" || r.Header.Get("Content-Length") != "36" {
		t.Errorf("HEAD / = %d, %q, Content-Length %s; want 200, no body, 36", r.StatusCode, body, r.Header.Get("Content-Length"))
	}
}

func TestAConsoleWithoutItsPageIsRefused(t *testing.T) {
	for _, files := range []fstest.MapFS{{}, {"index.html.br": {Data: []byte("only the twin")}}} {
		if _, err := handler(files, "index.html"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error = %v, want fs.ErrNotExist", err)
		}
	}
}

func TestTheEmbeddedPageIsServed(t *testing.T) {
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Muster") {
		t.Errorf("GET / = %d, %q", w.Code, w.Body.String())
	}
}

func BenchmarkServePage(b *testing.B) {
	s, err := handler(built(), "index.html")
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}
