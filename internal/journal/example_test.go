package journal_test

import (
	"context"
	"fmt"
	"os"

	"github.com/muster-id/muster/internal/journal"
)

func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	j, err := journal.Open(dir, journal.Settings{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer j.Close()
	for _, text := range []string{"allow", "deny"} {
		pos, err := j.Append([]byte(text)) // on disk when it returns
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("recorded as", pos.Seq)
	}
	for rec, err := range j.Read(0) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %s\n", rec.Seq, rec.Payload)
	}
	report, err := j.Verify(context.Background())
	fmt.Println(report.Records, "records, error", err)
	// Output:
	// recorded as 1
	// recorded as 2
	// 1 allow
	// 2 deny
	// 2 records, error <nil>
}
