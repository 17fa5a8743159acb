package feed

import (
	"encoding/json"

	"github.com/muster-id/muster/internal/nhi"
)

// Limits of a batch of decisions.
const (
	MaxRecords = 1000
	MaxBatch   = 4 << 20 // bytes of its records
)

// A Batch is decisions that a point made, in the order of its journal. One without
// records asks how far the journal has come.
type Batch struct {
	Journal string            `json:"journal"` // 26 characters that are the data folder's own
	First   uint64            `json:"first"`   // number of the first record
	Records []json.RawMessage `json:"records,omitempty"`
	// Lost says that the point no longer has what would come before.
	Lost bool `json:"lost,omitempty"`
}

// Check returns an error wrapping nhi.ErrInvalid that says what is wrong.
func (b *Batch) Check() error {
	size := 0
	for _, r := range b.Records {
		size += len(r)
	}
	switch {
	case !word(b.Journal, 26):
		return nhi.Invalidf("the name of the journal must be 26 characters of base32")
	case len(b.Records) > MaxRecords || size > MaxBatch:
		return nhi.Invalidf("%d decisions of %d bytes at once, want at most %d and %d", len(b.Records), size, MaxRecords, MaxBatch)
	case len(b.Records) > 0 && (b.First == 0 || b.First > 1<<62):
		return nhi.Invalidf("the number of the first decision is out of range")
	}
	return nil
}

// Taken answers a Batch.
type Taken struct {
	Next uint64 `json:"next"` // number of the record that comes next
}
