package decision_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	learned "github.com/muster-id/muster/internal/surprise/pages"
)

// The file of pages is cut off, or its disk fails, between the moment in which a
// decision got a page and that in which it reads it.
func TestAFaultWhileAPageIsReadDenies(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pages are mapped on Linux only, and this is " + runtime.GOOS)
	}
	dir := t.TempDir()
	folder, state, err := checkpoint.OpenFolder(checkpoint.Dir(dir), learned.Specs...)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	book, err := learned.Open(folder, state)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := book.Add(identityN(1).Number(), 0)
	if err != nil {
		t.Fatal(err)
	}
	page, _ := book.Write(slot)
	page.Learn(surprise.Observation{At: 1e6, Action: 1})
	w := newWorld(t, func(c *decision.Config) {
		c.Pages, c.Behaviour = pages{identityN(1): page}, &decision.Scorer{}
	})
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Allow {
		t.Fatalf("before anything happened: %+v", d)
	}
	if err := os.Truncate(filepath.Join(dir, learned.PagesTable), 0); err != nil {
		t.Fatal(err)
	}
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny || because(d)[0] != "internal-error" {
		t.Errorf("a page that cannot be read: %+v, want a denial", d)
	}
	if n := w.service.Panics(); n != 1 {
		t.Errorf("%d decisions were told to have gone wrong, want 1", n)
	}
}
