package signals

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An Event is what happened to a subject. What of it is filled in depends on
// the type.
type Event struct {
	Type    string    // URI
	Subject Subject   // of a verification or stream-updated: the stream, opaque
	At      time.Time // event_timestamp: when it happened; zero: not said

	Initiator string // admin, user, policy or system; empty: not said
	Reason    string // reason_admin in English; empty: not said

	// Of a credential-change (CAEP 1.0, section 3.3.1).
	Credential string // credential_type
	Change     string // create, revoke, update or delete
	Name       string // friendly_name: at Muster the public id, never a secret

	// Of a risk-level-change (CAEP 1.0, section 3.8.1).
	Level    string // LOW, MEDIUM or HIGH
	Previous string // likewise; empty: not known

	// Of the stream itself.
	State  string // verification: what the receiver asked to be echoed
	Status string // stream-updated: enabled, paused or disabled
}

// The levels of risk (CAEP 1.0, section 3.8.1).
const (
	Low    = "LOW"
	Medium = "MEDIUM"
	High   = "HIGH"
)

// Level is the level of a risk from 0 to 100: medium begins at 30, high at 70.
func Level(risk int) string {
	switch {
	case risk >= 70:
		return High
	case risk >= 30:
		return Medium
	}
	return Low
}

// The changes of a credential (CAEP 1.0, section 3.3.1).
const (
	Created = "create"
	Revoked = "revoke"
	Updated = "update"
	Deleted = "delete"
)

var (
	levels     = []string{Low, Medium, High}
	changes    = []string{Created, Revoked, Updated, Deleted}
	initiators = []string{"admin", "user", "policy", "system"}
	statuses   = []string{Enabled, Paused, Disabled}
)

// payload is the object of an event in a SET.
func (e *Event) payload() map[string]any {
	out := map[string]any{}
	put := func(name, value string) {
		if value != "" {
			out[name] = value
		}
	}
	switch e.Type {
	case Verification:
		put("state", e.State)
		return out
	case StreamUpdated:
		out["status"] = e.Status
		put("reason", e.Reason)
		return out
	}
	if !e.At.IsZero() {
		out["event_timestamp"] = e.At.Unix()
	}
	put("initiating_entity", e.Initiator)
	if e.Reason != "" {
		out["reason_admin"] = map[string]string{"en": e.Reason}
	}
	switch e.Type {
	case CredentialChange:
		out["credential_type"], out["change_type"] = e.Credential, e.Change
		put("friendly_name", e.Name)
	case RiskLevelChange:
		out["principal"], out["current_level"] = "USER", e.Level
		put("previous_level", e.Previous)
		put("risk_reason", e.Reason)
	}
	return out
}

// parseEvent reads the object of an event that is understood.
func parseEvent(kind string, raw []byte) (Event, error) {
	e := Event{Type: kind}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return e, fmt.Errorf("event: not a JSON object whose names are unique")
	}
	p := &picker{members: members}
	e.At = p.time("event_timestamp")
	e.Initiator = p.oneOf("initiating_entity", initiators, false)
	e.Reason = p.language("reason_admin")
	switch kind {
	case CredentialChange:
		e.Credential, e.Change, e.Name = p.text("credential_type", true), p.oneOf("change_type", changes, true), p.text("friendly_name", false)
	case RiskLevelChange:
		_ = p.text("principal", true)
		e.Level, e.Previous = p.oneOf("current_level", levels, true), p.oneOf("previous_level", levels, false)
		if said := p.text("risk_reason", false); said != "" {
			e.Reason = said
		}
	case Verification:
		e.State = p.text("state", false)
	case StreamUpdated:
		e.Status, e.Reason = p.oneOf("status", statuses, true), p.text("reason", false)
	}
	return e, p.err
}

// A picker takes members out of an object and remembers the first error.
type picker struct {
	members map[string]jsontext.Value
	err     error
}

func (p *picker) fail(name, what string) {
	if p.err == nil {
		p.err = fmt.Errorf("event: %s %s", name, what)
	}
}

func (p *picker) text(name string, must bool) string {
	if _, ok := p.members[name]; !ok && !must {
		return ""
	}
	s, err := text(p.members, name)
	if err != nil {
		p.fail(name, "is missing, no text, too long or not printable")
	}
	return s
}

func (p *picker) oneOf(name string, allowed []string, must bool) string {
	s := p.text(name, must)
	if s != "" && !slices.Contains(allowed, s) {
		p.fail(name, "is none of "+strings.Join(allowed, ", "))
	}
	return s
}

// time reads seconds since 1970.
func (p *picker) time(name string) time.Time {
	raw, ok := p.members[name]
	if !ok {
		return time.Time{}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || raw.Kind() != '0' || f < 0 || f > 253402300799 {
		p.fail(name, "is no time")
		return time.Time{}
	}
	return time.Unix(int64(math.Floor(f)), 0).UTC()
}

// language reads a message in several languages: the English one, or else the
// first by its tag (CAEP 1.0, section 2).
func (p *picker) language(name string) string {
	raw, ok := p.members[name]
	if !ok {
		return ""
	}
	var all map[string]string
	if err := json.Unmarshal(raw, &all); err != nil || len(all) == 0 || len(all) > 64 {
		p.fail(name, "is no object of messages by language")
		return ""
	}
	tags := make([]string, 0, len(all))
	for tag := range all {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	said := all[tags[0]]
	if en, ok := all["en"]; ok {
		said = en
	}
	if !plain(said, 4*maxText) {
		p.fail(name, "is too long or not printable")
		return ""
	}
	return said
}
