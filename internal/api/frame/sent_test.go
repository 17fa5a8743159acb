package frame

import (
	"bytes"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

// TestAKilledServerLeavesNoBodyBehind keeps a body that is too much for memory,
// as a log full of secrets may be: while it is worked on its file has no name
// under which somebody could find it later.
func TestAKilledServerLeavesNoBodyBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	names := func() int {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	var b body
	if err := b.spill([]byte("begin "), strings.NewReader("end"), func() {}); err != nil {
		t.Fatal(err)
	}
	if n := names(); n != 0 && runtime.GOOS != "windows" {
		t.Errorf("%d files can be found while the body is worked on", n)
	}
	for range 2 {
		if got, err := io.ReadAll(&b); err != nil || !bytes.Equal(got, []byte("begin end")) {
			t.Errorf("the body reads %q, %v", got, err)
		}
		if err := b.rewind(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil || names() != 0 {
		t.Errorf("closing: %v, %d files are left", err, names())
	}
}

// TestOneSourceCannotFillTheDiskWithBodiesThatWait is the source that sends the
// most that a key allows, many at a time. What others send is not touched.
func TestOneSourceCannotFillTheDiskWithBodiesThatWait(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	f := New(Deps{})
	large := strings.Repeat("x", MaxBody+1)
	send := func(who string) (*body, error) {
		r := httptest.NewRequest("POST", "/receive/logs/cloudtrail", strings.NewReader(large))
		return f.take(httptest.NewRecorder(), r.WithContext(WithCaller(r.Context(), Caller{Identity: nhi.ID(who)})), "POST /receive/logs/{format}")
	}
	var open []*body
	keep := func(b *body, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, b)
	}
	for range maxWaiting {
		keep(send("nhi_flood"))
	}
	if _, err := send("nhi_flood"); !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("one more than %d waits, %v", maxWaiting, err)
	}
	keep(send("nhi_other"))
	for range 2 { // the second time is nothing
		if err := open[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
	open = open[1:]
	keep(send("nhi_flood"))
	for _, b := range open {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(f.large.of) != 0 {
		t.Errorf("when all are answered %v wait", f.large.of)
	}
}
