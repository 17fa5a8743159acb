package nhi

import "time"

// A PromotionGate is where a promotion stands.
type PromotionGate string

// The gates of a promotion, in their order, and how one ends.
const (
	PromotionShadow     PromotionGate = "shadow"      // tried after each answer, decides nothing
	PromotionStaged     PromotionGate = "staged"      // decides for a share of the principals
	PromotionWatching   PromotionGate = "watching"    // decides for everybody, and the former policies are kept at hand
	PromotionDone       PromotionGate = "promoted"    // came through
	PromotionRolledBack PromotionGate = "rolled-back" // by itself
	PromotionAborted    PromotionGate = "aborted"     // by a person
	PromotionOutdated   PromotionGate = "outdated"    // something else was put into force
)

// A PromotionHold is what keeps a promotion at its gate until a person does something.
type PromotionHold string

// What holds promotions up.
const (
	HoldPaused      PromotionHold = "paused"
	HoldUnexplained PromotionHold = "unexplained" // somebody is newly denied something
	HoldErrors      PromotionHold = "errors"      // its policies could not be evaluated for attested identities
)

// A PromotionHeld says since when something holds a promotion up, and whether people
// were told.
type PromotionHeld struct {
	Why   PromotionHold `json:"why"`
	Since time.Time     `json:"since"`
	Told  bool          `json:"told,omitempty"`
}

// A Promotion is the way of a snapshot into force by gates.
type Promotion struct {
	ID       string        `json:"id"`
	Sequence uint64        `json:"sequence"` // of its entry in the history
	Digest   string        `json:"digest"`   // of the files
	Former   string        `json:"former"`   // digest of those that it takes the place of
	Author   string        `json:"author"`
	Person   string        `json:"person,omitempty"`
	Note     string        `json:"note,omitempty"`
	Started  time.Time     `json:"started"`
	Plan     PromotionPlan `json:"plan"`
	Key      []byte        `json:"key"` // that principals are hashed with

	Gate    PromotionGate `json:"gate"`
	Stage   int           `json:"stage,omitempty"` // index into the stages of the plan
	Percent int           `json:"percent"`
	Since   time.Time     `json:"since"` // when the gate began, without the time in which nothing ran
	Beat    time.Time     `json:"beat"`  // when it was stored last
	Paused  bool          `json:"paused,omitempty"`
	// Held is what holds it up at this gate. The slice is never changed, only replaced.
	Held []PromotionHeld `json:"held,omitempty"`

	PromotionCounts
	// Erred is the last decision about an attested identity that its policies erred at.
	Erred        string            `json:"erred,omitempty"`
	Acknowledged []Acknowledgement `json:"acknowledged,omitempty"`
	Why          string            `json:"why,omitempty"` // it ended
	Ended        time.Time         `json:"ended,omitzero"`
}

// Running reports whether it is under way.
func (p *Promotion) Running() bool { return p.ID != "" && p.Ended.IsZero() }

// A PromotionPlan is what was configured when a promotion began.
type PromotionPlan struct {
	Shadow    time.Duration `json:"shadow"`
	Decisions int64         `json:"decisions"` // that the shadow must have judged
	Stages    []int         `json:"stages"`    // percent
	Stage     time.Duration `json:"stage"`
	Watch     time.Duration `json:"watch"`
	Threshold int           `json:"threshold"`
}

// PromotionCounts are what a promotion counted.
type PromotionCounts struct {
	Judged     int64 `json:"judged"`
	Unanswered int64 `json:"unanswered"` // the record does not say what policies read
	Denied     int64 `json:"denied"`     // newly, and so are the next two
	StepUp     int64 `json:"step_up"`
	Allowed    int64 `json:"allowed"`
	Errors     int64 `json:"errors"` // policies that erred for attested identities and that did not before
	// ErrorsUnproven are those for everybody else. Nobody knows who that is, so
	// they hold nothing up.
	ErrorsUnproven int64 `json:"errors_unproven,omitempty"`
	Dropped        int64 `json:"dropped"`  // too many at once
	Unlisted       int64 `json:"unlisted"` // unexplained, and more than are listed
}

// An Acknowledgement explains differences: those that all of its fields fit which
// are not empty.
type Acknowledgement struct {
	Policy   string      `json:"policy,omitempty"`
	Identity ID          `json:"identity,omitempty"`
	Action   ActionClass `json:"action,omitempty"`
	Resource string      `json:"resource,omitempty"`
	Reason   string      `json:"reason"`
	By       string      `json:"by"`
	At       time.Time   `json:"at"`
}

// A PromotionDenial is what the new policies deny and the former ones allow.
type PromotionDenial struct {
	Identity ID          `json:"identity"`
	Action   ActionClass `json:"action"`
	Resource string      `json:"resource"`
	Policies []string    `json:"policies"` // that deny it
	Reason   string      `json:"reason"`   // of the first
	Count    int64       `json:"count"`
	Decision string      `json:"decision"` // the last one
	At       time.Time   `json:"at"`
	// Decided says that it was denied and not only would have been, and Reported
	// that a point told so which decides by itself.
	Decided  bool `json:"decided,omitempty"`
	Reported bool `json:"reported,omitempty"`
}

// A PromotionWitness is an attested identity that the new policies failed.
type PromotionWitness struct {
	Identity ID          `json:"identity"`
	Action   ActionClass `json:"action"`
	Resource string      `json:"resource"`
	Policies []string    `json:"policies"`
	Decision string      `json:"decision"`
	At       time.Time   `json:"at"`
	Erred    bool        `json:"erred,omitempty"` // they could not be evaluated
	// Prover tells the workload that proved itself beside a key, under which all
	// that it holds is one; empty: the identity proved itself.
	Prover string `json:"prover,omitempty"`
}

// PromotionFound is what a promotion found.
type PromotionFound struct {
	Denials   []PromotionDenial  `json:"denials"`
	Witnesses []PromotionWitness `json:"witnesses"`
}
