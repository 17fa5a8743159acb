//go:build !race

package authzen

import (
	"net/http"
	"strings"
	"testing"
)

// The race detector allocates, so this budget is checked without it.
func TestABatchStaysWithinItsAllocations(t *testing.T) {
	b := newBench(nil)
	b.c.Decider = &allow{}
	body := batchOf("execute_all", strings.Fields(strings.Repeat("payments/api ", 100))...)
	r := b.request(body)
	r.URL.Path = EvaluationsPath
	got := testing.AllocsPerRun(20, func() {
		r.Body = readCloser{strings.NewReader(body)}
		w := reply{header: http.Header{}}
		if b.ServeHTTP(&w, r); w.code != http.StatusOK {
			t.Fatal(w.code)
		}
	})
	if got > 600 {
		t.Errorf("a batch of 100 allocates %.0f times, at most 600 are meant", got)
	}
}
