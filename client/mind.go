package client

import "time"

// Learned is what was learned about how an identity behaves.
type Learned struct {
	Identity    string           `json:"identity"`
	Events      uint64           `json:"events" doc:"calls learned from"`
	Established bool             `json:"established" doc:"enough was learned to judge by"`
	FirstSeen   *time.Time       `json:"first_seen,omitempty"`
	LastSeen    *time.Time       `json:"last_seen,omitempty"`
	PerMinute   float64          `json:"per_minute" doc:"the most calls a minute that are usual"`
	Hours       []int            `json:"hours" doc:"hours of the week in which it is active; 0 is Monday 00:00 UTC, 167 Sunday 23:00"`
	Features    []LearnedFeature `json:"features"`
}

// LearnedFeature is one feature with its usual values, the most frequent
// first.
type LearnedFeature struct {
	Feature  string         `json:"feature" enum:"network,asn,country,agent,action,class,region"`
	Distinct int            `json:"distinct" doc:"how many different values were ever seen, roughly"`
	Values   []LearnedValue `json:"values"`
}

// LearnedValue is one usual value.
type LearnedValue struct {
	Value string  `json:"value"`
	Share float64 `json:"share" minimum:"0" maximum:"1" doc:"of the five-minute windows in which it was active"`
}

// Risk explains a risk term by term.
type Risk struct {
	Identity    string           `json:"identity"`
	Risk        int              `json:"risk" minimum:"0" maximum:"100" doc:"of the identity itself"`
	HalfLife    int64            `json:"half_life" doc:"seconds in which a term fades to half"`
	Terms       []RiskTerm       `json:"terms" doc:"the heaviest first"`
	Credentials []CredentialRisk `json:"credentials" doc:"its credentials that are at risk; what is done with one counts for it alone"`
}

// CredentialRisk is the risk of one credential.
type CredentialRisk struct {
	Credential string     `json:"credential"`
	PublicID   string     `json:"public_id"`
	Risk       int        `json:"risk" minimum:"0" maximum:"100"`
	Terms      []RiskTerm `json:"terms"`
}

// RiskTerm is the share of one finding in a risk.
type RiskTerm struct {
	Finding  string    `json:"finding"`
	Rule     string    `json:"rule"`
	Title    string    `json:"title"`
	Severity string    `json:"severity" enum:"info,low,medium,high,critical"`
	At       time.Time `json:"at" doc:"when the finding was last seen"`
	Weight   float64   `json:"weight" doc:"its share when it was fresh, 0 to 1"`
	Now      float64   `json:"now" doc:"its share now"`
	Sum      int       `json:"sum" doc:"the risk that it and the terms before it make, 0 to 100"`
}
