package stream

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-id/muster/internal/nhi"
)

// Limits of one batch.
const (
	MaxBatchEvents = 1000
	MaxBatchBytes  = 1 << 20  // encoded
	maxBatchJSON   = 16 << 20 // decoded: guards against a bomb
)

// A batch is one byte with the version of its format and a zstd frame
// (RFC 8878) of a JSON array of events.
const batchVersion = 1

// Both are safe for concurrent use and cost memory only once used.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBatchJSON), zstd.WithDecoderConcurrency(0))
	})
)

// EncodeBatch encodes up to MaxBatchEvents events for one message. A batch
// that does not fit wraps nhi.ErrTooLarge; EncodeBatches splits instead.
func EncodeBatch(events []nhi.Event) ([]byte, error) {
	if len(events) > MaxBatchEvents {
		return nil, fmt.Errorf("encode a batch of %d events: %w", len(events), nhi.ErrTooLarge)
	}
	text, err := appendEvents(make([]byte, 0, 768*len(events)), events)
	if err != nil {
		return nil, fmt.Errorf("encode a batch: %w", err)
	}
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("encode a batch: %w", err)
	}
	out := enc.EncodeAll(text, append(make([]byte, 0, len(text)/4+64), batchVersion))
	if len(text) > maxBatchJSON || len(out) > MaxBatchBytes {
		return nil, fmt.Errorf("encode a batch of %d events and %d bytes: %w", len(events), len(text), nhi.ErrTooLarge)
	}
	return out, nil
}

// EncodeBatches encodes any number of events in as few batches as the limits
// allow, in order. Only a single event beyond the limits is an error.
func EncodeBatches(events []nhi.Event) ([][]byte, error) {
	var batches [][]byte
	for size := MaxBatchEvents; len(events) > 0; {
		n := min(size, len(events))
		b, err := EncodeBatch(events[:n])
		if errors.Is(err, nhi.ErrTooLarge) && n > 1 {
			size = n / 2
			continue
		}
		if err != nil {
			return nil, err
		}
		batches, events, size = append(batches, b), events[n:], MaxBatchEvents
	}
	return batches, nil
}

// DecodeBatch reads what EncodeBatch wrote. Its errors wrap nhi.ErrTooLarge,
// ErrNewer or nhi.ErrInvalid.
func DecodeBatch(b []byte) ([]nhi.Event, error) {
	switch {
	case len(b) > MaxBatchBytes:
		return nil, fmt.Errorf("decode a batch of %d bytes: %w", len(b), nhi.ErrTooLarge)
	case len(b) == 0 || b[0] == 0:
		return nil, nhi.Invalidf("decode a batch: no version")
	case b[0] > batchVersion:
		return nil, fmt.Errorf("decode a batch of version %d: %w", b[0], ErrNewer)
	}
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("decode a batch: %w", err)
	}
	text, err := dec.DecodeAll(b[1:], nil)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(text) > maxBatchJSON {
		return nil, fmt.Errorf("decode a batch: %w", nhi.ErrTooLarge)
	}
	if err != nil {
		return nil, nhi.Invalidf("decode a batch: compression is damaged")
	}
	return decodeEvents(text)
}
