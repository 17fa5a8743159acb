//go:build !pkcs11 || !cgo

package pkcs11

import "github.com/muster-id/muster/internal/seal"

func open(Settings) (seal.Wrapper, error) { return nil, ErrBuild }
