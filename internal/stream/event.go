package stream

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// Every event passes here twice, and encoding/json took more time for that
// than detection may take in all. The text is the same JSON; a test compares
// the two, and fails when nhi.Event has a field that is missing here.

// A textField is a field of an event that is a string of some type.
type textField struct {
	name string
	at   func(*nhi.Event) *string
	// once says that values hardly repeat within a batch. Of the others one
	// copy serves all events.
	once bool
}

var eventTexts = []textField{
	{"id", func(e *nhi.Event) *string { return &e.ID }, true},
	{"source", func(e *nhi.Event) *string { return (*string)(&e.Source) }, false},
	{"format", func(e *nhi.Event) *string { return &e.Format }, false},
	{"provider", func(e *nhi.Event) *string { return &e.Provider }, false},
	{"account", func(e *nhi.Event) *string { return &e.Account }, false},
	{"region", func(e *nhi.Event) *string { return &e.Region }, false},
	{"service", func(e *nhi.Event) *string { return &e.Service }, false},
	{"operation", func(e *nhi.Event) *string { return &e.Operation }, false},
	{"class", func(e *nhi.Event) *string { return (*string)(&e.Class) }, false},
	{"resource", func(e *nhi.Event) *string { return &e.Resource }, false},
	{"agent", func(e *nhi.Event) *string { return &e.Agent }, false},
	{"status", func(e *nhi.Event) *string { return (*string)(&e.Status) }, false},
	{"error", func(e *nhi.Event) *string { return &e.Error }, false},
	{"identity", func(e *nhi.Event) *string { return (*string)(&e.Identity) }, false},
	{"credential", func(e *nhi.Event) *string { return (*string)(&e.Credential) }, false},
	{"outcome", func(e *nhi.Event) *string { return (*string)(&e.Outcome) }, false},
}

var principalTexts = []textField{
	{"type", func(e *nhi.Event) *string { return &e.Principal.Type }, false},
	{"native", func(e *nhi.Event) *string { return &e.Principal.Native }, false},
	{"path", func(e *nhi.Event) *string { return &e.Principal.Path }, false},
	{"name", func(e *nhi.Event) *string { return &e.Principal.Name }, false},
	{"account", func(e *nhi.Event) *string { return &e.Principal.Account }, false},
	{"key_id", func(e *nhi.Event) *string { return &e.Principal.KeyID }, false},
	{"session", func(e *nhi.Event) *string { return &e.Principal.Session }, true},
	{"issuer", func(e *nhi.Event) *string { return &e.Principal.Issuer }, false},
	{"subject", func(e *nhi.Event) *string { return &e.Principal.Subject }, false},
}

// A flagField is a field that is true or false.
type flagField struct {
	name string
	at   func(*nhi.Event) *bool
}

var (
	eventFlags     = []flagField{{"asserted", func(e *nhi.Event) *bool { return &e.Asserted }}}
	principalFlags = []flagField{
		{"temporary", func(e *nhi.Event) *bool { return &e.Principal.Temporary }},
		{"platform", func(e *nhi.Event) *bool { return &e.Principal.Platform }},
		{"interactive", func(e *nhi.Event) *bool { return &e.Principal.Interactive }},
	}
)

// appendEvents appends events as a JSON array.
func appendEvents(b []byte, events []nhi.Event) ([]byte, error) {
	b = append(b, '[')
	for i := range events {
		if i > 0 {
			b = append(b, ",\n"...)
		}
		var err error
		if b, err = appendEvent(b, &events[i]); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return append(b, ']'), nil
}

func appendEvent(b []byte, e *nhi.Event) (_ []byte, err error) {
	if b, err = appendTime(append(b, `{"time":`...), e.Time); err != nil {
		return nil, err
	}
	if !e.Arrived.IsZero() {
		if b, err = appendTime(append(b, `,"arrived":`...), e.Arrived); err != nil {
			return nil, err
		}
	}
	if e.Address.IsValid() {
		b = append(b, `,"address":"`...)
		b = append(e.Address.AppendTo(b), '"')
	}
	b = appendFields(b, e, eventTexts, eventFlags)
	b = append(b, `,"principal":{`...)
	start := len(b)
	b = appendFields(b, e, principalTexts, principalFlags)
	if chain := e.Principal.Chain; len(chain) > 0 {
		b = append(b, `,"chain":[`...)
		for i, link := range chain {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(b, link)
		}
		b = append(b, ']')
	}
	if len(b) > start { // the first comma of the object is one too many
		b = append(b[:start], b[start+1:]...)
	}
	return append(b, "}}"...), nil
}

// appendFields appends what is not empty, each with a comma before it.
func appendFields(b []byte, e *nhi.Event, texts []textField, flags []flagField) []byte {
	for _, f := range texts {
		if text := *f.at(e); text != "" {
			b = append(append(append(b, `,"`...), f.name...), `":`...)
			b = appendText(b, text)
		}
	}
	for _, f := range flags {
		if *f.at(e) {
			b = append(append(append(b, `,"`...), f.name...), `":true`...)
		}
	}
	return b
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	b, err := t.AppendText(append(b, '"'))
	if err != nil {
		return nil, nhi.Invalidf("a time that cannot be written: %v", err)
	}
	return append(b, '"'), nil
}

// plain says which bytes stand in JSON as they are.
var plain = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string always has JSON
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// A fields is what a decoder knows of an object's members.
type fields struct {
	texts map[string]textField
	flags map[string]flagField
}

func index(texts []textField, flags []flagField) fields {
	f := fields{map[string]textField{}, map[string]flagField{}}
	for _, t := range texts {
		f.texts[t.name] = t
	}
	for _, b := range flags {
		f.flags[b.name] = b
	}
	return f
}

var (
	eventFields     = index(eventTexts, eventFlags)
	principalFields = index(principalTexts, principalFlags)
)

// maxShared is the length in bytes up to which equal strings share one copy.
const maxShared = 256

// An eventDecoder reads events, of which many strings are the same.
type eventDecoder struct {
	s      jsonscan.Scanner
	shared map[string]string
	buf    []byte
	wrong  bool // a value has another kind than its field
}

// decodeEvents reads a JSON array of events. Members that it does not know
// are skipped: a later version may have added them.
func decodeEvents(text []byte) ([]nhi.Event, error) {
	d := eventDecoder{shared: map[string]string{}}
	d.s.Reset(text, 8)
	// A guess from the size, so that a batch of ours is not copied as it grows.
	events := make([]nhi.Event, 0, min(len(text)/256+1, MaxBatchEvents))
	if !d.s.Array() {
		return nil, nhi.Invalidf("decode a batch: not an array")
	}
	for d.s.More() {
		if len(events) == MaxBatchEvents {
			return nil, fmt.Errorf("decode a batch of over %d events: %w", MaxBatchEvents, nhi.ErrTooLarge)
		}
		events = append(events, nhi.Event{})
		d.event(&events[len(events)-1])
		if d.wrong || d.s.Err() != nil {
			return nil, nhi.Invalidf("decode a batch: event %d is damaged", len(events))
		}
	}
	if d.s.Err() != nil || !d.s.End() {
		return nil, nhi.Invalidf("decode a batch: the array has no proper end")
	}
	return events, nil
}

func (d *eventDecoder) event(e *nhi.Event) {
	if !d.s.Object() {
		d.wrong = true
		return
	}
	for d.s.Next() {
		switch key := d.s.Key(); string(key) {
		case "time":
			d.time(&e.Time)
		case "arrived":
			d.time(&e.Arrived)
		case "address":
			var err error
			if e.Address, err = netip.ParseAddr(string(d.text())); err != nil {
				d.wrong = true
			}
		case "principal":
			d.principal(e)
		default:
			d.member(e, key, eventFields)
		}
	}
}

func (d *eventDecoder) principal(e *nhi.Event) {
	if !d.s.Object() {
		d.wrong = true
		return
	}
	for d.s.Next() {
		key := d.s.Key()
		if string(key) != "chain" {
			d.member(e, key, principalFields)
			continue
		}
		if !d.s.Array() {
			d.wrong = true
			continue
		}
		for d.s.More() {
			e.Principal.Chain = append(e.Principal.Chain, d.share(d.text()))
		}
	}
}

// member reads one text or flag, or skips what is unknown.
func (d *eventDecoder) member(e *nhi.Event, key []byte, known fields) {
	if f, ok := known.texts[string(key)]; ok {
		if text := d.text(); f.once {
			*f.at(e) = string(text)
		} else {
			*f.at(e) = d.share(text)
		}
		return
	}
	if f, ok := known.flags[string(key)]; ok {
		value, ok := d.s.Bool()
		*f.at(e) = value
		d.wrong = d.wrong || !ok
		return
	}
	d.s.Skip()
}

// text reads a string. It is valid until the next call.
func (d *eventDecoder) text() []byte {
	span, ok := d.s.Text()
	if !ok {
		d.wrong = true
		return nil
	}
	if !span.Escaped && utf8.Valid(span.Raw) {
		return span.Raw
	}
	d.buf = span.Append(d.buf[:0])
	return d.buf
}

func (d *eventDecoder) time(t *time.Time) {
	if err := t.UnmarshalText(d.text()); err != nil {
		d.wrong = true
	}
}

// share returns text as a string, the same one for equal texts.
func (d *eventDecoder) share(text []byte) string {
	if s, ok := d.shared[string(text)]; ok {
		return s
	}
	s := string(text)
	if len(s) <= maxShared {
		d.shared[s] = s
	}
	return s
}
