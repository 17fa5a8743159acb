package forwardauth

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
