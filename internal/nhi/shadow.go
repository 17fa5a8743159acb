package nhi

import "time"

// A Shadow is a candidate that is tried on live decisions after the answer, and
// what it would have changed so far.
type Shadow struct {
	ID      string            `json:"id"` // another one for every start
	Digest  string            `json:"digest"`
	Files   map[string]string `json:"files"`
	Author  string            `json:"author"`
	Started time.Time         `json:"started"`
	Stopped time.Time         `json:"stopped,omitzero"` // zero: it runs
	ShadowCounts
}

// ShadowCounts are what a shadow counted.
type ShadowCounts struct {
	Judged     int64 `json:"judged"`
	Unanswered int64 `json:"unanswered"` // the record does not say what policies read
	Denied     int64 `json:"denied"`     // newly, and so are the next two
	StepUp     int64 `json:"step_up"`
	Allowed    int64 `json:"allowed"`
	Dropped    int64 `json:"dropped"` // too many at once
	Unkept     int64 `json:"unkept"`  // counted and not listed
	Errors     int64 `json:"errors"`  // policies that erred
}

// Running reports whether the shadow is tried on live decisions.
func (s *Shadow) Running() bool { return s.ID != "" && s.Stopped.IsZero() }

// A ShadowDifference is a decision that a shadow would have made otherwise.
type ShadowDifference struct {
	Decision string      `json:"decision"` // its id
	At       time.Time   `json:"at"`
	Kind     string      `json:"kind"` // newly-denied, newly-step-up, newly-allowed
	Identity ID          `json:"identity"`
	Action   ActionClass `json:"action"`
	Resource string      `json:"resource"`
	Before   string      `json:"before"`
	After    string      `json:"after"`
	Policies []string    `json:"policies"`
	Reason   string      `json:"reason"`
}

// ShadowFilter chooses differences; zero fields do not.
type ShadowFilter struct {
	Identity ID
	Resource string
	Kind     string
	Limit    int
}
