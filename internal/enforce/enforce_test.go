package enforce_test

import (
	"net/http"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

func TestSettleKeepsTheMeaningOfDecisions(t *testing.T) {
	for _, c := range enforcetest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if got := enforce.Settle(&c.Decision, false); got != c.Want {
				t.Errorf("Settle = %s, want %s", got, c.Want)
			}
			if got := enforce.Settle(&c.Decision, true); got != c.WantRefused {
				t.Errorf("Settle of a hopeless question = %s, want %s", got, c.WantRefused)
			}
		})
	}
}

func TestAPointGuardsOnlyItsResources(t *testing.T) {
	all, some := nhi.Point{}, nhi.Point{Resources: []string{"payments/api"}}
	for _, tt := range []struct {
		point    nhi.Point
		resource string
		want     bool
	}{
		{all, "payments/api", true},
		{all, "", false},
		{some, "payments/api", true},
		{some, "payments/api2", false},
		{some, "", false},
	} {
		if got := enforce.Guards(&tt.point, tt.resource); got != tt.want {
			t.Errorf("Guards(%q, %q) = %v, want %v", tt.point.Resources, tt.resource, got, tt.want)
		}
	}
}

func TestSingleRefusesWhatTwoProgramsReadDifferently(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []string
		want   string
		ok     bool
	}{
		{"absent", nil, "", true},
		{"one", []string{"a"}, "a", true},
		{"repeated", []string{"a", "a"}, "", false},
		{"smuggled line", []string{"a\r\nX-Evil: 1"}, "", false},
		{"null byte", []string{"a\x00"}, "", false},
		{"too long", []string{"12345678901"}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"X-Header": tt.values}
			if got, ok := enforce.Single(header, "X-Header", 10); got != tt.want || ok != tt.ok {
				t.Errorf("Single = %q, %v, want %q, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestOnlyStepsThatACallerCanTakeHaveAClass(t *testing.T) {
	for kind, want := range map[nhi.StepUpKind]string{
		nhi.StepBind:     "urn:muster:acr:bound",
		nhi.StepReattest: "urn:muster:acr:attested",
		nhi.StepApprove:  "",
		"later":          "",
	} {
		if got := enforce.ACR(kind); got != want {
			t.Errorf("ACR(%s) = %q, want %q", kind, got, want)
		}
	}
}
