package enforce

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// TooDeep reports whether the nesting of a JSON text exceeds limit. It looks at
// brackets outside strings and leaves all else to the parser.
func TooDeep(body []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

var errDigest = errors.New("not one JSON value whose names are unique and whose texts are UTF-8")

// Digest returns the hexadecimal SHA-256 of the canonical form of a JSON value:
// that of RFC 8785, except that numbers stay as they are written. As the RFC has
// them two numbers beyond 2^53 can be one, and whoever approved the first would
// have approved the second. The error quotes nothing of the value.
func Digest(text []byte) (string, error) {
	value := jsontext.Value(append([]byte(nil), text...)) // it is changed in place
	if value.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)) != nil {
		return "", errDigest
	}
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:]), nil
}
