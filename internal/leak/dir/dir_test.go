package dir

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
)

func newScanner(t testing.TB) *leak.Scanner {
	t.Helper()
	s, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tree writes files under a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// A place is where a scan found a key.
type place struct {
	File   string
	Line   int
	Column int
	ID     string
}

func scan(t *testing.T, root string, o Options) ([]place, Summary) {
	t.Helper()
	var got []place
	sum, err := Scan(t.Context(), newScanner(t), root, o, func(file string, m *leak.Match) error {
		rel, err := filepath.Rel(root, file)
		if err != nil {
			rel = file
		}
		got = append(got, place{rel, m.Line, m.Column, m.PublicID})
		m.Wipe()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, sum
}

func TestFindingsComeInTheOrderOfTheTreeWhateverWorkerIsFaster(t *testing.T) {
	files := map[string]string{}
	var want []place
	for i := range 200 {
		m := key.Mint(key.API)
		name := fmt.Sprintf("d%d/f%03d.txt", i/50, i)
		files[name] = strings.Repeat("filler\n", (i*37)%400) + "key " + m.Reveal() + "\n"
		want = append(want, place{name, (i*37)%400 + 1, 5, m.ID})
	}
	root := tree(t, files)
	for _, workers := range []int{0, 1, 7} {
		got, sum := scan(t, root, Options{Workers: workers})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d workers (-want +got):\n%s", workers, diff)
		}
		if sum.Files != 200 {
			t.Errorf("Files = %d, want 200", sum.Files)
		}
	}
}

func TestASingleFileIsARoot(t *testing.T) {
	m := key.Mint(key.API)
	root := tree(t, map[string]string{"one.env": "K=" + m.Reveal()})
	got, sum := scan(t, filepath.Join(root, "one.env"), Options{})
	if len(got) != 1 || got[0].ID != m.ID || sum.Files != 1 {
		t.Errorf("found %v, %+v", got, sum)
	}
}

func TestAMissingRootIsAnErrorThatNamesIt(t *testing.T) {
	_, err := Walk(t.Context(), filepath.Join(t.TempDir(), "nothing"), Options{}, func(string, []byte) error { return nil })
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error = %v", err)
	}
}

func TestBinariesAndGitObjectsAreCountedAndNotRead(t *testing.T) {
	secret := key.Mint(key.API).Reveal()
	root := tree(t, map[string]string{
		"a.bin":               "\x00" + secret,
		"late.txt":            strings.Repeat("x", 9000) + "\x00 " + secret, // a zero byte too late to count
		".git/config":         "url = https://" + secret + "@example.com/",
		".git/objects/aa/bb":  secret,
		"bare/HEAD":           "ref: refs/heads/main",
		"bare/refs/heads/x":   "",
		"bare/objects/pack/p": secret,
		"src/objects/o.txt":   secret,
	})
	got, sum := scan(t, root, Options{})
	var files []string
	for _, p := range got {
		files = append(files, p.File)
	}
	if diff := cmp.Diff([]string{".git/config", "late.txt", "src/objects/o.txt"}, files); diff != "" {
		t.Errorf("files with findings (-want +got):\n%s", diff)
	}
	if sum.Binaries != 1 || sum.GitObjects != 2 {
		t.Errorf("summary %+v", sum)
	}
}

func TestUTF16FilesAreText(t *testing.T) {
	m := key.Mint(key.API)
	for name, order := range map[string]binary.AppendByteOrder{"little endian": binary.LittleEndian, "big endian": binary.BigEndian} {
		t.Run(name, func(t *testing.T) {
			data := order.AppendUint16(nil, 0xfeff)
			for _, u := range utf16.Encode([]rune("première ligne 🙂\r\nclé = " + m.Reveal() + "\r\n")) {
				data = order.AppendUint16(data, u)
			}
			got, sum := scan(t, tree(t, map[string]string{"f.txt": string(data)}), Options{})
			if diff := cmp.Diff([]place{{"f.txt", 2, 8, m.ID}}, got); diff != "" || sum.Binaries != 0 {
				t.Errorf("%+v (-want +got):\n%s", sum, diff)
			}
		})
	}
}

// A tree from a stranger may try to make the scanner read what it should not,
// or wait for ever.
func TestLinksLoopsAndPipesInAHostileTreeAreNotFollowed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no named pipes")
	}
	secret := key.Mint(key.API).Reveal()
	outside := tree(t, map[string]string{"secret.txt": secret})
	root := tree(t, map[string]string{"real.txt": "nothing here"})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Symlink(root, filepath.Join(root, "loop")))
	check(os.Symlink(outside, filepath.Join(root, "out")))
	check(os.Symlink(filepath.Join(outside, "secret.txt"), filepath.Join(root, "out.txt")))
	check(os.Symlink("nowhere", filepath.Join(root, "dangling")))
	check(syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600))
	got, sum := scan(t, root, Options{})
	if len(got) != 0 {
		t.Errorf("found %v outside of the root", got)
	}
	if sum.Links != 4 || sum.Special != 1 || sum.Files != 1 || sum.Failed != 0 {
		t.Errorf("summary %+v", sum)
	}
}

// Between listing and reading, a file may be replaced by a link or a pipe.
func TestAFileSwappedForALinkOrPipeIsNotOpened(t *testing.T) {
	root := tree(t, map[string]string{"target": "x"})
	link, pipe := filepath.Join(root, "link"), filepath.Join(root, "pipe")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, root} {
		if f, _, err := open(path, false); !errors.Is(err, errSpecial) {
			t.Errorf("open of %s = %v, %v; want %v", filepath.Base(path), f, err, errSpecial)
		}
	}
}

func TestUnreadableFilesAreReportedAndTheWalkGoesOn(t *testing.T) {
	if os.Getuid() == 0 {
		// Root reads everything; a file that vanished fails for everybody.
		w := &worker{ctx: t.Context(), head: make([]byte, headSize)}
		err := w.file(newJob(filepath.Join(t.TempDir(), "gone\n\x1b[31m")))
		if err == nil || strings.ContainsAny(readError(err).Error(), "\n\x1b") || !strings.Contains(readError(err).Error(), "gone") {
			t.Errorf("error = %q", err)
		}
		return
	}
	m := key.Mint(key.API)
	root := tree(t, map[string]string{"a.txt": "x", "b.txt": m.Reveal()})
	if err := os.Chmod(filepath.Join(root, "a.txt"), 0); err != nil {
		t.Fatal(err)
	}
	var failures []error
	got, sum := scan(t, root, Options{Failed: func(err error) { failures = append(failures, err) }})
	if len(failures) != 1 || !strings.Contains(failures[0].Error(), "a.txt") || sum.Failed != 1 || len(got) != 1 {
		t.Errorf("failures %v, summary %+v, found %v", failures, sum, got)
	}
}

func TestNamesOfFilesAreSafeToPrint(t *testing.T) {
	for in, want := range map[string]string{
		"plain/näme.txt":     "plain/näme.txt",
		"bad\xff\xfe.txt":    `bad\xff\xfe.txt`,
		"esc\x1b[2J.txt":     `esc\x1b[2J.txt`,
		"line\nbreak":        `line\nbreak`,
		"right\u202eto left": `right\u202eto left`,
		"real \ufffd sign":   `real \ufffd sign`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
	if runtime.GOOS == "linux" {
		got, _ := scan(t, tree(t, map[string]string{"bad\xff\x1b": key.Mint(key.API).Reveal()}), Options{})
		if len(got) != 1 || got[0].File != `bad\xff\x1b` || !utf8.ValidString(got[0].File) {
			t.Errorf("found %v", got)
		}
	}
}

func TestAKeyAcrossThePartsOfALargeFileIsFoundOnce(t *testing.T) {
	var data bytes.Buffer
	var want []place
	line := strings.Repeat("x", 99) + "\n"
	for data.Len() < 2*PartSize+PartSize/2 {
		// Around every border of a part, keys follow each other closely.
		near := data.Len() % (PartSize - 2*Overlap)
		if near < 4*Overlap && data.Len()%3000 == 0 {
			m := key.Mint(key.API)
			want = append(want, place{"big.log", data.Len()/100 + 1, 1, m.ID})
			data.WriteString(m.Reveal() + strings.Repeat(" ", 99-key.Length) + "\n")
			continue
		}
		data.WriteString(line)
	}
	got, sum := scan(t, tree(t, map[string]string{"big.log": data.String()}), Options{})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sum.Bytes != int64(data.Len()) {
		t.Errorf("Bytes = %d, want %d", sum.Bytes, data.Len())
	}
}

func TestWalkHandsOutFilesInOrderAndLargeOnesInOverlappingParts(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), (PartSize+PartSize/2)/16)
	root := tree(t, map[string]string{"a": "first", "b": string(big), "c": "last", "empty": ""})
	type call struct {
		File string
		Size int
	}
	var got []call
	var last []byte
	sum, err := Walk(t.Context(), root, Options{}, func(file string, data []byte) error {
		if n := len(got); n > 0 && got[n-1].File == filepath.Base(file) && !bytes.HasPrefix(data, last[len(last)-Overlap:]) {
			t.Error("a part does not begin with the end of the one before")
		}
		got, last = append(got, call{filepath.Base(file), len(data)}), bytes.Clone(data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []call{{"a", 5}, {"b", PartSize}, {"b", PartSize/2 + Overlap}, {"c", 4}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sum.Files != 4 || sum.Bytes != int64(len(big))+9 {
		t.Errorf("summary %+v", sum)
	}
}

func TestAnErrorOfTheConsumerOrACancelledContextEndsTheWalk(t *testing.T) {
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("f%03d", i)] = "text"
	}
	root := tree(t, files)
	stop := errors.New("enough")
	calls := 0
	_, err := Walk(t.Context(), root, Options{}, func(string, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("error = %v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls = 0
	_, err = Walk(ctx, root, Options{}, func(string, []byte) error {
		if calls++; calls == 5 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls >= 300 {
		t.Errorf("error = %v after %d calls", err, calls)
	}
}

func TestProgressCountsFilesAndBytes(t *testing.T) {
	root := tree(t, map[string]string{"a": "12345", "b": "123"})
	var got [][2]int64
	scan(t, root, Options{Progress: func(files, n int64) { got = append(got, [2]int64{files, n}) }})
	if diff := cmp.Diff([][2]int64{{1, 5}, {2, 8}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkScanStandardLibrary(b *testing.B) {
	s := newScanner(b)
	root := filepath.Join(build.Default.GOROOT, "src")
	b.ReportAllocs()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	total := int64(0)
	for b.Loop() {
		sum, err := Scan(b.Context(), s, root, Options{}, func(string, *leak.Match) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		total += sum.Bytes
		b.SetBytes(sum.Bytes)
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := func(r syscall.Rusage) float64 {
		return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
	}
	b.ReportMetric(float64(total)/1e6/(cpu(after)-cpu(before)), "MB/CPU-s")
}
