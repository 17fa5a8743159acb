// Package console serves the web console that is embedded in the program. A
// program built without it serves a page that says how to build it.
package console

import "net/http"

// Handler serves the console at the root.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("This program was built without the console. Build it with: make build\n"))
	})
}
