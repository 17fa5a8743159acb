// Package storetest is what a store must do to be a store of Muster, whatever
// engine is below: one conformance kit that every engine's tests run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
)

// A Kit opens the engine under test.
type Kit struct {
	// Open opens the store in dir, making it if it is not there. The kit
	// closes it. It is called in other processes too, with the same dir.
	Open func(ctx context.Context, dir string) (*store.DB, error)
	// Small opens one that has room for about a megabyte.
	Small func(ctx context.Context, dir string) (*store.DB, error)
	// Says means that the engine tells a full disk from other failures, there.
	Says bool
}

// Run runs the kit. Call it from a test of its own: it starts that test again
// in child processes, which it kills.
func Run(t *testing.T, kit Kit) {
	if runChild(t, kit) {
		return
	}
	t.Run("the sequence is gapless under concurrent writers and failing writes", kit.gapless)
	t.Run("a failing write is undone alone", kit.alone)
	t.Run("a failing write that others joined is undone alone", kit.first)
	t.Run("a panicking write panics at its caller and is undone alone", kit.panics)
	t.Run("a write that ends its goroutine takes nobody along", kit.exits)
	t.Run("hooks see changes in commit order before the write returns", kit.hooks)
	t.Run("a read is one snapshot with its generation", kit.snapshot)
	t.Run("a read cannot write", kit.readOnly)
	t.Run("a cancelled write leaves nothing", kit.cancelled)
	t.Run("a cancelled read harms no later read", kit.cancelledRead)
	t.Run("changes page through the sequence", kit.pages)
	t.Run("documents and positions keep their newest value", kit.documents)
	t.Run("one text can be used while its own rows are open", kit.nested)
	t.Run("everything is there after opening again, and migrating twice does nothing", kit.reopen)
	t.Run("old changes are forgotten and a cursor before them is told", kit.forget)
	t.Run("hostile names are found by their own bytes, in one order", kit.texts)
	t.Run("what is exported is imported, with its sequence", kit.transfer)
	t.Run("an older export is brought to this schema", kit.older)
	t.Run("a damaged stream leaves nothing", kit.damaged)
	t.Run("an export under writes is of one moment", kit.living)
	t.Run("a closed store refuses", kit.closed)
	t.Run("a full disk is an error and what was acknowledged stays", kit.full)
	t.Run("what was acknowledged survives kill -9", kit.kill)
}

func (k Kit) fresh(t *testing.T) *store.DB {
	t.Helper()
	return k.at(t, t.TempDir())
}

func (k Kit) at(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := k.Open(t.Context(), dir)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// put writes one row, here a position, and its change: what every domain does.
func put(ctx context.Context, db *store.DB, name string, n uint64) (nhi.Generation, error) {
	return db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.SetPosition(ctx, name, n); err != nil {
			return err
		}
		return tx.Change("test", name, n)
	})
}

func mustPut(t *testing.T, db *store.DB, name string, n uint64) nhi.Generation {
	t.Helper()
	g, err := put(t.Context(), db, name, n)
	if err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
	return g
}

func position(t *testing.T, db *store.DB, name string) (n uint64) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
		n, err = tx.Position(t.Context(), name)
		return err
	})
	if err != nil {
		t.Fatalf("read position of %s: %v", name, err)
	}
	return n
}

// all reads every change and fails the test when a number is missing.
func all(t *testing.T, db *store.DB) []nhi.Change {
	t.Helper()
	changes, err := db.Changes(t.Context(), 0, 1<<30)
	if err != nil {
		t.Fatalf("read changes: %v", err)
	}
	for i, c := range changes {
		if c.Seq != nhi.Generation(i+1) {
			t.Fatalf("change %d has number %d", i+1, c.Seq)
		}
	}
	return changes
}

var errOnPurpose = errors.New("on purpose")

func (k Kit) gapless(t *testing.T) {
	db := k.fresh(t)
	const writers, writes = 8, 60
	var acknowledged sync.Map
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				name := fmt.Sprintf("w%d-%d", w, i)
				g, err := db.Write(t.Context(), func(tx *store.Tx) error {
					for j := range i % 3 {
						if err := tx.Change("test", fmt.Sprint(name, j), j); err != nil {
							return err
						}
					}
					if i%5 == 4 {
						return errOnPurpose
					}
					return tx.Change("test", name, i)
				})
				switch {
				case i%5 == 4 && !errors.Is(err, errOnPurpose):
					t.Errorf("failing write %s: err = %v", name, err)
				case i%5 != 4 && err != nil:
					t.Errorf("write %s: %v", name, err)
				case err == nil:
					acknowledged.Store(name, g)
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[string]nhi.Generation)
	for _, c := range all(t, db) {
		seen[c.Key] = c.Seq
	}
	acknowledged.Range(func(name, g any) bool {
		if seen[name.(string)] != g {
			t.Errorf("write %s was told generation %d, its change has %d", name, g, seen[name.(string)])
		}
		return true
	})
	for name := range seen {
		var w, i int
		if n, _ := fmt.Sscanf(name, "w%d-%d", &w, &i); n == 2 && i%5 == 4 {
			t.Errorf("the failed write %s left a change", name)
		}
	}
}

func (k Kit) alone(t *testing.T) {
	db := k.fresh(t)
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // so that the next three share a transaction
		_, _ = db.Write(t.Context(), func(*store.Tx) error { close(held); <-hold; return nil })
	})
	<-held
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = db.Write(t.Context(), func(tx *store.Tx) error {
				if err := tx.SetPosition(t.Context(), fmt.Sprint(i), 7); err != nil {
					return err
				}
				if i == 1 {
					_, err := tx.Exec(t.Context(), "INSERT INTO nowhere (x) VALUES (1)")
					return err
				}
				return tx.Change("test", fmt.Sprint(i), i)
			})
		})
	}
	close(hold)
	wg.Wait()
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("errors = %v, want only the second to fail", errs)
	}
	got := []uint64{position(t, db, "0"), position(t, db, "1"), position(t, db, "2")}
	if diff := cmp.Diff([]uint64{7, 0, 7}, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if n := len(all(t, db)); n != 2 {
		t.Errorf("%d changes, want 2", n)
	}
}

// first lets the write that leads a group fail, or panic, after it wrote, while
// others wait to join it, one of which wants a transaction of its own.
func (k Kit) first(t *testing.T) {
	for name, end := range map[string]func() error{
		"an error": func() error { return errOnPurpose },
		"a panic":  func() error { panic("on purpose") },
	} {
		t.Run(name, func(t *testing.T) {
			db := k.fresh(t)
			hold, held := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				defer func() { _ = recover() }()
				_, err := db.Write(t.Context(), func(tx *store.Tx) error {
					if err := errors.Join(tx.SetPosition(t.Context(), "0", 7), tx.Change("test", "0", 0)); err != nil {
						return err
					}
					close(held)
					<-hold
					return end()
				})
				if err == nil {
					t.Error("the write that failed says that it did not")
				}
			})
			<-held
			errs := make([]error, 4)
			for i := 1; i < len(errs); i++ {
				write := db.Write
				if i == 2 {
					write = db.WriteAlone
				}
				wg.Go(func() {
					_, errs[i] = write(t.Context(), func(tx *store.Tx) error {
						return errors.Join(tx.SetPosition(t.Context(), fmt.Sprint(i), 7), tx.Change("test", fmt.Sprint(i), i))
					})
				})
			}
			close(hold)
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Error(err)
			}
			got := []uint64{position(t, db, "0"), position(t, db, "1"), position(t, db, "2"), position(t, db, "3")}
			if diff := cmp.Diff([]uint64{0, 7, 7, 7}, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if n := len(all(t, db)); n != 3 {
				t.Errorf("%d changes, want 3", n)
			}
		})
	}
}

func (k Kit) panics(t *testing.T) {
	db := k.fresh(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach the caller")
			}
		}()
		_, _ = db.Write(t.Context(), func(tx *store.Tx) error {
			_ = tx.SetPosition(t.Context(), "p", 1)
			panic("on purpose")
		})
	}()
	if n := position(t, db, "p"); n != 0 {
		t.Errorf("the panicking write left a row: %d", n)
	}
	mustPut(t, db, "after", 1)
}

// exits lets the first of a group end its goroutine, as a failing test helper
// does, while another waits: the other must not be told that it was committed
// when it was not.
func (k Kit) exits(t *testing.T) {
	db := k.fresh(t)
	began, queued := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = db.Write(t.Context(), func(tx *store.Tx) error {
			close(began)
			<-queued
			runtime.Goexit()
			return nil
		})
	})
	<-began
	wg.Go(func() {
		if _, err := put(t.Context(), db, "other", 1); err != nil {
			t.Logf("the other write failed: %v", err) // honest, if unlucky
		} else if n := position(t, db, "other"); n != 1 {
			t.Errorf("acknowledged, but the row is %d", n)
		}
	})
	close(queued)
	wg.Wait()
	if _, err := put(t.Context(), db, "after", 1); err != nil { // the leftover transaction is found here
		mustPut(t, db, "after", 1)
	}
	all(t, db)
}

func (k Kit) hooks(t *testing.T) {
	db := k.fresh(t)
	var mu sync.Mutex
	var seen []nhi.Generation
	db.OnCommit(func(cs []nhi.Change) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range cs {
			seen = append(seen, c.Seq)
		}
	})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				g, err := put(t.Context(), db, fmt.Sprintf("%d-%d", w, i), 1)
				mu.Lock()
				told := slices.Contains(seen, g)
				mu.Unlock()
				if err != nil || !told {
					t.Errorf("write returned generation %d (err %v) before the hook saw it", g, err)
				}
				if db.Generation() < g {
					t.Errorf("generation is %d after a write was told %d", db.Generation(), g)
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != 200 || !slices.IsSorted(seen) {
		t.Errorf("hooks saw %d changes, sorted %v; want 200 in order", len(seen), slices.IsSorted(seen))
	}
}

func (k Kit) snapshot(t *testing.T) {
	db := k.fresh(t)
	first := mustPut(t, db, "a", 1)
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		mustPut(t, db, "a", 2)
		n, err := tx.Position(t.Context(), "a")
		if n != 1 || tx.Generation() != first {
			t.Errorf("snapshot shows %d at generation %d, want 1 at %d", n, tx.Generation(), first)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := position(t, db, "a"); n != 2 {
		t.Errorf("the next read shows %d, want 2", n)
	}
}

func (k Kit) readOnly(t *testing.T) {
	db := k.fresh(t)
	var late *store.Tx
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		late = tx
		if err := tx.Change("test", "x", 1); err == nil {
			t.Error("a read took a change")
		}
		return tx.SetPosition(t.Context(), "x", 1)
	})
	if err == nil {
		t.Error("a read wrote a row")
	}
	if _, err := late.Position(t.Context(), "x"); err == nil {
		t.Error("a transaction lives on after its function")
	}
	if n := position(t, db, "x"); n != 0 {
		t.Errorf("the row is there: %d", n)
	}
}

func (k Kit) cancelled(t *testing.T) {
	db := k.fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := db.Write(ctx, func(tx *store.Tx) error {
		if err := tx.SetPosition(ctx, "c", 1); err != nil {
			return err
		}
		cancel()
		return tx.SetPosition(ctx, "d", 1)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
	if _, err := put(ctx, db, "e", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a write that begins cancelled: err = %v", err)
	}
	for _, name := range []string{"c", "d", "e"} {
		if n := position(t, db, name); n != 0 {
			t.Errorf("row %s = %d after a cancelled write", name, n)
		}
	}
	mustPut(t, db, "after", 1)
}

func (k Kit) cancelledRead(t *testing.T) {
	db := k.fresh(t)
	for i := range 50 {
		mustPut(t, db, fmt.Sprint(i), 1)
	}
	for range 10 { // more often than there are readers
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Read(ctx, func(tx *store.Tx) error {
			rows, err := tx.Query(ctx, `SELECT a.seq FROM change a, change b, change c, change d`)
			if err != nil {
				return err
			}
			defer rows.Close()
			rows.Next()
			cancel()
			for rows.Next() {
			}
			return rows.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want canceled", err)
		}
		if n := position(t, db, "7"); n != 1 {
			t.Errorf("row = %d", n)
		}
	}
}

func (k Kit) pages(t *testing.T) {
	db := k.fresh(t)
	for i := range 7 {
		mustPut(t, db, "p", uint64(i))
	}
	var got []nhi.Generation
	for {
		after := nhi.Generation(len(got))
		page, err := db.Changes(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			got = append(got, c.Seq)
		}
		if len(page) < 3 {
			break
		}
	}
	if diff := cmp.Diff([]nhi.Generation{1, 2, 3, 4, 5, 6, 7}, got); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	if _, err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.Change("test", "p", nil) }); err != nil {
		t.Fatal(err)
	}
	last := all(t, db)[7]
	if last.Payload != nil || last.Version != 1 || last.At.IsZero() {
		t.Errorf("the change of a row that is gone = %+v", last)
	}
}

func (k Kit) documents(t *testing.T) {
	db := k.fresh(t)
	ctx := t.Context()
	for want, body := range []string{"", "one", "two"} {
		_, err := db.Write(ctx, func(tx *store.Tx) error {
			v, err := tx.PutDocument(ctx, "routes", []byte(body))
			if v != int64(want+1) {
				t.Errorf("version %d, want %d", v, want+1)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := db.Read(ctx, func(tx *store.Tx) error {
		if _, err := tx.Document(ctx, "nothing"); !errors.Is(err, nhi.ErrNotFound) {
			t.Errorf("an absent document: err = %v", err)
		}
		d, err := tx.Document(ctx, "routes")
		if string(d.Body) != "two" || d.Version != 3 || d.Updated.IsZero() {
			t.Errorf("document = %+v", d)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (k Kit) nested(t *testing.T) {
	db := k.fresh(t)
	for i := range 3 {
		mustPut(t, db, fmt.Sprint(i), uint64(i))
	}
	const query = `SELECT seq FROM change ORDER BY seq`
	count := 0
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		outer, err := tx.Query(t.Context(), query)
		if err != nil {
			return err
		}
		defer outer.Close()
		for outer.Next() {
			inner, err := tx.Query(t.Context(), query)
			if err != nil {
				return err
			}
			for inner.Next() {
				count++
			}
		}
		return outer.Err()
	})
	if err != nil || count != 9 {
		t.Errorf("%d inner rows (err %v), want 9", count, err)
	}
}

func (k Kit) reopen(t *testing.T) {
	dir := t.TempDir()
	var g nhi.Generation
	for i := range 3 {
		db, err := k.Open(t.Context(), dir)
		if err != nil {
			t.Fatalf("open %d: %v", i, err)
		}
		if db.Generation() != g {
			t.Errorf("opened at generation %d, want %d", db.Generation(), g)
		}
		g = mustPut(t, db, "r", uint64(i))
		if err := db.Close(); err != nil {
			t.Fatalf("close %d: %v", i, err)
		}
	}
	if n := len(all(t, k.at(t, dir))); n != 3 {
		t.Errorf("%d changes, want 3", n)
	}
}

func (k Kit) closed(t *testing.T) {
	db := k.fresh(t)
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := put(t.Context(), db, "x", 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("write: err = %v", err)
	}
	if _, err := db.Changes(t.Context(), 0, 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("read: err = %v", err)
	}
}

func (k Kit) full(t *testing.T) {
	dir := t.TempDir()
	db, err := k.Small(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 64<<10)
	for i := range body {
		body[i] = byte(rand.Uint32()) // some engines compress
	}
	written := 0
	for err == nil && written < 1000 {
		name := fmt.Sprint(written)
		_, err = db.Write(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.PutDocument(t.Context(), name, body); err != nil {
				return err
			}
			return tx.Change("test", name, nil)
		})
		if err == nil {
			written++
		}
	}
	if err == nil {
		t.Fatalf("%d documents fit where there is no room", written)
	}
	if k.Says && (!errors.Is(err, nhi.ErrUnavailable) || !strings.Contains(err.Error(), "make room")) {
		t.Errorf("without room a write fails with %v, want ErrUnavailable and what to do", err)
	}
	if n := len(all(t, db)); n != written {
		t.Errorf("%d changes, %d writes were acknowledged", n, written)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	roomy := k.at(t, dir)
	if g := mustPut(t, roomy, "after", 1); g != nhi.Generation(written+1) {
		t.Errorf("generation %d after %d acknowledged writes and one more", g, written)
	}
}
