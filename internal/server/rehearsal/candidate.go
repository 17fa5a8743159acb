package rehearsal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/server/library"
)

// candidate is the Cedar that files amount to. With YAML among them they are a
// library, as [library.Read] reads what is pushed: grants are written, and what is
// wrong with one is said at its file and line; tests are left out. Without YAML they
// are Cedar, under whatever names.
func candidate(files map[string]string) (map[string]string, error) {
	if err := bounded(files); err != nil {
		return nil, err
	}
	yaml := false
	for name := range files {
		yaml = yaml || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
	}
	if !yaml {
		return files, nil
	}
	read, problems := library.Read(files)
	if read == nil {
		return nil, policy.Problems(slices.DeleteFunc(problems, func(p policy.Problem) bool { return p.Warning }))
	}
	return read.Policies(), nil
}

// bounded refuses what is too much to be tried.
func bounded(files map[string]string) error {
	n := 0
	for _, text := range files {
		n += len(text)
	}
	if len(files) > maxFiles || n > maxBytes {
		return fmt.Errorf("%d files of %d bytes of policies, at most %d and %d are tried: %w", len(files), n, maxFiles, maxBytes, nhi.ErrTooLarge)
	}
	return nil
}
