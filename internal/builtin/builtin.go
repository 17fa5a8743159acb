// Package builtin lists the extensions that this program is built with: log
// formats, attestation methods, connectors. The lists are generated from the
// folders themselves, so adding an extension is writing its folder and running
// `make generate`; nobody keeps a list by hand.
package builtin

import (
	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/connector"
)

//go:generate go run ./gen

// Format returns the log format called name, or nil.
func Format(name string) *activity.Format {
	for _, f := range Formats {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Connector returns the connector called name, or nil.
func Connector(name string) *connector.Kind {
	for _, c := range Connectors {
		if c.Name == name {
			return c
		}
	}
	return nil
}
