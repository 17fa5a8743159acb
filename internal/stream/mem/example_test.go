package mem_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/mem"
)

// A consumer keeps its own place: it stores the number of what it applied
// and starts behind it.
func Example() {
	ctx := context.Background()
	s := mem.New(stream.Settings{})
	defer s.Close()
	for _, id := range []string{"1", "2", "2", "3"} { // 2 is repeated
		if _, _, err := s.Publish(ctx, stream.Change, id, []byte("change "+id)); err != nil {
			fmt.Println(err)
			return
		}
	}
	applied := uint64(1) // from an earlier life
	done := errors.New("done")
	err := s.Consume(ctx, stream.Consumer{Subjects: []string{stream.Change}, After: applied},
		func(_ context.Context, m stream.Message) error {
			fmt.Println(m.Seq, string(m.Payload))
			if applied = m.Seq; applied == 3 {
				return done
			}
			return nil
		})
	fmt.Println(errors.Is(err, done))
	// Output:
	// 2 change 2
	// 3 change 3
	// true
}
