package leak

import (
	"bytes"
	"hash/crc32"
	"strings"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/key"
)

// A verifier looks at text around a keyword that stands at offset at, and says
// whether a secret of its format is there. It reads a bounded window, accepts
// any bytes, and copies what it keeps.
type verifier func(text []byte, at int) (finding, bool)

// A finding is what a verifier adds to its rule.
type finding struct {
	whole      span // the match
	inner      span // the secret within it; empty if only an id was found
	publicID   string
	account    string
	class      fingerprint.Class
	confidence string
	note       string
	secret     []byte
}

// verifiers are the functions that rules name.
var verifiers = map[string]verifier{
	"muster":             verifyMuster,
	"github":             verifyGitHub,
	"github-app":         verifyGitHubApp,
	"github-fine":        verifyGitHubFine,
	"aws-pair":           verifyAWSPair,
	"aws-id":             verifyAWSID,
	"aws-secret":         verifyAWSSecret,
	"private-key":        verifyPrivateKey,
	"locked-private-key": verifyLockedPrivateKey,
}

const noteExample = "an example from a manual"

// whole returns the finding of a secret that is all of text[start:end].
func whole(text []byte, start, end int, class fingerprint.Class, confidence string) finding {
	return finding{
		whole: span{start, end}, inner: span{start, end},
		class: class, confidence: confidence, secret: bytes.Clone(text[start:end]),
	}
}

// verifyMuster knows the keys that Muster mints. The checksum proves the shape,
// so it does not matter what stands next to it (often the n of an escaped
// line break).
func verifyMuster(text []byte, at int) (finding, bool) {
	if len(text)-at < key.Length {
		return finding{}, false
	}
	parsed, err := key.Parse(string(text[at : at+key.Length]))
	if err != nil {
		return finding{}, false
	}
	f := whole(text, at, at+key.Length, fingerprint.Muster, High)
	f.publicID = strings.Clone(parsed.ID)
	return f, true
}

// The classic GitHub token: prefix, 30 random characters, and the CRC-32 of
// those 30 in six base62 digits.
const (
	gitHubPrefix = len("ghp_")
	gitHubRandom = 30
	gitHubLength = gitHubPrefix + gitHubRandom + crcDigits
	crcDigits    = 6
)

func verifyGitHub(text []byte, at int) (finding, bool) {
	if len(text)-at < gitHubLength {
		return finding{}, false
	}
	body := text[at+gitHubPrefix : at+gitHubLength]
	for _, c := range body {
		if !isAlnum(c) {
			return finding{}, false
		}
	}
	sum := base62CRC(body[:gitHubRandom])
	if !bytes.Equal(sum[:], body[gitHubRandom:]) {
		return finding{}, false
	}
	return whole(text, at, at+gitHubLength, fingerprint.GitHub, High), true
}

// base62CRC writes the CRC-32 (IEEE) of b in six base62 digits.
func base62CRC(b []byte) (out [crcDigits]byte) {
	v := crc32.ChecksumIEEE(b)
	for i := crcDigits - 1; i >= 0; i-- {
		out[i] = key.Alphabet[v%62]
		v /= 62
	}
	return out
}

// verifyGitHubApp also knows the stateless form that GitHub announced in April
// 2026: ghs_, then maybe an application id and an underscore, then a JWT.
func verifyGitHubApp(text []byte, at int) (finding, bool) {
	if f, ok := verifyGitHub(text, at); ok {
		return f, true
	}
	const maxToken = 4 << 10
	token := at + gitHubPrefix
	if header := token; header < len(text) {
		for header < len(text) && header < token+20 && '0' <= text[header] && text[header] <= '9' {
			header++
		}
		if header > token && header < len(text) && text[header] == '_' {
			token = header + 1
		}
	}
	end, dots, lastDot := token, 0, 0
	for ; end < len(text) && end < at+maxToken; end++ {
		c := text[end]
		if c == '.' && dots < 2 {
			dots, lastDot = dots+1, end
		} else if !isAlnum(c) && c != '-' && c != '_' {
			break
		}
	}
	// eyJ is base64 for an object's first brace and quote.
	if dots != 2 || end-lastDot < 40 || !bytes.HasPrefix(text[token:end], []byte("eyJ")) {
		return finding{}, false
	}
	return whole(text, at, end, fingerprint.GitHub, Medium), true
}

// verifyGitHubFine knows github_pat_, 22 characters, an underscore and 59 more.
// It has a checksum, too, but GitHub does not say how it is made.
func verifyGitHubFine(text []byte, at int) (finding, bool) {
	const prefix, first, second = len("github_pat_"), 22, 59
	end := at + prefix + first + 1 + second
	if end > len(text) || end < len(text) && (isAlnum(text[end]) || text[end] == '_') {
		return finding{}, false
	}
	body := text[at+prefix : end]
	for i, c := range body {
		if i == first && c != '_' || i != first && !isAlnum(c) {
			return finding{}, false
		}
	}
	if !looksRandom(body, 24, 28) {
		return finding{}, false
	}
	return whole(text, at, end, fingerprint.GitHub, Medium), true
}

// looksRandom tells drawn characters from words, paths and fillers: it wants
// upper case, lower case and a digit, at least the given number of distinct
// characters, and that many changes between kinds of character. Of 40 random
// base64 characters 30 are distinct and 25 changes are usual; identifiers have
// half of that. One in 900 has no digit, which is believed of what is plainly
// more random than any name.
func looksRandom(b []byte, distinct, changes int) bool {
	var seen [256]bool
	var kinds [4]int
	last := -1
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			distinct--
		}
		k := charKind(c)
		kinds[k]++
		if k != last && last >= 0 {
			changes--
		}
		last = k
	}
	drawn := kinds[2] > 0 || distinct <= -4 && changes <= -3
	return distinct <= 0 && changes <= 0 && kinds[0] > 0 && kinds[1] > 0 && drawn
}

func charKind(c byte) int {
	switch {
	case 'a' <= c && c <= 'z':
		return 0
	case 'A' <= c && c <= 'Z':
		return 1
	case '0' <= c && c <= '9':
		return 2
	}
	return 3
}

// startsWord reports whether text[at] does not continue a word: before it is no
// letter or digit, or one that belongs to an escape (\n, \u0022, %3D).
func startsWord(text []byte, at int) bool {
	if at == 0 || !isAlnum(text[at-1]) {
		return true
	}
	return escapeBefore(text, at) > 0
}

// escapeBefore returns the length of the escape sequence that ends at text[at].
func escapeBefore(text []byte, at int) int {
	switch {
	case at >= 2 && text[at-2] == '\\' && bytes.IndexByte([]byte("nrtbfv"), text[at-1]) >= 0:
		return 2
	case at >= 3 && text[at-3] == '%' && isHex(text[at-2]) && isHex(text[at-1]):
		return 3
	case at >= 6 && text[at-6] == '\\' && text[at-5] == 'u' && allHex(text[at-4:at]):
		return 6
	}
	return 0
}

func allHex(b []byte) bool {
	for _, c := range b {
		if !isHex(c) {
			return false
		}
	}
	return true
}
