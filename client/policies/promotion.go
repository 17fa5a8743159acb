package policies

import "time"

// Promotion is the way of a snapshot into force by gates: in the shadow, by shares
// of the principals, and watched.
type Promotion struct {
	ID       string    `json:"id" doc:"empty: there never was one"`
	Running  bool      `json:"running"`
	Gate     string    `json:"gate" enum:",shadow,staged,watching,promoted,rolled-back,aborted,outdated" doc:"where it stands, or how it ended"`
	Paused   bool      `json:"paused"`
	Percent  int       `json:"percent" doc:"of the principals that it decides for"`
	Stages   []int     `json:"stages" doc:"percents, before it decides for everybody"`
	Digest   string    `json:"digest" doc:"of the new snapshot"`
	Former   string    `json:"former" doc:"digest of the one that it takes the place of"`
	Sequence uint64    `json:"sequence" doc:"of its entry in the history"`
	Author   string    `json:"author"`
	Note     string    `json:"note"`
	Started  time.Time `json:"started,omitzero"`
	Since    time.Time `json:"since,omitzero" doc:"when the gate began"`
	// Due and Waits are empty when it has ended.
	Due   *time.Time `json:"due,omitempty" doc:"when the time of the gate is over"`
	Waits []string   `json:"waits" doc:"what the next gate waits for, a sentence each"`
	// Holds are those of Waits that do not pass by themselves.
	Holds []PromotionHold `json:"holds" doc:"what holds it up until a person does something"`

	Judged      int64  `json:"judged" doc:"decisions that both were tried on"`
	Unanswered  int64  `json:"unanswered" doc:"decisions of which it is not on record what policies read"`
	Denied      int64  `json:"newly_denied"`
	StepUp      int64  `json:"newly_step_up"`
	Allowed     int64  `json:"newly_allowed"`
	Errors      int64  `json:"errors" doc:"policies of the new snapshot that erred for attested identities: the next gate waits"`
	ErrorsOther int64  `json:"errors_unproven" doc:"policies of the new snapshot that erred for callers whose platform vouched for nothing; nothing waits for that"`
	Erred       string `json:"erred" doc:"the last decision about an attested identity that its policies erred at, for muster decide explain"`
	Dropped     int64  `json:"dropped" doc:"decisions that were not tried, because there were too many at once"`
	Unlisted    int64  `json:"unlisted" doc:"newly denied, not explained, and too many to be listed"`
	Unexplained int    `json:"unexplained" doc:"newly denied, and nobody explained it: the next gate waits"`

	Threshold    int                  `json:"threshold" doc:"attested identities that must be denied what they were allowed for it to be rolled back by itself"`
	Witnesses    []PromotionWitness   `json:"witnesses" doc:"those that were"`
	Denials      []PromotionDenial    `json:"denials" doc:"who is newly denied what"`
	Acknowledged []PromotionExplained `json:"acknowledged"`

	Why   string     `json:"why" doc:"it ended"`
	Ended *time.Time `json:"ended,omitempty"`
}

// PromotionHold is what keeps a promotion at its gate until a person does something.
type PromotionHold struct {
	Why   string     `json:"why" enum:"paused,unexplained,errors"`
	Waits string     `json:"waits" doc:"the sentence of it in waits, with what to do"`
	Since *time.Time `json:"since,omitempty" doc:"since when; empty for a moment after it began"`
}

// PromotionDenial is what the new policies deny and the former ones do not.
type PromotionDenial struct {
	Identity  string    `json:"identity"`
	Name      string    `json:"name" doc:"of the identity"`
	Action    string    `json:"action"`
	Resource  string    `json:"resource"`
	Policies  []string  `json:"policies" doc:"that deny it"`
	Reason    string    `json:"reason"`
	Count     int64     `json:"count"`
	Decision  string    `json:"decision" doc:"the last one, for muster decide explain"`
	At        time.Time `json:"at"`
	Decided   bool      `json:"decided" doc:"it was denied; else it would have been"`
	Reported  bool      `json:"reported" doc:"by a point that decides by itself"`
	Explained string    `json:"explained" doc:"why it is meant, as a person said; empty: nobody has"`
}

// PromotionWitness is an attested identity that the new policies failed.
type PromotionWitness struct {
	Identity string    `json:"identity"`
	Name     string    `json:"name" doc:"of the identity"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Decision string    `json:"decision"`
	At       time.Time `json:"at"`
	Erred    bool      `json:"erred" doc:"the policies could not be evaluated"`
}

// PromotionExplained is what a person said about differences.
type PromotionExplained struct {
	Acknowledge
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Acknowledge explains differences of the promotion under way: those that fit all
// that is given. It names a policy, an identity or a resource.
type Acknowledge struct {
	Policy   string `json:"policy,omitempty" maxLength:"200" doc:"that denies it"`
	Identity string `json:"identity,omitempty" maxLength:"64" doc:"id of the identity"`
	Action   string `json:"action,omitempty" maxLength:"32"`
	Resource string `json:"resource,omitempty" maxLength:"256"`
	Reason   string `json:"reason" minLength:"1" maxLength:"500" doc:"why it is meant, one line"`
}
