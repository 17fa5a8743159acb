package clause

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // so that zones are known on a machine that has none

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// A Zone is a time zone that a policy names.
type Zone struct {
	Name types.String // of the IANA database
	At   *time.Location
}

// MaxZones bounds the zones of one policy: each costs every decision.
const MaxZones = 16

// Zones returns the time zones that p names, and what is wrong with them. A
// policy reads one zone at a time, by its name: context.zones["Europe/Berlin"].
func Zones(p *ast.Policy) (zones []Zone, bad []string) {
	bare, named := 0, 0
	Inspect(p, func(types.EntityUID) {}, func(n ast.IsNode) {
		if isZones(n) {
			bare++
		}
		read, ok := n.(ast.NodeTypeAccess)
		if !ok || !isZones(read.Arg) {
			return
		}
		named++
		if slices.ContainsFunc(zones, func(z Zone) bool { return z.Name == read.Value }) {
			return
		}
		at, err := loadZone(string(read.Value))
		if err != nil {
			if !slices.Contains(bad, err.Error()) {
				bad = append(bad, err.Error())
			}
			return
		}
		zones = append(zones, Zone{read.Value, at})
	})
	if bare != named {
		bad = append(bad, `context.zones is read one zone at a time, as in context.zones["Europe/Berlin"].minute`)
	}
	if len(zones) > MaxZones {
		bad = append(bad, fmt.Sprintf("it names more than %d time zones", MaxZones))
	}
	return zones, bad
}

func isZones(n ast.IsNode) bool {
	read, ok := n.(ast.NodeTypeAccess)
	return ok && read.Value == "zones" && IsContext(read.Arg)
}

// loadZone looks a zone up by its name in the IANA database.
func loadZone(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	// The empty name and Local would be the zone of this machine, and a path
	// would be read from its disk.
	if strings.Contains(name, "/") && !strings.Contains(name, "..") && len(name) < 64 && printable(name) {
		if at, err := time.LoadLocation(name); err == nil {
			return at, nil
		}
	}
	return nil, fmt.Errorf("there is no time zone %.64q; name one of the IANA database, such as Europe/Berlin, or UTC", name)
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' })
}
