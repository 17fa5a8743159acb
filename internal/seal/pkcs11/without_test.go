//go:build !pkcs11 || !cgo

package pkcs11

import (
	"errors"
	"strings"
	"testing"
)

func TestABinaryWithoutPKCS11SaysHowToBuildOne(t *testing.T) {
	_, err := New(Settings{Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "muster", Key: "keys", PINFile: "pin"})
	if !errors.Is(err, ErrBuild) || !strings.Contains(err.Error(), "-tags") {
		t.Errorf("New = %v, want ErrBuild with the way out", err)
	}
}
