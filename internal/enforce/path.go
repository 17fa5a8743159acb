package enforce

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Limits of what a route is matched against.
const (
	MaxPath     = 8 << 10 // bytes of a path, without its query
	MaxSegments = 64
)

// Why a path is refused before any route is looked at.
var (
	errPathLong      = errors.New("path is too long")
	errPathRelative  = errors.New("path does not start with a slash")
	errPathAmbiguous = errors.New("path can be read in two ways")
	errPathEncoding  = errors.New("path has a broken percent or UTF-8 encoding")
)

// cleanPath returns the path that routes are matched against: without its
// query, percent-decoded once. It refuses every path that a proxy, Muster and
// the application might read differently, because a rule on one reading is no
// protection against the other:
//
//   - empty segments, dot segments, backslashes, fragments, parameters (";")
//   - the same, and slashes, in percent-encoding
//   - what would still be percent-encoded after decoding once
//   - control characters, invalid UTF-8 and malformed encodings
//
// A path without an escape is returned as it is, with no copy.
func cleanPath(target string) (string, error) {
	path, _, _ := strings.Cut(target, "?")
	switch {
	case path == "" || path[0] != '/':
		return "", errPathRelative
	case len(path) > MaxPath:
		return "", errPathLong
	}
	if strings.IndexByte(path, '%') >= 0 {
		decoded, err := decodePath(path)
		if err != nil {
			return "", err
		}
		path = decoded
	}
	if !utf8.ValidString(path) {
		return "", errPathEncoding
	}
	return path, checkSegments(path)
}

// decodePath decodes percent-encoding (RFC 3986, section 2.1). An encoded
// slash, dot or percent sign is refused: encoding them has no purpose but to
// be read differently by somebody.
func decodePath(path string) (string, error) {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			out = append(out, path[i])
			continue
		}
		if i+2 >= len(path) {
			return "", errPathEncoding
		}
		high, low := unhex(path[i+1]), unhex(path[i+2])
		if high > 15 || low > 15 {
			return "", errPathEncoding
		}
		c := high<<4 | low
		if c == '/' || c == '.' || c == '%' {
			return "", errPathAmbiguous
		}
		out = append(out, c)
		i += 2
	}
	return string(out), nil
}

// checkSegments refuses what decodePath leaves: empty and dot segments, too
// many of them, and bytes that some program treats as a separator.
func checkSegments(path string) error {
	segments, start := 0, 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if c := path[i]; c < ' ' || c == 0x7f || c == '\\' || c == ';' || c == '#' || c == '?' {
				return errPathAmbiguous
			}
			continue
		}
		segment := path[start:i]
		if segment == "." || segment == ".." || segment == "" && i < len(path) {
			return errPathAmbiguous
		}
		start = i + 1
		if segments++; segments > MaxSegments {
			return errPathLong
		}
	}
	return nil
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	default:
		return 255
	}
}

// cleanHost returns the host that routes are looked up by: lower case, without
// port and without the trailing dot of a fully qualified name. Anything that
// is not a plain name or address gives the empty string, which no route has.
func cleanHost(host string) string {
	if len(host) > 260 {
		return ""
	}
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || !isPort(host[end+1:]) {
			return ""
		}
		// Brackets are for an address of IPv6 (RFC 3986, section 3.2.2): around a name,
		// they make another host of it to most programs.
		host = host[1:end]
		if address, err := netip.ParseAddr(host); err != nil || !address.Is6() || address.Zone() != "" {
			return ""
		}
	} else if colon := strings.IndexByte(host, ':'); colon >= 0 {
		if !isPort(host[colon:]) {
			return ""
		}
		host = host[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	upper := false
	for i := range len(host) {
		c := host[i]
		upper = upper || c >= 'A' && c <= 'Z'
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != ':' {
			return ""
		}
	}
	if upper {
		return strings.ToLower(host)
	}
	return host
}

// SameHost reports whether two hosts, each with a port or without, are the same name
// or address, whatever the port.
func SameHost(a, b string) bool {
	name := cleanHost(a)
	return name != "" && name == cleanHost(b)
}

// isPort reports whether s is empty, or a colon and one to five digits.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) < 2 || len(s) > 6 {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
