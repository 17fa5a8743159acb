package connector_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/nhi"
)

func TestCheckNamesWhatIsMissing(t *testing.T) {
	forms := []connector.Form{{Name: "users", Doc: "tool list-users", Required: true}, {Name: "keys"}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		in   connector.Input
		want string
	}{
		{"everything", connector.Input{At: now, Files: []connector.File{{Form: "users"}, {Form: "keys"}}}, ""},
		{"what is required", connector.Input{At: now, Files: []connector.File{{Form: "users"}}}, ""},
		{"the required form is missing", connector.Input{At: now, Files: []connector.File{{Form: "keys"}}}, "tool list-users"},
		{"a form it does not know", connector.Input{At: now, Files: []connector.File{{Form: "users"}, {Form: "x"}}}, `"x"`},
		{"no time", connector.Input{Files: []connector.File{{Form: "users"}}}, "no time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := connector.Check("test", forms, tt.in)
			if (err == nil) != (tt.want == "") || (err != nil && (!errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.want))) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestProblemsAreToldUpToABound(t *testing.T) {
	var r connector.Report
	for range connector.MaxProblems + 7 {
		r.Add(connector.Problem{File: "f", Where: "line 1", What: "odd"})
	}
	if len(r.Problems) != connector.MaxProblems || r.More != 7 || r.Problems[0].String() != "f: line 1: odd" {
		t.Errorf("%d problems told, %d more", len(r.Problems), r.More)
	}
}
