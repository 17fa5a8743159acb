package bench

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/detect"

	"github.com/muster-id/muster/internal/leak"
)

// bounded is how much of the standard library is scanned: enough to be typical,
// little enough to be quick.
const bounded = 4 << 20

// sources returns files of Go's standard library, bounded bytes in all.
func sources(tb testing.TB) (files [][]byte, size int) {
	tb.Helper()
	err := filepath.WalkDir(filepath.Join(build.Default.GOROOT, "src", "net"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || size >= bounded {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, data)
		size += len(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return files, size
}

// Both sides get the files in memory, one after the other, and look for what
// their own built-in rules name. gitleaks has rules for some 200 providers and
// Muster, so far, for a few kinds of key: part of the ratio is that.
func BenchmarkLeaks(b *testing.B) {
	files, size := sources(b)
	var ours, theirs float64
	b.Run("muster", func(b *testing.B) {
		scanner, err := leak.NewScanner()
		if err != nil {
			b.Fatal(err)
		}
		measure(b, &ours, func(int) {
			for _, data := range files {
				scanner.Scan(data, func(m *leak.Match) bool { m.Wipe(); return true })
			}
		})
		b.ReportMetric(float64(size)/1e6/(ours/1e9), "MB/CPU-s")
	})
	b.Run("gitleaks", func(b *testing.B) {
		detector, err := detect.NewDetectorDefaultConfig()
		if err != nil {
			b.Fatal(err)
		}
		measure(b, &theirs, func(int) {
			for _, data := range files {
				detector.DetectBytes(data)
			}
		})
		b.ReportMetric(float64(size)/1e6/(theirs/1e9), "MB/CPU-s")
		if ours > 0 {
			b.ReportMetric(theirs/ours, "times-muster")
		}
	})
}
