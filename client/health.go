package client

import "time"

// SourceHealth is how a source does, as the process that answers saw it since
// it started.
type SourceHealth struct {
	Since      time.Time  `json:"since" doc:"when counting began: the start of the process"`
	Deliveries uint64     `json:"deliveries" doc:"what it sent and what was taken in"`
	Events     uint64     `json:"events"`
	Unparsable uint64     `json:"unparsable" doc:"records that were no events of the format; kept sealed"`
	Refused    uint64     `json:"refused" doc:"records about accounts that it may not speak for"`
	Last       *time.Time `json:"last,omitempty" doc:"when something of it was last taken in"`
	Lag        *float64   `json:"lag,omitempty" doc:"seconds between the newest event of the last delivery and its arrival"`
	Failures   uint64     `json:"failures" doc:"deliveries that were not taken in"`
	Error      string     `json:"error,omitempty" doc:"why the last failed delivery was not taken in; absent once a later one was"`
	ErrorAt    *time.Time `json:"error_at,omitempty"`
}

// Health is what the process that answers says about itself, part by part: the
// same as /readyz?verbose of its operations listener.
type Health struct {
	Ready  bool          `json:"ready"`
	Checks []HealthCheck `json:"checks"`
}

// HealthCheck is the state of one part.
type HealthCheck struct {
	Name  string `json:"name"`
	State string `json:"state" enum:"ok,degraded,failed"`
	Vital bool   `json:"vital" doc:"decisions need it"`
	Why   string `json:"why,omitempty" doc:"what is wrong"`
	Cure  string `json:"cure,omitempty" doc:"what to do about it"`
}
