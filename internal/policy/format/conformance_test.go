//go:build conformance || soak

package format

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/policy"
)

// TestConformanceFormatKeepsTheMeaning formats every policy of Cedar's own
// corpus, which was written by a fuzzer and lies beside cedar-go.
func TestConformanceFormatKeepsTheMeaning(t *testing.T) {
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	formatted, refused := 0, 0
	for archive := tar.NewReader(unpacked); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".cedar") {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if len(policy.Syntax(h.Name, string(text))) > 0 { // over our limits
			refused++
			continue
		}
		format(t, string(text))
		formatted++
	}
	t.Logf("%d files keep their meaning; %d are over our limits", formatted, refused)
	if formatted < 7000 {
		t.Error("the corpus is smaller than it was, or most of it is refused")
	}
}
