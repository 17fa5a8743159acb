package leak

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strconv"

	"github.com/muster-id/muster/internal/fingerprint"
)

// Private keys are PEM (RFC 7468) only in files of their own. Elsewhere they
// are one line of JSON with \n in it, a Go string glued with plus signs, a
// block with > or // or + in front of every line, a query string. All of that
// is undone here before the key is parsed: what proves a private key is that
// its public half can be computed.

const (
	// maxArmor is the largest block read, between the two lines of dashes. An
	// RSA key of 8192 bits takes 6.4 KiB.
	maxArmor = 16 << 10

	// minTruncated is how much of a key must be there for it to matter without
	// its end.
	minTruncated = 200
)

var (
	dashes   = []byte("-----")
	armorEnd = []byte("-----END")
)

// An armor is a private key block as it was found.
type armor struct {
	span
	label     string
	body      []byte // base64 characters alone
	locked    bool   // encrypted in the old way, by header lines (RFC 1421)
	truncated bool   // the end is missing
}

// verifyPrivateKey finds keys that anybody can use who has them.
func verifyPrivateKey(text []byte, at int) (finding, bool) {
	a, ok := readArmor(text, at)
	if !ok || a.locked || a.label == "ENCRYPTED PRIVATE KEY" {
		return finding{}, false
	}
	f, err := a.finding()
	if errors.Is(err, fingerprint.ErrEncrypted) {
		return finding{}, false
	}
	return f, err == nil
}

// verifyLockedPrivateKey finds keys that a passphrase protects.
func verifyLockedPrivateKey(text []byte, at int) (finding, bool) {
	a, ok := readArmor(text, at)
	if !ok || len(a.body) < minTruncated {
		return finding{}, false
	}
	a.locked = a.locked || a.label == "ENCRYPTED PRIVATE KEY"
	if !a.locked {
		if _, err := a.finding(); !errors.Is(err, fingerprint.ErrEncrypted) {
			return finding{}, false
		}
	}
	der, err := a.decode()
	if err != nil {
		return finding{}, false
	}
	clear(der)
	return finding{
		whole: a.span, inner: a.span, class: fingerprint.PEM, confidence: Medium,
		note: "protected by a passphrase", secret: a.block(),
	}, true
}

var errNoKey = errors.New("not a private key")

// finding proves the key by computing its public half. What is damaged or of a
// kind we cannot parse is a finding of low confidence, if it is long enough to
// be more than a drawing of a key.
func (a *armor) finding() (finding, error) {
	der, err := a.decode()
	if err != nil || len(der) < 40 {
		return finding{}, errNoKey
	}
	defer clear(der)
	f := finding{whole: a.span, inner: a.span, class: fingerprint.PEM, confidence: High, secret: a.block()}
	spki, err := fingerprint.Canonical(fingerprint.PEM, f.secret)
	switch {
	case errors.Is(err, fingerprint.ErrEncrypted):
		clear(f.secret)
		return finding{}, err
	case err != nil && (len(a.body) < minTruncated || !structured(der)):
		clear(f.secret)
		return finding{}, errNoKey
	case err != nil:
		f.confidence, f.note = Low, "damaged, or of an unknown type"
		if a.truncated {
			f.note = "the end of the key is missing"
		}
		return f, nil
	}
	sum := sha256.Sum256(spki)
	f.publicID = "sha256:" + hex.EncodeToString(sum[:])
	return f, nil
}

// structured reports whether der begins as a key does: an ASN.1 sequence with
// a long length, or the magic of OpenSSH.
func structured(der []byte) bool {
	return der[0] == 0x30 && der[1] >= 0x80 || bytes.HasPrefix(der, []byte("openssh-key-v1\x00"))
}

func (a *armor) decode() ([]byte, error) {
	body := a.body
	if len(body)%4 == 1 {
		body = body[:len(body)-1]
	}
	return base64.RawStdEncoding.AppendDecode(nil, body)
}

// block returns the key as clean PEM.
func (a *armor) block() []byte {
	der, err := a.decode()
	if err != nil {
		return bytes.Clone(a.body)
	}
	defer clear(der)
	b := &pem.Block{Type: a.label, Bytes: der}
	if a.locked && a.label != "ENCRYPTED PRIVATE KEY" {
		b.Headers = map[string]string{"Proc-Type": "4,ENCRYPTED"}
	}
	return pem.EncodeToMemory(b)
}

// readArmor reads the block whose five dashes and BEGIN stand at text[at].
func readArmor(text []byte, at int) (*armor, bool) {
	label, start := readLabel(text, at+len("-----BEGIN"))
	switch label {
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
	default:
		return nil, false
	}
	a := &armor{label: label}
	window := text[start:min(len(text), start+maxArmor)]
	stop := bytes.Index(window, dashes)
	if stop >= 0 && bytes.HasPrefix(window[stop:], armorEnd) {
		end := start + stop + len(armorEnd)
		// END has its label and dashes, or the text was cut there.
		if closing, after := readLabel(text, end); closing == label {
			end = after
		}
		a.span = span{at, end}
		window = window[:stop]
	} else {
		a.truncated = true
		if stop >= 0 {
			window = window[:stop]
		}
		window = window[:bodyLength(window)]
		a.span = span{at, start + len(window)}
	}
	patch := at > 0 && text[at-1] == '+' && (at == 1 || text[at-2] == '\n')
	a.read(window, patch)
	if a.truncated && len(a.body) < minTruncated {
		return nil, false
	}
	return a, true
}

// readLabel reads " RSA PRIVATE KEY-----" behind BEGIN or END, the spaces
// possibly as in a query string. It returns the offset behind the dashes.
func readLabel(text []byte, from int) (label string, after int) {
	window := text[from:min(len(text), from+64)]
	stop := bytes.Index(window, dashes)
	if stop < 0 {
		return "", from
	}
	name := bytes.ReplaceAll(window[:stop], []byte("%20"), []byte(" "))
	name = bytes.ReplaceAll(name, []byte("+"), []byte(" "))
	return string(bytes.TrimSpace(name)), from + stop + len(dashes)
}

// bodyLength measures how much of a block without an end still looks like one:
// up to the first line that holds a long run of nothing a key consists of.
func bodyLength(window []byte) int {
	last, foreign := 0, 0
	for i, c := range window {
		if isAlnum(c) || c == '+' || c == '/' || c == '=' {
			if foreign <= 16 {
				last = i + 1
			}
			foreign = 0
			continue
		}
		if c == ' ' && i > 0 && isAlnum(window[i-1]) { // words of a sentence
			foreign += 8
		}
		if foreign++; foreign > 16 {
			break
		}
	}
	return last
}

// read fills body with the base64 characters of raw, escapes undone, header
// lines and decorations left out.
func (a *armor) read(raw []byte, patch bool) {
	clean := unescape(raw)
	defer clear(clean)
	for line := range bytes.SplitSeq(clean, newline) {
		if bytes.Contains(line, []byte("Proc-Type")) || bytes.Contains(line, []byte("DEK-Info")) {
			a.locked = true
		}
		if bytes.IndexByte(line, ':') >= 0 {
			continue
		}
		line = bytes.TrimSpace(line)
		if patch {
			line = bytes.TrimPrefix(line, []byte("+"))
		}
		for word := range bytes.FieldsSeq(line) {
			if decoration(word) {
				continue
			}
			for _, c := range word {
				if isAlnum(c) || c == '+' || c == '/' {
					a.body = append(a.body, c)
				}
			}
		}
	}
}

// decoration reports whether a word is a plus sign between two strings or the
// slashes of a comment, both of which are base64 characters.
func decoration(word []byte) bool {
	return len(word) <= 3 && len(bytes.Trim(word, "+/*#>|")) == 0
}

// unescape undoes what strings, JSON, XML and query strings do to line breaks
// and base64 characters. Quotes and commas become spaces.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c, n := raw[i], 1
		switch c {
		case '\\':
			c, n = backslash(raw[i:])
		case '%':
			if i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]) {
				c, n = hexValue(raw[i+1])<<4|hexValue(raw[i+2]), 3
			}
		case '&':
			c, n = entity(raw[i:])
		case '"', '\'', '`', ',', ';':
			c = ' '
		}
		out = append(out, c)
		i += n
	}
	return out
}

// backslash reads an escape, which may itself have been escaped again.
func backslash(raw []byte) (c byte, n int) {
	for n < len(raw) && raw[n] == '\\' {
		n++
	}
	if n == len(raw) {
		return ' ', n
	}
	switch raw[n] {
	case 'n', 'r':
		return '\n', n + 1
	case 't':
		return ' ', n + 1
	case '/':
		return '/', n + 1
	case 'u':
		if n+5 <= len(raw) && allHex(raw[n+1:n+5]) {
			return hexValue(raw[n+3])<<4 | hexValue(raw[n+4]), n + 5
		}
	}
	return ' ', n
}

// entity reads a numeric character reference such as &#10; or &#xA;.
func entity(raw []byte) (c byte, n int) {
	end := bytes.IndexByte(raw[:min(len(raw), 8)], ';')
	if end < 3 || raw[1] != '#' {
		return ' ', 1
	}
	digits, base := string(raw[2:end]), 10
	if digits[0] == 'x' || digits[0] == 'X' {
		digits, base = digits[1:], 16
	}
	v, err := strconv.ParseUint(digits, base, 8)
	if err != nil {
		return ' ', end + 1
	}
	return byte(v), end + 1
}
