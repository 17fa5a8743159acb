// Package panel puts what identities ask before people, and takes their answers.
// The desk (package decision/approval) knows what an answer means; the panel
// knows who may give one.
//
// Only people vote: somebody who signed in with the organisation's provider, or
// the first administrator, who owns the data folder. An operator token is a
// program's for all that Muster knows, and one non-human identity must not
// approve another. All first administrator tokens are one person.
//
// What is known of a person says what is theirs: the e-mail address that the
// provider has verified, the teams that their groups are called after, and the
// teams that a role of theirs is narrowed to. Of the first administrator nothing
// is known, so nothing is theirs; the first sign-in of an administrator ends that
// token.
package panel

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/decision/approval"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	kept "github.com/muster-id/muster/internal/store/approval"
)

// Panel implements frame.Approvals.
type Panel struct {
	Desk  *approval.Desk
	Store *kept.Store
	// Person returns an error wrapping nhi.ErrNotFound if there is none.
	Person func(ctx context.Context, id string) (access.Person, error)
	// Grants are the roles of a person, however they come by them.
	Grants func(access.Person) []access.Grant
	// Identity returns an error wrapping nhi.ErrNotFound if there is none.
	Identity func(ctx context.Context, id nhi.ID) (nhi.Identity, error)
	// Record takes what is due into the audit log.
	Record func(ctx context.Context) error
	// Clean takes secrets out of text.
	Clean func(string) string
}

// Approval implements frame.Approvals.
func (p *Panel) Approval(ctx context.Context, id string) (nhi.Approval, error) {
	return p.Store.Get(ctx, id)
}

// Approvals implements frame.Approvals.
func (p *Panel) Approvals(ctx context.Context, part filter.Part) (filter.Slice[nhi.Approval], error) {
	return p.Store.List(ctx, part, time.Now())
}

// First is the person that every first administrator token stands for.
const First = "first-administrator"

// Vote implements frame.Approvals.
func (p *Panel) Vote(ctx context.Context, by frame.Caller, id string, yes bool, comment string) (nhi.Approval, error) {
	v, err := p.voter(ctx, by)
	if err != nil {
		return nhi.Approval{}, err
	}
	asked, err := p.Store.Get(ctx, id)
	if err != nil {
		return nhi.Approval{}, err
	}
	// Whose it is must be known: of what has left the inventory nobody can say
	// that it is not the voter's.
	var owners []string
	for _, one := range append([]nhi.ID{asked.Identity}, asked.Behind...) {
		who, err := p.Identity(ctx, one)
		if err != nil {
			return nhi.Approval{}, fmt.Errorf("approval %s, of whom nobody knows who answers for it: %w", id, err)
		}
		owners = append(owners, who.Owner.Ref)
	}
	a, err := p.Desk.Vote(ctx, id, v, owners, yes, p.Clean(comment))
	if err != nil {
		return nhi.Approval{}, err
	}
	return a, p.Record(ctx)
}

// Cancel implements frame.Approvals.
func (p *Panel) Cancel(ctx context.Context, by frame.Caller, id string) (nhi.Approval, error) {
	a, err := p.Desk.Cancel(ctx, id, by.Actor())
	if err != nil {
		return nhi.Approval{}, err
	}
	return a, p.Record(ctx)
}

// voter says which person calls. The error wraps nhi.ErrDenied when none does.
func (p *Panel) voter(ctx context.Context, by frame.Caller) (approval.Voter, error) {
	switch {
	case by.First:
		return approval.Voter{Person: First, Name: "first administrator", Owns: func(string) bool { return false }, Shared: true}, nil
	case by.Kind != string(access.Session) || by.Person == "" || by.Token != "":
		return approval.Voter{}, fmt.Errorf("only people approve and deny, and a token may be a program's: sign in to the console as yourself: %w", nhi.ErrDenied)
	}
	person, err := p.Person(ctx, by.Person)
	if err != nil {
		return approval.Voter{}, err
	}
	grants := p.Grants(person)
	return approval.Voter{Person: person.ID, Name: person.Name, Owns: func(owner string) bool { return owns(&person, grants, owner) }}, nil
}

// owns reports whether an owner, as an identity names it, is a person or one of
// their teams.
func owns(p *access.Person, grants []access.Grant, owner string) bool {
	team, ok := strings.CutPrefix(owner, "team:")
	if !ok {
		return p.Email != "" && strings.EqualFold(owner, p.Email)
	}
	return slices.ContainsFunc(p.Groups, func(g string) bool { return strings.EqualFold(g, team) || strings.EqualFold(g, owner) }) ||
		slices.ContainsFunc(grants, func(g access.Grant) bool { return strings.EqualFold(g.Team, team) })
}

// Acts says what a change of an approval is in the audit log.
func Acts(before, after *nhi.Approval) []nhi.Act {
	var out []nhi.Act
	for i := len(before.Votes); i < len(after.Votes); i++ {
		v := &after.Votes[i]
		act := "approval.deny"
		if v.Yes {
			act = "approval.approve"
		}
		by := "person:" + v.Person
		if v.Person == First {
			by = "operator:" + v.Name
		}
		out = append(out, nhi.Act{
			Key: "approval:" + after.ID + ":" + v.Person, At: v.At, Actor: by, Act: act, Target: after.ID, Reason: v.Comment, Outcome: "done", Detail: detail(after),
		})
	}
	if after.State == nhi.ApprovalCancelled && before.State != after.State {
		out = append(out, nhi.Act{
			Key: "approval:" + after.ID + ":cancel", At: after.Settled, Actor: after.CancelledBy, Act: "approval.cancel", Target: after.ID, Outcome: "done", Detail: detail(after),
		})
	}
	return out
}

func detail(a *nhi.Approval) json.RawMessage {
	b, err := json.Marshal(map[string]any{
		"state": a.State, "identity": a.Identity, "action": a.Action, "operation": a.Operation, "resource": a.Resource, "binding": a.Binding, "yes": a.Yeses(), "needed": a.Needed,
	})
	if err != nil {
		return nil // these always encode
	}
	return b
}
