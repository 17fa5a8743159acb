package audit

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/muster-id/muster/internal/nhi"
)

func ed(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func p256(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func open(t testing.TB, dir string, key crypto.Signer, set Settings) *Log {
	t.Helper()
	l, err := Open(dir, key, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func suspend(target string) Entry {
	return Entry{
		Actor:  Actor{Kind: Rule, ID: "leak-confirmed"},
		Act:    "credential.suspend",
		Target: target,
		Reason: "proven leak",
		Detail: json.RawMessage(`{"finding":"fnd_1"}`),
	}
}

func appendAll(t testing.TB, l *Log, n int) []uint64 {
	t.Helper()
	var seqs []uint64
	for i := range n {
		seq, err := l.Append(t.Context(), suspend(fmt.Sprintf("crd_%d", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	return seqs
}

func all(t testing.TB, l *Log) []Entry {
	t.Helper()
	var got []Entry
	for e, err := range l.Read(0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	return got
}

func TestAnActIsReadBackAsItWasRecorded(t *testing.T) {
	l := open(t, t.TempDir(), ed(t), Settings{})
	want := suspend("crd_1")
	want.At = time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC)
	want.Outcome = Refused
	seq, err := l.Append(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	want.Seq = seq
	if diff := cmp.Diff([]Entry{want}, all(t, l)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBothKindsOfKeySignLogsThatVerify(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"Ed25519": ed(t), "ECDSA P-256": p256(t)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, key, Settings{Every: 3})
			appendAll(t, l, 10)
			if r, err := l.Verify(t.Context(), nil); err != nil || r.Entries != 10 || r.Checkpoints != 4 || r.Unsigned != 1 {
				t.Errorf("Verify while open = %+v, %v", r, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			keys, err := ReadKeys(filepath.Join(dir, KeyFile))
			if err != nil {
				t.Fatal(err)
			}
			c, err := ReadCheckpoint(filepath.Join(dir, CheckpointFile))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Verify(t.Context(), dir, keys, &c)
			if err != nil || r.Entries != 10 || r.Unsigned != 0 || r.Signed != r.Records-1 {
				t.Errorf("Verify with the server stopped = %+v, %v", r, err)
			}
			if diff := cmp.Diff(c, r.Last); diff != "" {
				t.Errorf("the exported checkpoint is not the last (-file +log):\n%s", diff)
			}
		})
	}
}

func TestOtherKindsOfKeyAreRefused(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{rsaKey, p384} {
		if _, err := Open(t.TempDir(), key, Settings{}); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("Open with %T = %v, want ErrInvalid", key, err)
		}
	}
}

func TestALogOutlivesItsKey(t *testing.T) {
	dir := t.TempDir()
	for _, key := range []crypto.Signer{ed(t), p256(t)} {
		l := open(t, dir, key, Settings{})
		appendAll(t, l, 3)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := ReadKeys(filepath.Join(dir, KeyFile))
	if err != nil || len(keys) != 2 {
		t.Fatalf("ReadKeys = %d keys, %v", len(keys), err)
	}
	if r, err := Verify(t.Context(), dir, keys, nil); err != nil || r.Entries != 6 {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

func TestCheckpointsAreExportedAndNotRepeated(t *testing.T) {
	var got []uint64
	l := open(t, t.TempDir(), ed(t), Settings{Every: 2, Export: func(c Checkpoint) { got = append(got, c.Seq) }})
	appendAll(t, l, 4) // 1 begins the log, then 2 3 (4) 5 6 (7)
	first, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := l.Checkpoint(); err != nil || cmp.Diff(first, again) != "" {
		t.Errorf("a second Checkpoint with nothing added = %+v, %v", again, err)
	}
	if diff := cmp.Diff([]uint64{0, 3, 6}, got); diff != "" {
		t.Errorf("exported (-want +got):\n%s", diff)
	}
}

func TestAnActIsRecordedOncePerKey(t *testing.T) {
	dir, key := t.TempDir(), ed(t)
	l := open(t, dir, key, Settings{})
	first, added, err := l.AppendOnce(t.Context(), "suspend/crd_1/fnd_1", suspend("crd_1"))
	if err != nil || !added {
		t.Fatalf("AppendOnce = %d, %t, %v", first, added, err)
	}
	for range 2 { // in the same process and in the next
		seq, added, err := l.AppendOnce(t.Context(), "suspend/crd_1/fnd_1", suspend("crd_1"))
		if err != nil || added || seq != first {
			t.Errorf("AppendOnce again = %d, %t, %v, want %d, false", seq, added, err, first)
		}
		l.Close()
		l = open(t, dir, key, Settings{})
	}
	if got := len(all(t, l)); got != 1 {
		t.Errorf("%d entries, want 1", got)
	}
}

func TestConcurrentActsKeepCheckpointsRight(t *testing.T) {
	l := open(t, t.TempDir(), ed(t), Settings{Every: 5})
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := l.Append(t.Context(), suspend(fmt.Sprint(c, i))); err != nil {
					t.Error(err)
				}
				if _, err := l.Append(t.Context(), Entry{Actor: Actor{Kind: System}, Act: "x", Key: fmt.Sprint(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if r, err := l.Verify(t.Context(), nil); err != nil || r.Entries != 8*20+20 || r.Checkpoints < 10 {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

func TestPagesGoBackThroughAllEntries(t *testing.T) {
	l := open(t, t.TempDir(), ed(t), Settings{Every: 1}) // a checkpoint after each entry
	appendAll(t, l, 25)
	var got []string
	for before := uint64(0); ; {
		page, err := l.Page(t.Context(), before, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			got = append(got, e.Target)
		}
		before = page[len(page)-1].Seq
	}
	var want []string
	for i := 25; i > 0; i-- {
		want = append(want, fmt.Sprintf("crd_%d", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHostileTextCannotKeepAnActOutOfTheLog(t *testing.T) {
	l := open(t, t.TempDir(), ed(t), Settings{Clean: func(e *Entry) { e.Reason = strings.ReplaceAll(e.Reason, "hunter2", "[secret]") }})
	e := suspend(strings.Repeat("ü", MaxText))
	e.Actor.Name = "bad \xff name"
	e.Reason = "password hunter2 " + strings.Repeat("r", 2*MaxReason)
	e.Detail = json.RawMessage(`"` + strings.Repeat("d", MaxDetail) + `"`)
	if _, err := l.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	got := all(t, l)[0]
	if len(got.Target) > MaxText || !strings.HasSuffix(got.Target, "ü…") {
		t.Errorf("Target has %d bytes and ends in %q", len(got.Target), got.Target[len(got.Target)-6:])
	}
	if got.Actor.Name != "bad \uFFFD name" {
		t.Errorf("Name = %q", got.Actor.Name)
	}
	if len(got.Reason) > MaxReason || !strings.HasPrefix(got.Reason, "password [secret] r") {
		t.Errorf("Reason = %.30q…", got.Reason)
	}
	if want := fmt.Sprintf(`{"omitted_bytes":%d}`, MaxDetail+2); string(got.Detail) != want {
		t.Errorf("Detail = %.60s, want %s", got.Detail, want)
	}
}

func TestAnIncompleteActIsRefused(t *testing.T) {
	l := open(t, t.TempDir(), ed(t), Settings{})
	for name, spoil := range map[string]func(*Entry){
		"no act":          func(e *Entry) { e.Act = "" },
		"no actor":        func(e *Entry) { e.Actor.Kind = "" },
		"a broken detail": func(e *Entry) { e.Detail = json.RawMessage(`{`) },
		"a huge key":      func(e *Entry) { e.Key = strings.Repeat("k", MaxText+1) },
	} {
		e := suspend("crd_1")
		spoil(&e)
		if _, err := l.Append(t.Context(), e); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: Append = %v, want ErrInvalid", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, suspend("crd_1")); !errors.Is(err, context.Canceled) {
		t.Errorf("Append with an ended context = %v", err)
	}
	if got := all(t, l); len(got) != 0 {
		t.Errorf("recorded all the same: %v", got)
	}
}

// brokenSigner is a key whose hardware does not answer.
type brokenSigner struct{ crypto.Signer }

func TestAnActIsRecordedAlthoughItCannotBeSigned(t *testing.T) {
	dir, key := t.TempDir(), ed(t)
	l := open(t, dir, key, Settings{Every: 2})
	l.signer = brokenSigner{key}
	appendAll(t, l, 3)
	if h := l.Health(); h.Sign == nil || h.Unsigned != 3 {
		t.Errorf("Health() = %+v, want it to tell of the failure", h)
	}
	l.signer = key
	appendAll(t, l, 1)
	if h := l.Health(); h.Sign != nil || h.Unsigned != 0 {
		t.Errorf("Health() = %+v once the key works", h)
	}
	if r, err := l.Verify(t.Context(), nil); err != nil || r.Entries != 4 {
		t.Errorf("Verify = %+v, %v", r, err)
	}
}

func (brokenSigner) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("no answer")
}

func TestKeyAndCheckpointFilesAreReadStrictly(t *testing.T) {
	for _, text := range []string{"", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", strings.Repeat("x", maxFile+1)} {
		if _, err := ParseKeys([]byte(text)); err == nil {
			t.Errorf("ParseKeys(%.40q) accepts it", text)
		}
	}
	for _, text := range []string{"", "{}", `{"seq":1,"hash":"00","key_id":"x","signature":"AAAA"}`, `[1]`} {
		if _, err := ParseCheckpoint([]byte(text)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("ParseCheckpoint(%.40q) = %v, want ErrInvalid", text, err)
		}
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(big); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("ReadKeys of a huge file = %v, want ErrTooLarge", err)
	}
}

func FuzzParseCheckpoint(f *testing.F) {
	c, err := sign(ed(f), Checkpoint{Seq: 7, At: time.Unix(0, 0).UTC(), KeyID: "k"})
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	key := ed(f).Public()
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := ParseCheckpoint(text); err == nil && c.Verify(key) == nil {
			t.Fatal("verifies under a key that never signed")
		}
		if keys, err := ParseKeys(text); err == nil && len(keys) == 0 {
			t.Fatal("no keys and no error")
		}
	})
}
