package nats

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
)

const childVariable = "STREAM_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	natstest.Main()
	os.Exit(m.Run())
}

// child publishes the same messages from the first on, as a publisher does
// that was killed, and prints what was acknowledged.
func child(dir string) error {
	ctx := context.Background()
	s, err := Open(ctx, dir, Settings{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	lines := make(chan string)
	errs := make(chan error, 3)
	for p := range 3 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", p, i)
				seq, _, err := s.Publish(ctx, stream.ActivityBatch, id, []byte("payload of "+id+strings.Repeat(".", i*37%3000)))
				if err != nil {
					errs <- err
					return
				}
				lines <- fmt.Sprint(seq, " ", id)
			}
		}()
	}
	for {
		select {
		case line := <-lines:
			fmt.Println(line)
		case err := <-errs:
			return err
		}
	}
}

func TestAfterKillEveryAcknowledgedMessageIsThereOnce(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]uint64{}
	for round := range 8 {
		runAndKill(t, dir, acknowledged, 10+rand.IntN(150))

		s := open(t, dir, Settings{})
		last, err := s.LastSeq(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]uint64{}
		enough := errors.New("enough")
		err = s.Consume(t.Context(), stream.Consumer{}, func(_ context.Context, m stream.Message) error {
			if !strings.HasPrefix(string(m.Payload), "payload of "+m.ID) {
				t.Errorf("message %d with id %s holds %.30q", m.Seq, m.ID, m.Payload)
			}
			if other, ok := seen[m.ID]; ok {
				t.Errorf("round %d: %s is stored as %d and %d", round, m.ID, other, m.Seq)
			}
			if seen[m.ID] = m.Seq; m.Seq == last {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		for id, seq := range acknowledged {
			if seen[id] != seq {
				t.Errorf("round %d: %s was acknowledged as %d and is %d", round, id, seq, seen[id])
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged messages survived 8 kills", len(acknowledged))
}

// runAndKill lets a child publish, kills it after n new acknowledgements and
// adds all that it got out.
func runAndKill(t *testing.T, dir string, acknowledged map[string]uint64, n int) {
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
	r, fresh := bufio.NewReader(pipe), 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		var seq uint64
		var id string
		if _, err := fmt.Sscan(line, &seq, &id); err != nil {
			t.Errorf("the child said %q", line)
			continue
		}
		if old, ok := acknowledged[id]; ok {
			if old != seq {
				t.Errorf("%s was acknowledged as %d and now as %d", id, old, seq)
			}
			continue
		}
		acknowledged[id] = seq
		if fresh++; fresh == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it says "killed"
	if fresh < n {
		t.Fatal("the child ended by itself")
	}
}
