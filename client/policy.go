package client

import (
	"context"
	"io"
	"iter"
	"net/http"

	"github.com/muster-id/muster/client/policies"
)

// ListSnapshots reads one page of the history of the policies, the newest first.
func (c *Client) ListSnapshots(ctx context.Context, q ListQuery) (Page[Snapshot], error) {
	return read[Page[Snapshot]](ctx, c, "/v1/snapshots", values(q))
}

// Snapshots goes through the history of the policies to its end.
func (c *Client) Snapshots(ctx context.Context, q ListQuery) iter.Seq2[Snapshot, error] {
	return pages[Snapshot](ctx, c, "/v1/snapshots", values(q))
}

// GetSnapshot reads one snapshot with its files, by its digest or at least 8
// characters of it.
func (c *Client) GetSnapshot(ctx context.Context, digest string) (SnapshotDetail, error) {
	return read[SnapshotDetail](ctx, c, at("/v1/snapshots/", digest, ""), nil)
}

// GetSnapshotBundle writes the signed bundle of a snapshot, a tar, to w.
func (c *Client) GetSnapshotBundle(ctx context.Context, digest string, w io.Writer) error {
	res, err := c.send(ctx, http.MethodGet, at("/v1/snapshots/", digest, "/bundle"), "", "application/x-tar, application/problem+json", nil, callOf(nil))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// PutSnapshot puts a folder of policies into force in place of what is, or has it
// wait for a second administrator. What is wrong changes nothing, and the error names
// file and line.
func (c *Client) PutSnapshot(ctx context.Context, request PutSnapshot, options ...Option) (Snapshot, error) {
	return write[Snapshot](ctx, c, http.MethodPost, "/v1/snapshots", request, options)
}

// ActivateSnapshot puts an older snapshot into force again.
func (c *Client) ActivateSnapshot(ctx context.Context, digest string, request ActOn, options ...Option) (Snapshot, error) {
	return write[Snapshot](ctx, c, http.MethodPost, at("/v1/snapshots/", digest, "/activate"), request, options)
}

// ConfirmSnapshot says yes, as a second administrator, to what waits. Only people
// may, in a session of their own: every token is refused with status 403.
func (c *Client) ConfirmSnapshot(ctx context.Context, digest string, options ...Option) (Snapshot, error) {
	return write[Snapshot](ctx, c, http.MethodPost, at("/v1/snapshots/", digest, "/confirm"), nil, options)
}

// WithdrawSnapshot takes back what waits for a second administrator.
func (c *Client) WithdrawSnapshot(ctx context.Context, digest string, request ActOn, options ...Option) (Snapshot, error) {
	return write[Snapshot](ctx, c, http.MethodPost, at("/v1/snapshots/", digest, "/withdraw"), request, options)
}

// ListPolicies reads one page of the policies in force, the built-in guards first.
func (c *Client) ListPolicies(ctx context.Context, q ListQuery) (Page[Policy], error) {
	return read[Page[Policy]](ctx, c, "/v1/policies", values(q))
}

// GetPolicyKey reads the public key that bundles are signed with.
func (c *Client) GetPolicyKey(ctx context.Context) (SigningKey, error) {
	return read[SigningKey](ctx, c, "/v1/policies/key", nil)
}

// GetPromotion shows the promotion under way, or the last one.
func (c *Client) GetPromotion(ctx context.Context) (Promotion, error) {
	return read[Promotion](ctx, c, "/v1/policies/promotion", nil)
}

// StepPromotion has the promotion under way pause, resume, advance or abort.
func (c *Client) StepPromotion(ctx context.Context, step string, request ActOn, options ...Option) (Promotion, error) {
	return write[Promotion](ctx, c, http.MethodPost, at("/v1/policies/promotion/", step, ""), request, options)
}

// AcknowledgePromotion explains what the policies on their way into force deny newly.
func (c *Client) AcknowledgePromotion(ctx context.Context, request Acknowledge, options ...Option) (Promotion, error) {
	return write[Promotion](ctx, c, http.MethodPost, "/v1/policies/promotion/acknowledgements", request, options)
}

// What the calls about policies send and answer; see package policies.
type (
	Snapshot       = policies.Snapshot
	SnapshotDetail = policies.SnapshotDetail
	SnapshotChange = policies.SnapshotChange
	Confirmation   = policies.Confirmation
	PolicyProblem  = policies.PolicyProblem
	LibraryFile    = policies.LibraryFile
	PutSnapshot    = policies.PutSnapshot
	Policy         = policies.Policy
	SigningKey     = policies.SigningKey
	Promotion      = policies.Promotion
	Acknowledge    = policies.Acknowledge
)
