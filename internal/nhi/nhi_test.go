package nhi

import (
	"fmt"
	"strings"
	"testing"
)

func TestIDIsTheSameForTheSameFieldsAndNoOthers(t *testing.T) {
	a := IdentityID("aws", "111122223333", "AIDAEXAMPLE")
	if b := IdentityID("aws", "111122223333", "AIDAEXAMPLE"); a != b {
		t.Errorf("two computations differ: %s and %s", a, b)
	}
	for _, other := range []ID{
		IdentityID("aws", "111122223333A", "IDAEXAMPLE"), // shifted boundary
		IdentityID("aws1", "11122223333", "AIDAEXAMPLE"),
		IdentityID("gcp", "111122223333", "AIDAEXAMPLE"),
	} {
		if a == other {
			t.Errorf("different fields share the id %s", a)
		}
	}
	if !a.Valid() || len(a) != 30 {
		t.Errorf("id %q has not the fixed shape", a)
	}
}

func TestIDsOfForeignShapeAreInvalid(t *testing.T) {
	good := string(IdentityID("p", "a", "n"))
	for _, id := range []string{"", "nhi_", "crd_" + good[4:], strings.ToUpper(good), good + "a", good[:29] + "1", "nhi_../../../../../../../../.."} {
		if ID(id).Valid() {
			t.Errorf("ID(%q).Valid() = true", id)
		}
	}
	if !CredentialID("crd_"+good[4:]).Valid() || !ResourceID("res_"+good[4:]).Valid() {
		t.Error("credential and resource ids of the right shape are refused")
	}
}

func TestZeroValuesFailClosed(t *testing.T) {
	var d Decision
	if d.Allowed() {
		t.Error("the zero Decision allows")
	}
	var s CredentialState
	if !s.Dead() {
		t.Error("the zero CredentialState is alive")
	}
	var src Source
	if src.MayTestify("") {
		t.Error("a source without accounts testifies")
	}
}

func TestUnknownEnvironmentNeverCrosses(t *testing.T) {
	prod, non, unknown := Environment{Class: Production}, Environment{Class: Nonproduction}, Environment{Class: ClassUnknown}
	for _, tt := range []struct {
		a, b Environment
		want bool
	}{{prod, non, true}, {non, prod, true}, {prod, prod, false}, {prod, unknown, false}, {unknown, non, false}, {Environment{}, prod, false}} {
		if got := tt.a.Crosses(tt.b); got != tt.want {
			t.Errorf("%v crosses %v = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func ExampleIdentityID() {
	fmt.Println(IdentityID("aws", "111122223333", "AIDACKCEVSQ6C2EXAMPLE"))
	// Output: nhi_v6w2kopezgzwfpmsgulnrizwq4
}
