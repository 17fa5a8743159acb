package journal

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const childVariable = "JOURNAL_TEST_CHILD"

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

// child appends without end and prints what was acknowledged.
func child(dir string) error {
	j, err := Open(dir, Settings{SegmentSize: 16 << 10})
	if err != nil {
		return err
	}
	out := &sync.Mutex{}
	errs := make(chan error)
	for c := range 4 {
		go func() {
			for i := 0; ; i++ {
				payload := fmt.Sprintf("%d-%d-%s", c, i, strings.Repeat("x", rand.IntN(300)))
				if i%3 == 0 { // some in between that nobody waits for
					_ = j.AppendAsync([]byte("unacknowledged"))
				}
				pos, err := j.Append([]byte(payload))
				if err != nil {
					errs <- err
					return
				}
				out.Lock()
				fmt.Printf("%d %x %s\n", pos.Seq, pos.Hash, payload)
				out.Unlock()
			}
		}()
	}
	return <-errs
}

func TestAfterKillEveryAcknowledgedRecordIsThere(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[uint64]string{}
	for round := range 10 {
		lines := runAndKill(t, dir, 20+rand.IntN(200))
		for _, line := range lines {
			var seq uint64
			var hash, payload string
			if n, _ := fmt.Sscan(line, &seq, &hash, &payload); n == 3 && strings.HasSuffix(line, "\n") {
				acknowledged[seq] = hash + payload
			}
		}
		j, err := Open(dir, Settings{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, err := j.Verify(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		found := 0
		for rec, err := range j.Read(0) {
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := acknowledged[rec.Seq]; ok {
				found++
				if got := fmt.Sprintf("%x%s", rec.Hash, rec.Payload); got != want {
					t.Errorf("record %d is %s, acknowledged was %s", rec.Seq, got, want)
				}
			}
		}
		if found != len(acknowledged) {
			t.Fatalf("round %d: %d of %d acknowledged records are there", round, found, len(acknowledged))
		}
		j.Close()
	}
	t.Logf("%d acknowledged records survived 10 kills", len(acknowledged))
}

// runAndKill lets a child append and kills it after n acknowledgements. It
// returns all lines that the child got out.
func runAndKill(t *testing.T, dir string, n int) []string {
	t.Helper()
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
	var lines []string
	r := bufio.NewReader(pipe)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		if lines = append(lines, line); len(lines) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it says "killed"
	if len(lines) < n {
		t.Fatalf("the child ended by itself after %d records", len(lines))
	}
	return lines
}
