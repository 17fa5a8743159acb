// Package leak finds secrets in bytes, fast, and says offline what each one is.
//
//	bytes -> automaton -> candidate -> verifier -> Match -> Record
//	             ^                        |
//	             +---- decoded bytes -----+
//
// A [Rule] is a few keywords and the name of a verifier, in the YAML files of
// the folder rules. One automaton looks for all keywords of all rules in a
// single pass; it is the only thing that ever sees the whole text. Where a
// keyword stands, the verifier of its rule reads a small window around it by
// hand: length, alphabet, checksum, the second half of a pair, the structure of
// a key. There is no regular expression, so no input makes a scan slow.
//
// Keywords are also looked for as they appear in base64, hexadecimal and
// percent-encoding, up to two layers deep. Only around such a hit is text
// decoded and scanned again. UTF-16 files that say so in their first two bytes
// are read as such.
//
// How sure a match is has three steps. High: a checksum or a parsed structure
// proves that the bytes are what they seem. Medium: the shape is right and the
// bytes look random, but nothing can prove it offline. Low: something is
// missing or it is an example from a manual; [Match.Note] says which. Examples
// are labelled and not hidden, because people do paste real keys into test
// folders.
//
// A [Match] holds the secret in an unexported field. No way of printing,
// logging or marshalling it shows the value: what leaves the process is the
// [Record]. Call [Match.Wipe] when done. Nothing is ever sent to a provider:
// trying a key is an access by a stranger.
//
// A [Scanner] is built once and is safe for any number of goroutines. Files
// larger than memory go through [Scanner.ScanReader]. [Scanner.Redact] makes a
// text safe to log or to index and costs no allocation when there is nothing to
// hide. Directories are in the leaf folder dir, posts and chat in text.
package leak

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/nhi"
)

// The steps of Match.Confidence.
const (
	High   = "high"   // proven offline: checksum or structure
	Medium = "medium" // right shape, random bytes, no proof
	Low    = "low"    // incomplete, or an example from a manual
)

// A Match is one secret found. It is not safe for concurrent use.
type Match struct {
	Rule     string // id of the rule
	Provider string // muster, aws, github, any
	Kind     string // what it is, such as aws-access-key
	Severity nhi.Severity

	// PublicID is the part that may be shown and that leads to the inventory:
	// a key id, or sha256:<hex> over the public key (SPKI) of a private one.
	// Empty if the secret has none.
	PublicID string

	// Account is the provider's account, if the public id tells it.
	Account string

	// Class is what a fingerprint of the secret is computed under.
	Class fingerprint.Class

	// Start and End are byte offsets in the scanned input. For a pair they
	// span both halves, for an encoded secret the part of the encoded run that
	// holds it.
	Start, End int

	// Lines and columns count from 1, columns in bytes of UTF-8. The end is
	// the place just behind the last byte.
	Line, Column, EndLine, EndColumn int

	Confidence string // High, Medium or Low
	Note       string // why it is Low, or what else a person should know

	secret []byte
	inner  span // the secret itself within the input: all that redaction must hide
}

// A span is a range of byte offsets, start included, end not.
type span struct{ start, end int }

// Secret returns the secret itself, in one normal form however it was written:
// for AWS the secret access key alone, for a private key clean PEM. It is nil
// if only a public id was found. The bytes belong to m and die with Wipe. They
// may be compared and fingerprinted inside this process and must never leave it.
func (m *Match) Secret() []byte { return m.secret }

// Wipe overwrites the secret. The rest of m stays valid.
func (m *Match) Wipe() {
	clear(m.secret)
	m.secret = nil
}

// String names the match without the secret: rule, public id, place.
func (m Match) String() string {
	return fmt.Sprintf("%s %s at %d:%d (%s)", m.Rule, m.PublicID, m.Line, m.Column, m.Confidence)
}

// GoString is String: %#v would walk into the secret.
func (m Match) GoString() string { return m.String() }

// Format prints String whatever the verb, so that no verb walks the fields.
func (m Match) Format(f fmt.State, _ rune) { fmt.Fprint(f, m.String()) }

// LogValue shows what Record shows.
func (m Match) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("rule", m.Rule),
		slog.String("public_id", m.PublicID),
		slog.Int("line", m.Line),
		slog.Int("column", m.Column),
		slog.String("confidence", m.Confidence),
	)
}

// MarshalJSON writes a Record without file and fingerprint.
func (m Match) MarshalJSON() ([]byte, error) { return json.Marshal(m.record()) }

// A Record is what `muster scan` prints for a match, one JSON object a line.
// The names are fixed. It holds nothing secret: Fingerprint is a slow hash that
// tells findings apart and still must not be published for weak passwords.
type Record struct {
	Rule        string `json:"rule"`
	Provider    string `json:"provider"`
	Kind        string `json:"kind"`
	PublicID    string `json:"public_id"`
	Fingerprint string `json:"fingerprint"` // l1:..., empty if only a public id was found
	File        string `json:"file"`
	Line        int    `json:"line"`
	Column      int    `json:"column"`
	EndLine     int    `json:"end_line"`
	EndColumn   int    `json:"end_column"`
	Commit      string `json:"commit"` // empty outside git history
	Confidence  string `json:"confidence"`
}

// Record returns what may be shown of m, with its local fingerprint. That
// takes milliseconds on purpose (scrypt); for many matches use [Fingerprints].
// Call it before Wipe.
func (m *Match) Record(file string) Record {
	var f Fingerprints
	return f.Record(m, file)
}

// Fingerprints makes the records of one scan. It computes the local fingerprint
// of each distinct secret once, for the same key is often in a hundred files.
// The zero value is ready. It keeps only hashes, in memory, and is not safe for
// concurrent use.
type Fingerprints struct {
	known map[[sha256.Size]byte]string
}

// Record is Match.Record.
func (f *Fingerprints) Record(m *Match, file string) Record {
	r := m.record()
	r.File = file
	value := m.canonical()
	if value == nil {
		return r
	}
	sum := sha256.Sum256(value)
	if r.Fingerprint = f.known[sum]; r.Fingerprint == "" {
		r.Fingerprint = fingerprint.Local(value)
		if f.known == nil {
			f.known = map[[sha256.Size]byte]string{}
		}
		f.known[sum] = r.Fingerprint
	}
	return r
}

func (m *Match) record() Record {
	return Record{
		Rule: m.Rule, Provider: m.Provider, Kind: m.Kind, PublicID: m.PublicID,
		Line: m.Line, Column: m.Column, EndLine: m.EndLine, EndColumn: m.EndColumn,
		Confidence: m.Confidence,
	}
}

// canonical returns the bytes that fingerprints are computed over. An
// encrypted private key has no canonical form, and stands for itself.
func (m *Match) canonical() []byte {
	if len(m.secret) == 0 {
		return nil
	}
	if value, err := fingerprint.Canonical(m.Class, m.secret); err == nil {
		return value
	}
	return m.secret
}
