package decision

import (
	"github.com/muster-id/muster/internal/nhi"
)

// breakGlass lets a point that is open by a break-glass code pass what it would
// refuse: for want of a permit, by a guard, because what is known is old, or
// because something would have to be proven or approved first. It opens no other
// door. These stay refused:
//
//   - who is not known to be alive, see living;
//   - a question that names no resource or no action, or one that the point does
//     not guard: it is asked without them;
//   - what comes through a point that is disabled or not known;
//   - what could not be decided at all, because something went wrong inside.
func (t *sitting) breakGlass(stands *Standing, q *nhi.Question, d *nhi.Decision) {
	glass := t.service.c.Glass
	if glass == nil || d.Outcome == nhi.Allow || q.Trial || !stands.PointKnown || stands.Point.Disabled {
		return
	}
	if q.Resource == "" || !q.Action.Valid() || !living(&q.Known) {
		return
	}
	if code := glass(stands.Point.ID, t.now); code != "" {
		d.Outcome, d.Glass, d.Obligations = nhi.Allow, code, nil
	}
}

// living reports whether who asks is in the inventory, in a state that is good,
// with nothing against what was presented. A credential that was narrowed because
// it leaked is alive only beside its own workload. A state that is not known is
// none.
func living(k *nhi.Known) bool {
	if !k.Identity || dead(k) {
		return false
	}
	switch k.IdentityState {
	case nhi.Active, nhi.Dormant, nhi.Deprecated, "":
	default:
		return false
	}
	return !k.Credential || k.CredentialState != nhi.CredentialNarrowed || k.ConsumerProven
}
