package enforce

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
)

// MaxCertificates is the longest text of certificates that a point may tell, in
// bytes.
const MaxCertificates = 24 << 10

const maxShown = 9 // certificates in it

var errCertificate = errors.New("what the point tells of the caller's certificate cannot be read")

// ParseCertificates reads what a proxy tells of the certificates that its caller
// showed, the caller's own first: PEM, or DER in Base64 with commas between. Both
// may be percent-encoded. No text is no certificate. What they prove is not looked
// at.
func ParseCertificates(text string) ([]*x509.Certificate, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > MaxCertificates {
		return nil, errCertificate
	}
	if strings.IndexByte(text, '%') >= 0 {
		var err error
		if text, err = url.PathUnescape(text); err != nil {
			return nil, errCertificate
		}
	}
	ders, ok := blocks(text)
	if !ok || len(ders) == 0 || len(ders) > maxShown {
		return nil, errCertificate
	}
	out := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		var err error
		if out[i], err = x509.ParseCertificate(der); err != nil {
			return nil, errCertificate
		}
	}
	return out, nil
}

// blocks takes the certificates of a text apart.
func blocks(text string) (ders [][]byte, ok bool) {
	if !strings.HasPrefix(text, "-----BEGIN ") {
		for part := range strings.SplitSeq(text, ",") {
			der, err := base64.StdEncoding.Strict().DecodeString(part)
			if err != nil || len(ders) == maxShown {
				return nil, false
			}
			ders = append(ders, der)
		}
		return ders, true
	}
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(ders) == maxShown {
			return nil, false
		}
		ders = append(ders, block.Bytes)
	}
	return ders, true
}
