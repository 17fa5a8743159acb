package audit_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/muster-id/muster/internal/audit"
)

// An auditor keeps the public key and a checkpoint. Later, with both, the
// folder alone is proof, wherever it was in between.
func ExampleVerify() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := audit.Open(dir, private, audit.Settings{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = log.Append(context.Background(), audit.Entry{
		Actor:  audit.Actor{Kind: audit.Rule, ID: "leak-confirmed"},
		Act:    "credential.suspend",
		Target: "crd_mzxw6ytboi5dimjsgm2dknrxha",
		Reason: "its secret was found in a public repository",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	kept, err := log.Checkpoint()
	if err != nil {
		fmt.Println(err)
		return
	}
	log.Close()

	report, err := audit.Verify(context.Background(), dir, []crypto.PublicKey{public}, &kept)
	fmt.Println(report.Entries, "act proven, error", err)
	// Output: 1 act proven, error <nil>
}
