package signals

import (
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The formats of subject identifiers that Muster understands: those of RFC 9493,
// section 3.2, that name a subject by a text, and the complex subject of SSF
// 1.0, section 3.3.
const (
	FormatIssSub  = "iss_sub"
	FormatOpaque  = "opaque"
	FormatEmail   = "email"
	FormatURI     = "uri"
	FormatComplex = "complex"
)

const (
	maxSubject = 4 << 10 // of a subject in bytes
	maxText    = 512     // of one of its texts in bytes
	maxMembers = 8       // of a complex subject
)

// A Subject is whom an event is about. What of it is filled in depends on the
// format; of a format that is not understood only the format is known.
type Subject struct {
	Format  string
	Issuer  string             // iss_sub: iss
	ID      string             // iss_sub: sub; opaque: id; email: email; uri: uri
	Members map[string]Subject // complex: user, device, session, application, tenant, org_unit, group
}

// fields are the members of each simple format that must be there.
var fields = map[string][]string{
	FormatIssSub: {"iss", "sub"}, FormatOpaque: {"id"}, FormatEmail: {"email"}, FormatURI: {"uri"},
}

// ParseSubject reads a subject identifier. The error says what is wrong with it
// and quotes no value. Members of a format that are not defined are ignored
// (RFC 9493, section 3); a complex subject holds no complex one (SSF 1.0,
// section 3.3).
func ParseSubject(raw []byte) (Subject, error) { return parseSubject(raw, true) }

func parseSubject(raw []byte, complexToo bool) (Subject, error) {
	var none Subject
	if len(raw) > maxSubject {
		return none, fmt.Errorf("subject: over %d bytes", maxSubject)
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return none, fmt.Errorf("subject: not a JSON object whose names are unique")
	}
	format, err := text(members, "format")
	if err != nil {
		return none, fmt.Errorf("subject: %w", err)
	}
	if format == FormatComplex {
		if !complexToo {
			return none, fmt.Errorf("subject: a complex one within a complex one")
		}
		return parseComplex(members)
	}
	s := Subject{Format: format}
	for _, name := range fields[format] {
		value, err := text(members, name)
		if err != nil {
			return none, fmt.Errorf("subject of format %s: %w", format, err)
		}
		if name == "iss" {
			s.Issuer = value
		} else {
			s.ID = value
		}
	}
	return s, s.check()
}

func parseComplex(members map[string]jsontext.Value) (Subject, error) {
	s := Subject{Format: FormatComplex, Members: map[string]Subject{}}
	if len(members) > maxMembers+1 {
		return Subject{}, fmt.Errorf("complex subject: over %d members", maxMembers)
	}
	for name, raw := range members {
		if name == "format" {
			continue
		}
		member, err := parseSubject(raw, false)
		if err != nil {
			return Subject{}, fmt.Errorf("complex subject: %w", err)
		}
		s.Members[name] = member
	}
	if len(s.Members) == 0 {
		return Subject{}, fmt.Errorf("complex subject: no member")
	}
	return s, nil
}

// check looks at the shape of what a simple subject says.
func (s *Subject) check() error {
	switch s.Format {
	case FormatEmail:
		a, err := mail.ParseAddress(s.ID)
		if err != nil || a.Name != "" || a.Address != s.ID {
			return fmt.Errorf("subject: email is no address")
		}
	case FormatURI:
		if u, err := url.Parse(s.ID); err != nil || u.Scheme == "" {
			return fmt.Errorf("subject: uri is no absolute URI")
		}
	}
	return nil
}

// text is a member that must be a text of printable characters.
func text(members map[string]jsontext.Value, name string) (string, error) {
	raw, ok := members[name]
	if !ok {
		return "", fmt.Errorf("%s is missing", name)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil || raw.Kind() != '"' {
		return "", fmt.Errorf("%s is no text", name)
	}
	if s == "" || !plain(s, maxText) {
		return "", fmt.Errorf("%s is empty, too long or not printable", name)
	}
	return s, nil
}

func plain(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Domain is the part of an email subject after the @, in lower case; empty for
// other formats.
func (s *Subject) Domain() string {
	if s.Format != FormatEmail {
		return ""
	}
	return strings.ToLower(s.ID[strings.LastIndexByte(s.ID, '@')+1:])
}

// principals are the members of a complex subject that may be the one who acts,
// the first that is there counts.
var principals = []string{"user", "application", "device"}

// Principal is who acts: the subject itself, or of a complex one its user,
// application or device. It is false when nobody is named that could act.
func (s *Subject) Principal() (Subject, bool) {
	if s.Format != FormatComplex {
		return *s, s.Format != ""
	}
	for _, name := range principals {
		if m, ok := s.Members[name]; ok {
			return m, true
		}
	}
	return Subject{}, false
}

// MarshalJSON implements json.Marshaler. The same subject has one text.
func (s Subject) MarshalJSON() ([]byte, error) {
	out := map[string]any{"format": s.Format}
	switch s.Format {
	case FormatIssSub:
		out["iss"], out["sub"] = s.Issuer, s.ID
	case FormatComplex:
		for name, m := range s.Members {
			out[name] = m
		}
	default:
		for _, name := range fields[s.Format] {
			out[name] = s.ID
		}
	}
	return json.Marshal(out, json.Deterministic(true))
}

// Key is the one text of a subject, to compare and keep it by.
func (s Subject) Key() string {
	b, err := s.MarshalJSON()
	if err != nil {
		return ""
	}
	return string(b)
}

// Keys are the texts by which a receiver may name the subject of an event: its
// own and those of its members.
func (s Subject) Keys() []string {
	out := []string{s.Key()}
	for _, name := range slices.Sorted(maps.Keys(s.Members)) {
		out = append(out, s.Members[name].Key())
	}
	return out
}
