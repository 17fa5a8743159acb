package enforce

import (
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
)

// ForwardedHeader is where Envoy tells which certificate its caller showed, in a
// format of its own (XFCC).
const ForwardedHeader = "X-Forwarded-Client-Cert"

// MaxForwarded is the longest value of that header, in bytes: the certificate and
// the chain.
const MaxForwarded = 2 * MaxCertificates

const maxPairs = 64 // in an element

var errForwarded = errors.New("X-Forwarded-Client-Cert is not one element with a certificate: Cert or Chain")

// Forwarded reads the certificates in the X-Forwarded-Client-Cert of a caller's
// headers, the caller's own first; without the header there are none. It is for a
// point alone that is known to write that header itself, or take it away.
//
// The value must be one element, "Key=Value;Key=Value". Envoy appends elements
// with commas, one for each proxy on the way, and two are refused: the last is not
// sure to be Envoy's, because it writes names out of a certificate (URI, DNS)
// without quotes, and a name may have a comma; the first may be a client's own
// word. For the same reason Cert and Chain stand once at most, before every name that
// comes out of a certificate, where Envoy writes them, and must agree.
// Hash, Subject, URI and DNS are names for a certificate and prove nothing, so they
// are not read. What the certificate proves is not looked at.
func Forwarded(header http.Header) ([]*x509.Certificate, error) {
	value, ok := Single(header, ForwardedHeader, MaxForwarded)
	if !ok {
		return nil, errForwarded
	}
	if len(header[ForwardedHeader]) == 0 {
		return nil, nil
	}
	told, err := element(value)
	if err != nil {
		return nil, err
	}
	leaf, err := ParseCertificates(told["cert"])
	if err != nil {
		return nil, err
	}
	chain, err := ParseCertificates(told["chain"])
	switch {
	case err != nil:
		return nil, err
	case len(leaf) > 1 || len(leaf)+len(chain) == 0:
		return nil, errForwarded
	case len(chain) == 0:
		return leaf, nil
	case len(leaf) == 1 && !leaf[0].Equal(chain[0]):
		return nil, errForwarded
	}
	return chain, nil
}

// Forwarded takes up what X-Forwarded-Client-Cert tells. One that cannot be read
// makes the request unreadable: without it, the caller might be somebody else.
func (a *Asking) Forwarded(header http.Header) {
	var err error
	if a.Certificates, err = Forwarded(header); err != nil && a.Err == nil {
		a.Err = err
	}
}

// element takes a value of one element apart. It returns those values that are
// read, by their keys in lower case.
func element(s string) (told map[string]string, err error) {
	told = make(map[string]string, 2)
	named := false // by the certificate: what follows may be part of a name in it
	for range maxPairs {
		key, rest, ok := strings.Cut(s, "=")
		if !ok || !letters(key) {
			return nil, errForwarded
		}
		value, after, ok := forwardedValue(rest)
		if !ok {
			return nil, errForwarded
		}
		switch key = strings.ToLower(key); key {
		case "cert", "chain":
			if _, again := told[key]; again || value == "" || named {
				return nil, errForwarded
			}
			told[key] = value
		case "subject", "uri", "dns":
			named = true
		}
		if after == "" {
			return told, nil
		}
		s = after[1:]
	}
	return nil, errForwarded
}

// forwardedValue reads a value, in quotes or without. What is left is empty, or
// begins with a semicolon. In quotes a backslash keeps what follows it from its
// meaning; without, neither quotes nor a comma may stand.
func forwardedValue(s string) (value, after string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], !strings.ContainsAny(s[:end], `",`)
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			after = s[i+1:]
			return s[1:i], after, after == "" || after[0] == ';'
		}
	}
	return "", "", false
}

// letters reports whether s is a key.
func letters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return s != "" && len(s) <= 16
}
