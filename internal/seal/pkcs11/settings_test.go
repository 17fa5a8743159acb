package pkcs11

import "testing"

func TestSettingsThatCannotWork(t *testing.T) {
	for _, s := range []Settings{{}, {Module: "m", Token: "t", Key: "k"}, {Token: "t", Key: "k", PINFile: "p"}} {
		if _, err := New(s); err == nil {
			t.Errorf("New(%+v) succeeded", s)
		}
	}
}
