package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth is how deep JSON may nest. Real claims stay below six.
const maxDepth = 32

// fewMembers is how many names are compared pairwise before a map pays.
const fewMembers = 16

// An object is a JSON object in its written order, with unique names. Unlike
// encoding/json it matches names exactly: "ALG" is not "alg".
type object []member

type member struct {
	name  []byte // unescaped
	value []byte // raw JSON, shares memory with the input
}

// parseObject reads one JSON object and nothing after it. It checks the whole
// text: RFC 8259 syntax, UTF-8 without lone surrogates (RFC 7493, section 2.1),
// depth, and no duplicate names in any object.
func parseObject(data []byte) (object, error) {
	// After these two the walker need not worry about syntax.
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("not valid JSON")
	}
	w := walker{data: data}
	w.space()
	if w.data[w.pos] != '{' {
		return nil, errors.New("not a JSON object")
	}
	var top object
	if err := w.object(1, &top); err != nil {
		return nil, err
	}
	return top, nil
}

// get returns the raw value of a member.
func (o object) get(name string) ([]byte, bool) {
	for _, m := range o {
		if string(m.name) == name {
			return m.value, true
		}
	}
	return nil, false
}

// text returns a member that must be a string, and "" if there is none.
// Control characters are refused: these strings end up in logs and databases.
func (o object) text(name string) (string, error) {
	raw, ok := o.get(name)
	if !ok {
		return "", nil
	}
	return text(name, raw)
}

// name is text for short strings.
func (o object) name(name string) (string, error) {
	s, err := o.text(name)
	if err != nil {
		return "", err
	}
	if len(s) > maxName {
		return "", fmt.Errorf("%s is longer than %d bytes", name, maxName)
	}
	return s, nil
}

// A field is a member to read and where to put it.
type field struct {
	name string
	dst  *string
}

// names reads several short strings.
func (o object) names(fields ...field) (err error) {
	for _, f := range fields {
		if *f.dst, err = o.name(f.name); err != nil {
			return err
		}
	}
	return nil
}

// texts returns a member that must be a list of strings.
func (o object) texts(name string) ([]string, error) {
	raw, ok := o.get(name)
	if !ok {
		return nil, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || raw[0] != '[' {
		return nil, fmt.Errorf("%s is not a list", name)
	}
	out := make([]string, len(list))
	for i, item := range list {
		var err error
		if out[i], err = text(name, bytes.TrimSpace(item)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func text(name string, raw []byte) (string, error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("%s is not a string", name)
	}
	s := unquote(raw)
	for _, c := range s {
		if c < 0x20 || c == 0x7f {
			return "", fmt.Errorf("%s has a control character", name)
		}
	}
	return string(s), nil
}

// unquote returns the content of a valid JSON string. Without an escape, which
// is nearly always, the result shares memory with raw.
func unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		panic("jose: " + err.Error()) // json.Valid has seen it
	}
	return []byte(s)
}

// A walker goes through JSON known to be valid.
type walker struct {
	data []byte
	pos  int
}

func (w *walker) space() {
	for w.pos < len(w.data) {
		switch w.data[w.pos] {
		case ' ', '\t', '\r', '\n':
			w.pos++
		default:
			return
		}
	}
}

// object walks an object from its brace. It stores the members in out, or, if
// out is nil, only checks them.
func (w *walker) object(depth int, out *object) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	var few [fewMembers]member
	members := object(few[:0])
	if out != nil {
		members = make(object, 0, fewMembers)
	}
	var many map[string]bool
	w.pos++ // {
	for w.space(); w.data[w.pos] != '}'; w.space() {
		if w.data[w.pos] == ',' {
			w.pos++
			w.space()
		}
		raw, err := w.text()
		if err != nil {
			return err
		}
		name := unquote(raw)
		if members.repeats(name, &many) {
			return errors.New("a name appears twice in one object")
		}
		w.space()
		w.pos++ // :
		w.space()
		from := w.pos
		if err := w.value(depth); err != nil {
			return err
		}
		members = append(members, member{name, w.data[from:w.pos]})
	}
	w.pos++ // }
	if out != nil {
		*out = members
	}
	return nil
}

// repeats reports whether name is among the members. Beyond a few it keeps a
// map, so that a hostile object of thousands costs linear time.
func (o object) repeats(name []byte, many *map[string]bool) bool {
	if len(o) < fewMembers {
		_, ok := o.get(string(name))
		return ok
	}
	if *many == nil {
		*many = make(map[string]bool, 2*len(o))
		for _, m := range o {
			(*many)[string(m.name)] = true
		}
	}
	if (*many)[string(name)] {
		return true
	}
	(*many)[string(name)] = true
	return false
}

func (w *walker) value(depth int) error {
	switch w.data[w.pos] {
	case '{':
		return w.object(depth+1, nil)
	case '[':
		return w.array(depth + 1)
	case '"':
		_, err := w.text()
		return err
	}
	for w.pos < len(w.data) { // a number, true, false or null
		switch w.data[w.pos] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return nil
		}
		w.pos++
	}
	return nil
}

func (w *walker) array(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	w.pos++ // [
	for w.space(); w.data[w.pos] != ']'; w.space() {
		if w.data[w.pos] == ',' {
			w.pos++
			w.space()
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
	w.pos++ // ]
	return nil
}

// text walks a string from its quote and returns it, quotes included.
func (w *walker) text() ([]byte, error) {
	from := w.pos
	for w.pos++; w.data[w.pos] != '"'; w.pos++ {
		if w.data[w.pos] != '\\' {
			continue
		}
		w.pos++
		if w.data[w.pos] != 'u' {
			continue
		}
		if err := w.surrogates(); err != nil {
			return nil, err
		}
	}
	w.pos++
	return w.data[from:w.pos], nil
}

// surrogates checks a \u escape, standing on its u, and ends on its last digit.
// Half a pair is no character: decoders replace it, so that different texts
// would compare equal.
func (w *walker) surrogates() error {
	high := hex4(w.data[w.pos+1:])
	w.pos += 4
	if high < 0xd800 || high > 0xdfff {
		return nil
	}
	next := w.data[w.pos+1:]
	if high < 0xdc00 && len(next) > 6 && next[0] == '\\' && next[1] == 'u' {
		if low := hex4(next[2:]); low >= 0xdc00 && low <= 0xdfff {
			w.pos += 6
			return nil
		}
	}
	return errors.New("half a surrogate pair")
}

// hex4 reads four hexadecimal digits that json.Valid has seen.
func hex4(b []byte) (n rune) {
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			n = n<<4 | rune(c-'0')
		default:
			n = n<<4 | rune(c|0x20-'a'+10)
		}
	}
	return n
}
