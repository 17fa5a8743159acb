package audit

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const childVariable = "AUDIT_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The test's own key, the same in parent and child.
func testKey() crypto.Signer { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

// child replays the same acts from the first on, as a server would after a
// crash, and prints what was acknowledged.
func child(dir string) error {
	l, err := Open(dir, testKey(), Settings{Every: 7})
	if err != nil {
		return err
	}
	errs := make(chan error)
	out := &sync.Mutex{}
	for c := range 3 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d", c, i)
				_, err := l.Append(context.Background(), Entry{Actor: Actor{Kind: System}, Act: "test.act", Key: key})
				if err != nil {
					errs <- err
					return
				}
				out.Lock()
				fmt.Println(key)
				out.Unlock()
			}
		}()
	}
	return <-errs
}

func TestAfterKillEveryAcknowledgedActIsThereOnce(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+dir)
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r, fresh, limit := bufio.NewReader(pipe), 0, 5+rand.IntN(80)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			key := strings.TrimSpace(line)
			if !acknowledged[key] {
				acknowledged[key] = true
				if fresh++; fresh == limit {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		_ = cmd.Wait() // it says "killed"
		if fresh < limit {
			t.Fatalf("round %d: the child ended by itself", round)
		}
		seen := map[string]bool{}
		for e, err := range Read(dir, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[e.Key] {
				t.Errorf("round %d: act %s was recorded twice", round, e.Key)
			}
			seen[e.Key] = true
		}
		for key := range acknowledged {
			if !seen[key] {
				t.Errorf("round %d: acknowledged act %s is gone", round, key)
			}
		}
		if _, err := Verify(t.Context(), dir, []crypto.PublicKey{testKey().Public()}, nil); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d acknowledged acts survived 10 kills", len(acknowledged))
}
