package nhi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

func TestIDsSurviveAsNumbers(t *testing.T) {
	for i := range 500 {
		s := string(nhi.IdentityID("aws", "1", fmt.Sprint("i", i)))
		n, odd := nhi.NumberOf(s, "nhi_")
		if odd || n.Text("nhi_") != s || n != nhi.ID(s).Number() {
			t.Fatalf("%s became %s, odd %v", s, n.Text("nhi_"), odd)
		}
	}
	for _, s := range []string{"", "nhi_", "crd_" + strings.Repeat("a", 26), "nhi_" + strings.Repeat("A", 26),
		"nhi_" + strings.Repeat("a", 25) + "b", "nhi_" + strings.Repeat("a", 27), "nhi_" + strings.Repeat("1", 26)} {
		if _, odd := nhi.NumberOf(s, "nhi_"); !odd {
			t.Errorf("%q was taken for canonical", s)
		}
	}
}
