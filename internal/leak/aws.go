package leak

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/muster-id/muster/internal/fingerprint"
)

// An AWS access key is a pair that stands in two places: a public id and a
// secret of 40 base64 characters without any mark of its own. The id is easy to
// find; the secret is whatever random string of that length stands nearest.

const (
	awsIDLength     = 20
	awsSecretLength = 40

	// How far the secret may stand behind its id, or before it.
	pairAfter  = 1 << 10
	pairBefore = 512

	// How far the value may stand behind its name (aws_secret_access_key).
	nameReach = 80
)

// verifyAWSPair finds an access key id and the secret that belongs to it.
func verifyAWSPair(text []byte, at int) (finding, bool) {
	if !isAWSID(text, at) {
		return finding{}, false
	}
	secret, ok := partner(text, at, neighbours)
	if !ok {
		return finding{}, false
	}
	f := finding{
		whole:      span{min(at, secret.start), max(at+awsIDLength, secret.end)},
		inner:      secret.span,
		publicID:   string(text[at : at+awsIDLength]),
		class:      fingerprint.AWS,
		confidence: Medium,
		secret:     secret.value,
	}
	f.account = awsAccount(f.publicID)
	if secret.named(text) || f.whole.end-f.whole.start < 200 {
		f.confidence = High
	}
	if isExample([]byte(f.publicID)) || isExample(f.secret) {
		f.confidence, f.note = Low, noteExample
	}
	return f, true
}

// verifyAWSID finds an access key id alone. It opens nothing, but it tells the
// account, and somebody may have the other half.
func verifyAWSID(text []byte, at int) (finding, bool) {
	if !isAWSID(text, at) {
		return finding{}, false
	}
	id := text[at : at+awsIDLength]
	if !plausibleID(id) || pairedNearby(text, at) {
		return finding{}, false
	}
	f := finding{
		whole: span{at, at + awsIDLength}, publicID: string(id), class: fingerprint.AWS,
		confidence: Low, note: "an id without its secret",
	}
	f.account = awsAccount(f.publicID)
	if isExample(id) {
		f.note = noteExample
	}
	return f, true
}

// verifyAWSSecret finds a secret by its name, if no id nearby claims it.
func verifyAWSSecret(text []byte, at int) (finding, bool) {
	// Step over the rest of the name the keyword is part of.
	from := at
	for from < len(text) && (isAlnum(text[from]) || text[from] == '_' || text[from] == '-') {
		from++
	}
	secret, ok := firstSecret(text, from, min(len(text), from+nameReach+awsSecretLength), true)
	if !ok || secret.start-from > nameReach {
		return finding{}, false
	}
	lo, hi := max(0, secret.start-pairAfter), min(len(text), secret.end+pairBefore)
	for i := nextID(text, lo, hi); i >= 0; i = nextID(text, i+1, hi) {
		if p, ok := partner(text, i, neighbours); ok && p.span == secret.span {
			return finding{}, false
		}
	}
	f := finding{
		whole: secret.span, inner: secret.span,
		class: fingerprint.AWS, confidence: Medium, note: "a secret without its id", secret: secret.value,
	}
	if isExample(f.secret) {
		f.confidence, f.note = Low, noteExample
	}
	return f, true
}

// isAWSID reports whether an access key id stands alone at text[at]. The digits
// are base32, except in ids from before 2014, whose fifth character is I or J.
func isAWSID(text []byte, at int) bool {
	end := at + awsIDLength
	if end > len(text) || !startsWord(text, at) || end < len(text) && (isAlnum(text[end]) || text[end] == '_') {
		return false
	}
	id := text[at:end]
	if string(id[:4]) != "AKIA" && string(id[:4]) != "ASIA" {
		return false
	}
	old := id[4] == 'I' || id[4] == 'J'
	for _, c := range id[4:] {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') && !(old && '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}

// plausibleID refuses the fillers of templates: AKIAXXXXXXXXXXXXXXXX.
func plausibleID(id []byte) bool {
	var seen [256]bool
	distinct := 0
	for _, c := range id[4:] {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
	}
	return distinct > 5
}

func isExample(b []byte) bool { return bytes.Contains(b, []byte("EXAMPLE")) }

// awsAccount derives the account number that an access key id carries: 40 bits
// of its base32 digits from the second bit on. Old ids carry none.
func awsAccount(id string) string {
	if id[4] == 'I' || id[4] == 'J' {
		return ""
	}
	raw, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return ""
	}
	var wide [8]byte
	copy(wide[2:], raw[:6])
	return fmt.Sprintf("%012d", binary.BigEndian.Uint64(wide[:])&0x7fffffffff80>>7)
}

// nextID returns the offset of the next access key id in text[from:to], or -1.
func nextID(text []byte, from, to int) int {
	for i := from; i < to; i++ {
		k := bytes.Index(text[i:to], []byte("IA"))
		if k < 0 {
			return -1
		}
		i += k
		if i-2 >= from && isAWSID(text, i-2) {
			return i - 2
		}
	}
	return -1
}

// previousID returns the offset of the last access key id in text[from:to], or
// -1.
func previousID(text []byte, from, to int) int {
	for to > from {
		k := bytes.LastIndex(text[from:to], []byte("IA"))
		if k < 2 {
			return -1
		}
		if isAWSID(text, from+k-2) {
			return from + k - 2
		}
		to = from + k
	}
	return -1
}

// pairedNearby reports whether the same id stands shortly before or behind with
// a secret, so that this mention of it tells nothing new.
func pairedNearby(text []byte, at int) bool {
	id := text[at : at+awsIDLength]
	lo, hi := max(0, at-pairAfter), min(len(text), at+pairAfter)
	before := bytes.LastIndex(text[lo:at], id)
	after := bytes.Index(text[at+1:hi], id)
	for _, i := range []int{lo + before, at + 1 + after} {
		if i < lo || i == at || !isAWSID(text, i) {
			continue
		}
		if _, ok := partner(text, i, neighbours); ok {
			return true
		}
	}
	return false
}

// An awsSecret is a string that looks like a secret access key.
type awsSecret struct {
	span
	value []byte // 40 characters, escapes undone
}

// named reports whether the word secret stands shortly before.
func (s awsSecret) named(text []byte) bool {
	before := bytes.ToLower(text[max(0, s.start-64):s.start])
	return bytes.Contains(before, []byte("secret"))
}

// neighbours is how many ids before one are asked whether a secret is theirs.
const neighbours = 3

// partner finds the secret that belongs to the id at text[at]: the nearest one
// behind it or before it, up to the next id in each direction. Ids usually come
// first, and pairs seldom reach over a blank line or a closing bracket.
func partner(text []byte, at, ask int) (awsSecret, bool) {
	hi := min(len(text), at+awsIDLength+pairAfter)
	if next := nextID(text, at+awsIDLength, hi); next >= 0 {
		hi = next
	}
	lo := max(0, at-pairBefore)
	previous := previousID(text, lo, at)
	if previous >= 0 {
		lo = previous + awsIDLength
	}
	after, okAfter := firstSecret(text, at+awsIDLength, hi, false)
	before, okBefore := lastSecret(text, lo, at)
	if !okAfter && okBefore && previous >= 0 && ask > 0 {
		// What stands between two ids is usually the first one's.
		if other, ok := partner(text, previous, ask-1); ok && other.span == before.span {
			return awsSecret{}, false
		}
	}
	if okAfter && okBefore {
		costAfter := distance(text[at+awsIDLength : after.start])
		okAfter = costAfter <= distance(text[before.end:at])+150
	}
	if okAfter {
		return after, true
	}
	return before, okBefore
}

// distance says how unlikely two things belong together that have this between
// them.
func distance(between []byte) int {
	d := len(between)
	if bytes.Contains(between, []byte("\n\n")) || bytes.ContainsAny(between, "}[") {
		d += 1000
	}
	return d
}

// firstSecret returns the first candidate in text[from:to]. Where the name says
// that it is a secret, its base64 form is accepted, too.
func firstSecret(text []byte, from, to int, named bool) (awsSecret, bool) {
	for i := from; i < to; {
		end := awsRun(text, i, to)
		if end == i {
			i++
			continue
		}
		if s, ok := secretIn(text, i, end, named); ok {
			return s, true
		}
		i = end
	}
	return awsSecret{}, false
}

// lastSecret returns the last candidate in text[from:to].
func lastSecret(text []byte, from, to int) (awsSecret, bool) {
	var last awsSecret
	found := false
	for from < to {
		s, ok := firstSecret(text, from, to, false)
		if !ok {
			break
		}
		clear(last.value)
		last, found, from = s, true, s.end
	}
	return last, found
}

// awsRun returns the end of the run of secret characters that begins at i.
func awsRun(text []byte, i, to int) int {
	for i < to {
		_, n := awsUnit(text, i)
		if n == 0 {
			break
		}
		i += n
	}
	return min(i, to)
}

// awsUnit reads one character of a secret, which query strings and JSON
// encoders may have escaped.
func awsUnit(text []byte, i int) (c byte, n int) {
	c = text[i]
	switch {
	case isAlnum(c) || c == '+' || c == '/':
		return c, 1
	case c == '%':
		return percentUnit(text, i)
	case c == '\\' && i+1 < len(text) && text[i+1] == '/':
		return '/', 2
	case c == '\\' && i+5 < len(text) && string(text[i+1:i+5]) == "u002":
		switch fold(text[i+5]) {
		case 'b':
			return '+', 6
		case 'f':
			return '/', 6
		}
	}
	return 0, 0
}

// secretIn decides whether the run text[start:end] is a secret access key.
func secretIn(text []byte, start, end int, named bool) (awsSecret, bool) {
	if !standsAlone(text, start, end) {
		return awsSecret{}, false
	}
	padding := 0
	for end+padding < len(text) && text[end+padding] == '=' {
		padding++
	}
	// The letters of an escape in front look like part of the run.
	for _, n := range []int{1, 2, 5} {
		if start+n < end && escapeBefore(text, start+n) == n+1 {
			start += n
			break
		}
	}
	value := make([]byte, 0, maxRun)
	for i := start; i < end && len(value) < maxRun; {
		c, n := awsUnit(text, i)
		value = append(value, c)
		i += n
		// In a URL, the next part of the path follows.
		if len(value) == awsSecretLength && i < end && text[i] == '/' && (awsSecret{span: span{start: start}}).named(text) {
			end, padding = i, 0
		}
	}
	if named && len(value) == 54 && padding == 2 {
		value, _ = base64.RawStdEncoding.AppendDecode(nil, value)
		end, padding = end+2, 0
	}
	if len(value) != awsSecretLength || padding != 0 || !randomSecret(value) {
		return awsSecret{}, false
	}
	return awsSecret{span{start, end}, value}, true
}

// maxRun is more than any run that is a secret: 40, or 54 in base64.
const maxRun = 56

// standsAlone reports whether the run text[start:end] is all of a string: not
// cut off by the window, and not part of a longer token in another alphabet.
func standsAlone(text []byte, start, end int) bool {
	if end < len(text) {
		if _, n := awsUnit(text, end); n > 0 || text[end] == '_' || text[end] == '-' {
			return false
		}
	}
	if start > 0 {
		if _, n := awsUnit(text, start-1); n == 1 || text[start-1] == '_' || text[start-1] == '-' {
			return false
		}
	}
	return true
}

// randomSecret reports whether value has the alphabet and the look of a drawn
// secret. Random ones hold a '/' in 64 characters; paths hold more.
func randomSecret(value []byte) bool {
	for _, c := range value {
		if !isAlnum(c) && c != '+' && c != '/' {
			return false
		}
	}
	return bytes.Count(value, []byte("/")) <= 5 && looksRandom(value, 18, 13)
}
