package operate

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/console"
	"github.com/muster-id/muster/internal/output"
	"github.com/muster-id/muster/internal/sbom"
)

// A build says what this program is.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Version is `muster version`: which program this is, and what it consists of.
func Version(a *command.App) *cobra.Command {
	var bill bool
	return a.Command(command.Verb{
		Use: "version", Short: "Say which version this is, and what it consists of",
		Long: "Say which version this is. With --sbom print the bill of materials: every Go module and every\npackage of the console that is in this program, as CycloneDX 1.6.",
		Example: `
muster version
muster version -o json
muster version --sbom > muster.cdx.json`,
		Prints: output.Fields[build](),
		Flags: func(c *cobra.Command) {
			c.Flags().BoolVar(&bill, "sbom", false, "print the bill of materials (CycloneDX JSON)")
		},
		Run: func(_ context.Context, k *command.Call, _ []string) error {
			if !bill {
				b := build{Version: a.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
				return output.One(k.Out, b, output.Columns[build]("version go platform"))
			}
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return errors.New("the program was built without Go modules and does not know its parts")
			}
			return sbom.Write(a.Std.Out, info, a.Version, sbom.Parts(console.Licences()))
		},
	})
}
