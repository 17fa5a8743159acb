package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/store"
)

// ChildDir is the environment variable that tells a child process which folder to write into until it is
// killed.
const ChildDir = "STORETEST_CHILD_DIR"

// kills is how often a child is killed.
const kills = 10

// runChild is the life of a child process: it writes from several goroutines
// and says on stdout what was acknowledged, one "name number" a line. It
// reports false in the parent.
func runChild(t *testing.T, kit Kit) bool {
	dir := os.Getenv(ChildDir)
	if dir == "" {
		return false
	}
	ctx := context.WithoutCancel(t.Context())
	db, err := kit.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			name := fmt.Sprintf("w%d", w)
			for {
				n, err := increment(ctx, db, name)
				if err != nil && !errors.Is(err, errOnPurpose) {
					t.Error(err)
					return
				}
				if err == nil {
					mu.Lock()
					fmt.Printf("ack %s %d\n", name, n)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return true
}

// increment adds one to a counter and says so in two changes; each seventh
// time it first does it in a way that fails.
func increment(ctx context.Context, db *store.DB, name string) (n uint64, err error) {
	_, err = db.Write(ctx, func(tx *store.Tx) error {
		if n, err = tx.Position(ctx, name); err != nil {
			return err
		}
		n++
		if err := tx.SetPosition(ctx, name, n); err != nil {
			return err
		}
		if err := tx.Change("begin", name, n); err != nil {
			return err
		}
		if n%7 == 0 && rand.IntN(2) == 0 {
			return errOnPurpose
		}
		return tx.Change("end", name, n)
	})
	return n, err
}

func (k Kit) kill(t *testing.T) {
	dir := t.TempDir()
	if err := k.at(t, dir).Close(); err != nil { // the place is there before the first child
		t.Fatal(err)
	}
	acked := make(map[string]uint64)
	for range kills {
		k.killOne(t, dir, acked)
	}
	if len(acked) == 0 {
		t.Fatal("the children acknowledged nothing")
	}
}

// killOne lets a child write for a random moment, kills it, and compares.
func (k Kit) killOne(t *testing.T, dir string, acked map[string]uint64) {
	test, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), ChildDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, killAfter := 0, 1+rand.IntN(60)
	for s := bufio.NewScanner(out); s.Scan(); {
		var name string
		var n uint64
		if c, _ := fmt.Sscanf(s.Text(), "ack %s %d", &name, &n); c != 2 {
			continue // cut off by the kill
		}
		acked[name] = n
		if lines++; lines == killAfter {
			moment := time.Duration(rand.IntN(2000)) * time.Microsecond
			time.AfterFunc(moment, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || lines < killAfter {
		t.Fatalf("the child ended by itself after %d lines: %v", lines, err)
	}
	db, err := k.Open(t.Context(), dir)
	if err != nil {
		t.Fatalf("open after kill -9: %v", err)
	}
	defer db.Close()
	check(t, db, acked)
}

// check compares rows, changes and what was acknowledged: every acknowledged
// number is there, rows equal the last change, no write is half there.
func check(t *testing.T, db *store.DB, acked map[string]uint64) {
	t.Helper()
	begun, ended := make(map[string]string), make(map[string]string)
	for _, c := range all(t, db) {
		if c.Subject == "begin" {
			begun[c.Key] = string(c.Payload)
		} else {
			ended[c.Key] = string(c.Payload)
		}
	}
	for name, n := range acked {
		row := position(t, db, name)
		if row < n {
			t.Errorf("%s was acknowledged at %d and is %d after kill -9", name, n, row)
		}
		if want := fmt.Sprint(row); begun[name] != want || ended[name] != want {
			t.Errorf("%s: row %s, changes begin at %s and end at %s", name, want, begun[name], ended[name])
		}
	}
}
