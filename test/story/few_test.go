//go:build !scale

package story

import (
	"testing"

	"github.com/muster-id/muster/internal/demo"
)

// stories is how many are played.
const stories = 20

// record keeps the figures of long runs only.
func record(*testing.T, []demo.Report) {}
