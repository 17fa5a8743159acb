// Command muster gives non-human identities the zero-trust treatment that
// people already get. Everything it does is in the packages below internal;
// `muster --help` says what that is.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster-id/muster/internal/cli"
)

// version is set by the linker.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to stop, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, version, os.Args[1:], cli.System()))
}
