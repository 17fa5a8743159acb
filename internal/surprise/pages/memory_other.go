//go:build !(linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le))

package pages

import (
	"errors"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/surprise"
)

// mapPages always fails here: pages lie in the heap.
func mapPages(checkpoint.Open, int, int) ([]surprise.Page, error) { return nil, errors.ErrUnsupported }

func release([]surprise.Page) {}
