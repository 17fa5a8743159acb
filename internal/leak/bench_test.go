package leak

import (
	"bytes"
	"go/build"
	"os"
	"path/filepath"
	"testing"
)

// corpus returns real text: the sources of the standard library's net and
// crypto packages, some megabytes.
func corpus(b *testing.B) []byte {
	b.Helper()
	var out bytes.Buffer
	for _, pattern := range []string{"net/*.go", "net/http/*.go", "crypto/*/*.go", "runtime/*.go", "encoding/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(build.Default.GOROOT, "src", pattern))
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				b.Fatal(err)
			}
			out.Write(data)
		}
	}
	return out.Bytes()
}

func BenchmarkScanSource(b *testing.B) {
	s, data := newTestScanner(b), corpus(b)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s.Scan(data, func(*Match) bool { return true })
	}
}

func BenchmarkAutomatonAlone(b *testing.B) {
	s, data := newTestScanner(b), corpus(b)
	b.SetBytes(int64(len(data)))
	hits := 0
	for b.Loop() {
		hits = 0
		at, state := s.search.find(data, 0, 0)
		for state >= s.search.accept {
			hits++
			at, state = s.search.find(data, at, state)
		}
	}
	b.ReportMetric(float64(hits)/float64(len(data))*1e6, "hits/MB")
}

func BenchmarkNewScanner(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		s := newTestScanner(b)
		b.ReportMetric(float64(len(s.needles)), "needles")
		b.ReportMetric(float64(len(s.search.next)*2), "table-B")
	}
}

func BenchmarkRedactCleanLine(b *testing.B) {
	s := newTestScanner(b)
	line := `time=2026-01-02T03:04:05Z level=INFO msg="request served" method=GET path=/v1/identities status=200 duration=1.2ms zone=Asia/Tokyo`
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_ = s.RedactString(line)
	}
}

func BenchmarkRedactLineWithKey(b *testing.B) {
	s := newTestScanner(b)
	line := `level=INFO msg="request served" method=GET path=/v1/identities authorization="Bearer ` + newMuster("key") + `"`
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_ = s.RedactString(line)
	}
}
