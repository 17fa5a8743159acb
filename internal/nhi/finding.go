package nhi

import "time"

// A Severity orders findings for people.
type Severity string

// The severities.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// A FindingStatus says what people did about a finding.
type FindingStatus string

// The statuses of a finding.
const (
	Open         FindingStatus = "open"
	Acknowledged FindingStatus = "acknowledged"
	Resolved     FindingStatus = "resolved"
	Dismissed    FindingStatus = "dismissed"
)

// A Finding is something wrong: by state, by behaviour, or by a leak. Its id
// is derived from rule, identity, credential and window, so that seeing the
// same thing twice is one finding.
type Finding struct {
	ID         string        `json:"id"`
	Rule       string        `json:"rule"`
	Title      string        `json:"title"`
	Severity   Severity      `json:"severity"`
	Score      float64       `json:"score"` // 0 to 100
	Status     FindingStatus `json:"status"`
	Identity   ID            `json:"identity,omitempty"`
	Credential CredentialID  `json:"credential,omitempty"`
	FirstSeen  time.Time     `json:"first_seen"` // of the event or sighting
	LastSeen   time.Time     `json:"last_seen"`
	DetectedAt time.Time     `json:"detected_at"` // when Muster knew
	Events     []string      `json:"events,omitempty"`
	Count      int           `json:"count"` // events in the window, of which Events cites some
	Features   []Feature     `json:"features,omitempty"`
	Sentence   string        `json:"sentence"` // what happened, why it matters, in one breath
	Owner      string        `json:"owner,omitempty"`
	Reach      []string      `json:"reach,omitempty"`  // what the identity can touch, most sensitive first
	Place      *Place        `json:"place,omitempty"`  // where a leak lies
	Action     string        `json:"action,omitempty"` // what was done about it
	// Settled is when somebody resolved or dismissed it. What happens later is
	// news to a resolved finding, never to a dismissed one.
	Settled time.Time `json:"settled,omitzero"`
}

// A Feature is one reason a finding or a decision gives: what is usual, what
// was seen, and how surprising that is in bits.
type Feature struct {
	Name  string  `json:"name"`
	Usual string  `json:"usual"`
	Seen  string  `json:"seen"`
	Bits  float64 `json:"bits"`
}

// FindingID derives the id of a finding from what makes it the same finding.
func FindingID(rule string, identity ID, credential CredentialID, window string) string {
	return DerivedID("fnd_", rule, string(identity), string(credential), window)
}
