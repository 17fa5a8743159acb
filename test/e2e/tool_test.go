package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-id/muster/internal/key"
)

func field(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "field FILE NAME")
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &object))
	value, ok := object[args[1]]
	if !ok {
		ts.Fatalf("%s has no field %s", args[0], args[1])
	}
	fmt.Fprintln(ts.Stdout(), value)
}

func appendLine(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "append FILE TEXT")
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = fmt.Fprintln(f, args[1])
	ts.Check(err)
	ts.Check(f.Close())
}

func copyFolder(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "copy FOLDER NEW")
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// forge keeps a key's public id, draws another secret and computes the
// checksum, as anybody could.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "forge KEY")
	parts := strings.Split(args[0], "_")
	if len(parts) != 5 {
		ts.Fatalf("that is no key of ours")
	}
	text := strings.Join(parts[:3], "_") + "_" + draw(len(parts[3]), key.Alphabet)
	n, sum := crc32.ChecksumIEEE([]byte(text)), make([]byte, 6)
	for i := len(sum) - 1; i >= 0; i-- {
		sum[i] = key.Alphabet[n%62]
		n /= 62
	}
	forged := text + "_" + string(sum)
	if _, err := key.Parse(forged); err != nil {
		ts.Fatalf("the forged key is not well formed: %v", err)
	}
	ts.Setenv("FORGED", forged)
}

func hostile(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "hostile FOLDER")
	write(ts, filepath.Join(args[0], "a\x1b[31mred\u202etxt.yaml"), "token: "+gitHubToken()+"\n")
}

// eventually is for what a server does in its own time.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "eventually PROGRAM ARGS...")
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil && strings.TrimSpace(ts.ReadFile("stdout")) != "" {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("it printed nothing in %s: %v", patience, err)
		case <-tick.C:
		}
	}
}

// ask sends what nginx's auth_request sends, and prints the answer's status.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "ask METHOD PATH KEY")
	ts.Check(ts.Exec("curl", "-s", "-o", "reply", "-w", "%{http_code}",
		"-H", "Muster-Point-Authorization: Bearer "+ts.Getenv("POINT"), "-H", "Authorization: Bearer "+args[2],
		"-H", "X-Original-Method: "+args[0], "-H", "X-Forwarded-Proto: https", "-H", "X-Forwarded-Host: pay.example",
		"-H", "X-Original-URI: "+args[1], "-H", "X-Forwarded-For: 3.120.10.20", ts.Getenv("MUSTER_SERVER")+"/enforce/forward-auth"))
}

// A watcher is a program in the background of one script.
type watcher struct {
	cmd  *exec.Cmd
	out  strings.Builder // complete once done is closed
	done chan struct{}
	err  error
}

func watching(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "watching PROGRAM ARGS...")
	program, err := lookPath(ts, args[0])
	ts.Check(err)
	w := &watcher{cmd: exec.Command(program, args[1:]...), done: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), "MUSTER_SERVER="+ts.Getenv("MUSTER_SERVER"), "MUSTER_TOKEN="+ts.Getenv("MUSTER_TOKEN"), "NO_COLOR=1")
	w.cmd.Stdout = &w.out
	words, err := w.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(w.cmd.Start())
	began := make(chan struct{})
	go func() {
		defer close(w.done)
		lines := bufio.NewScanner(words)
		for begun := false; lines.Scan(); {
			if !begun && strings.HasPrefix(lines.Text(), "watching") {
				begun = true
				close(began)
			}
		}
		_, _ = io.Copy(io.Discard, words) // a line too long for the scanner
		w.err = w.cmd.Wait()
	}()
	ts.Defer(func() {
		_ = w.cmd.Process.Kill() // it may have ended long ago
		<-w.done
	})
	select {
	case <-began:
	case <-w.done:
		ts.Fatalf("it ended at once: %v", w.err)
	case <-time.After(patience):
		ts.Fatalf("it does not begin to watch")
	}
	watchers.Lock()
	watchers.of[ts.MkAbs(".")] = w
	watchers.Unlock()
}

func watched(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "watched 0|interrupt")
	watchers.Lock()
	w := watchers.of[ts.MkAbs(".")]
	watchers.Unlock()
	if args[0] == "interrupt" {
		ts.Check(w.cmd.Process.Signal(syscall.SIGINT))
	}
	select {
	case <-w.done:
	case <-time.After(patience):
		ts.Fatalf("it does not end")
	}
	if w.err != nil {
		ts.Fatalf("it ended badly: %v", w.err)
	}
	_, err := io.WriteString(ts.Stdout(), w.out.String())
	ts.Check(err)
}
