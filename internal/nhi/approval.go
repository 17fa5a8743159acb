package nhi

import (
	"slices"
	"time"
)

// An ApprovalState is where a request for approval stands.
type ApprovalState string

// The states of an approval. Any other allows nothing.
const (
	ApprovalPending   ApprovalState = "pending"
	ApprovalApproved  ApprovalState = "approved" // good for one request, until it expires
	ApprovalDenied    ApprovalState = "denied"
	ApprovalUsed      ApprovalState = "used"
	ApprovalCancelled ApprovalState = "cancelled"
	ApprovalExpired   ApprovalState = "expired"
)

// An Approval is a question that people were asked: may this identity do this,
// now, once? It is bound to the question by a digest, so what was approved for
// one request lets no other pass.
type Approval struct {
	ID      string        `json:"id"`      // apr_...
	Binding string        `json:"binding"` // digest of the question
	State   ApprovalState `json:"state"`
	// Decision is the one that asked first.
	Decision string `json:"decision"`
	Identity ID     `json:"identity"`
	// Behind are the others that the request is for: the workload that the
	// credential is pinned to, and who acts for the subject.
	Behind []ID `json:"behind,omitempty"`
	// Owners are those who answered for any of them when it was asked.
	Owners      []string    `json:"owners,omitempty"`
	Point       ID          `json:"point,omitempty"`
	Action      ActionClass `json:"action"`
	Operation   string      `json:"operation,omitempty"`
	Resource    string      `json:"resource"`
	Sensitivity int         `json:"sensitivity"`
	Purpose     string      `json:"purpose,omitempty"`
	Address     string      `json:"address,omitempty"`
	Country     string      `json:"country,omitempty"`
	Network     string      `json:"network,omitempty"`
	Agent       string      `json:"agent,omitempty"`
	Reasons     []Reason    `json:"reasons"`
	Needed      int         `json:"needed"` // people who have to say yes
	Votes       []Vote      `json:"votes"`
	Asked       time.Time   `json:"asked"`
	// Expires is until when it waits for votes, and once it is approved until
	// when it can be used.
	Expires time.Time `json:"expires"`
	Settled time.Time `json:"settled,omitzero"` // when it stopped being pending
	// Used is the decision that it let pass.
	Used string `json:"used,omitempty"`
	// CancelledBy is who took it back, as the audit log names them.
	CancelledBy string `json:"cancelled_by,omitempty"`
}

// A Vote is what one person said.
type Vote struct {
	Person  string    `json:"person"` // id of the person
	Name    string    `json:"name"`
	Yes     bool      `json:"yes"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// Yeses returns how many people said yes.
func (a *Approval) Yeses() (n int) {
	for i := range a.Votes {
		if a.Votes[i].Yes {
			n++
		}
	}
	return n
}

// Voted reports whether a person has said anything.
func (a *Approval) Voted(person string) bool {
	return slices.ContainsFunc(a.Votes, func(v Vote) bool { return v.Person == person })
}

// At returns the state at a time: what waits or could be used and has run out
// is expired.
func (a *Approval) At(now time.Time) ApprovalState {
	if (a.State == ApprovalPending || a.State == ApprovalApproved) && !now.Before(a.Expires) {
		return ApprovalExpired
	}
	return a.State
}
