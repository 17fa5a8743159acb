package enforce

import "testing"

func TestASecretInPlaceOfTheMethodIsNotWrittenDown(t *testing.T) {
	for method, want := range map[string]bool{
		"GET": true, "VERSION-CONTROL": true, "": false, "get": false, "GET /payments?key=x": false,
		"ghp_0123456789abcdefghijABCDEFGHIJ123456": false, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": false,
	} {
		if got := plainMethod(method); got != want {
			t.Errorf("plainMethod(%q) = %v, want %v", method, got, want)
		}
	}
}

func TestTheProofIsCheckedAgainstTheOriginalURL(t *testing.T) {
	o := Original{Scheme: "https", Host: "shop.example:8443", Target: "/payments/17?x=1"}
	if got, want := o.URL(), "https://shop.example:8443/payments/17"; got != want {
		t.Errorf("URL = %s, want %s", got, want)
	}
	if got := (&Original{Scheme: "https", Target: "/x"}).URL(); got != "" {
		t.Errorf("URL of a request without a host = %q, want none", got)
	}
}

func TestAHeaderInDisguiseIsSeenThrough(t *testing.T) {
	for name, want := range map[string]bool{
		"muster_identity": true, "Muster.Identity": true, "MUSTER~DECISION": true, "x_http.method_Override": true, "muster\u017fidentity": true,
		"Muster-Identity": false, "any_thing": false, "Muster.Anything": false, "": false,
	} {
		if got := Disguised(name); got != want {
			t.Errorf("Disguised(%q) = %v, want %v", name, got, want)
		}
	}
}
