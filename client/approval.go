package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// ListApprovals reads one page of what people were asked to approve, the newest
// first.
func (c *Client) ListApprovals(ctx context.Context, q ListQuery) (Page[Approval], error) {
	return read[Page[Approval]](ctx, c, "/v1/approvals", values(q))
}

// Approvals goes through what people were asked to approve, to the end of the
// list.
func (c *Client) Approvals(ctx context.Context, q ListQuery) iter.Seq2[Approval, error] {
	return pages[Approval](ctx, c, "/v1/approvals", values(q))
}

// GetApproval reads one approval.
func (c *Client) GetApproval(ctx context.Context, id string) (Approval, error) {
	return read[Approval](ctx, c, at("/v1/approvals/", id, ""), nil)
}

// Approve says yes to what an identity asks. Only people may: an operator token
// is refused with status 403, except the first administrator's.
func (c *Client) Approve(ctx context.Context, id string, request Answer, options ...Option) (Approval, error) {
	return write[Approval](ctx, c, http.MethodPost, at("/v1/approvals/", id, "/approve"), request, options)
}

// Deny says no. One no is enough. Only people may, as with [Client.Approve].
func (c *Client) Deny(ctx context.Context, id string, request Answer, options ...Option) (Approval, error) {
	return write[Approval](ctx, c, http.MethodPost, at("/v1/approvals/", id, "/deny"), request, options)
}

// CancelApproval closes what waits for people, or was approved and not used.
func (c *Client) CancelApproval(ctx context.Context, id string, options ...Option) (Approval, error) {
	return write[Approval](ctx, c, http.MethodPost, at("/v1/approvals/", id, "/cancel"), nil, options)
}

// Approval is what an identity asked people to allow, once.
type Approval struct {
	ID          string     `json:"id"`
	State       string     `json:"state" enum:"pending,approved,denied,used,cancelled,expired"`
	Decision    string     `json:"decision" doc:"id of the decision that asked first"`
	Identity    string     `json:"identity" doc:"who asks"`
	Name        string     `json:"name,omitempty" doc:"of the identity"`
	Point       string     `json:"point,omitempty"`
	PointName   string     `json:"point_name,omitempty"`
	Action      string     `json:"action"`
	Operation   string     `json:"operation,omitempty"`
	Resource    string     `json:"resource"`
	Sensitivity int        `json:"sensitivity"`
	Purpose     string     `json:"purpose,omitempty"`
	Address     string     `json:"address,omitempty"`
	Country     string     `json:"country,omitempty"`
	Network     string     `json:"network,omitempty"`
	Agent       string     `json:"agent,omitempty"`
	Reasons     []Reason   `json:"reasons" doc:"why a person is asked"`
	Needed      int        `json:"needed" doc:"people who have to say yes"`
	Votes       []Vote     `json:"votes"`
	Asked       time.Time  `json:"asked"`
	Expires     time.Time  `json:"expires" doc:"until when it waits for people; once approved, until when it can be used"`
	Settled     *time.Time `json:"settled,omitempty" doc:"when it stopped waiting for people"`
	Used        string     `json:"used,omitempty" doc:"id of the decision that it let pass"`
	CancelledBy string     `json:"cancelled_by,omitempty"`
}

// Vote is what one person said.
type Vote struct {
	Person  string    `json:"person" doc:"id of the person"`
	Name    string    `json:"name"`
	Yes     bool      `json:"yes"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// Answer says why somebody approves or denies.
type Answer struct {
	Comment string `json:"comment,omitempty" maxLength:"500" doc:"for the others and the audit log"`
}
