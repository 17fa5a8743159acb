package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// said is what people read; it may be read while it is written.
type said struct {
	mu   sync.Mutex // guards text and told
	text strings.Builder
	told chan struct{} // closed when the text holds until
	want string
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.told != nil && strings.Contains(s.text.String(), s.want) {
		close(s.told)
		s.told = nil
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestTheDemonstrationShowsAnAlertAndLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	told := make(chan struct{})
	out := &said{told: told, want: "the first alert came"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Settings{Seed: 3, NoOpen: true, Out: out, company: Small(3), records: SmallRecords})
	}()
	select {
	case <-told:
	case err := <-ended:
		t.Fatalf("the demonstration ended: %v\n%s", err, out)
	case <-ctx.Done():
		t.Fatalf("no alert within two minutes:\n%s", out)
	}
	cancel() // as Ctrl-C does
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the demonstration ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the demonstration does not stop")
	}
	for _, want := range []string{"/signin?", "http://127.0.0.1:", "demo data, in a temporary folder; Ctrl-C removes everything", "Everything was removed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not said in:\n%s", want, out)
		}
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "muster-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestAStageThatCannotStartLeavesNothingBehind(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	stage, err := Open(t.Context(), StageSettings{World: Small(1), Listen: "127.0.0.1:99999"})
	if err == nil {
		t.Fatal(stage.Close(), "an address that does not exist was taken")
	}
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}
