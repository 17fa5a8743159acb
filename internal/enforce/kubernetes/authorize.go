package kubernetes

import (
	"net/http"

	"github.com/muster-id/muster/internal/nhi"
)

// A review is a SubjectAccessReview, as far as it matters here (Kubernetes API,
// authorization.k8s.io/v1).
type review struct {
	Version string `json:"apiVersion"`
	Kind    string `json:"kind"`
	Spec    struct {
		User        string              `json:"user"`
		UID         string              `json:"uid"`
		Groups      []string            `json:"groups"`
		Extra       map[string][]string `json:"extra"`
		Resource    *resourceAttributes `json:"resourceAttributes"`
		NonResource *pathAttributes     `json:"nonResourceAttributes"`
	} `json:"spec"`
}

type resourceAttributes struct {
	Namespace   string `json:"namespace"`
	Verb        string `json:"verb"`
	Group       string `json:"group"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Name        string `json:"name"`
}

type pathAttributes struct {
	Path string `json:"path"`
	Verb string `json:"verb"`
}

// A verdict is the answer to a SubjectAccessReview.
type verdict struct {
	Version string `json:"apiVersion"`
	Kind    string `json:"kind"`
	Status  status `json:"status"`
}

type status struct {
	Allowed bool   `json:"allowed"`
	Denied  bool   `json:"denied,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

const (
	reviewVersion = "authorization.k8s.io/v1"
	reviewKind    = "SubjectAccessReview"
)

// authorize answers a SubjectAccessReview.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request, point *nhi.Point, strict bool) {
	answer := status{Denied: true, Reason: "muster: denied by internal-error"}
	defer func() {
		if recover() != nil {
			// The value may hold anything, so it is not logged.
			h.c.Log.Error("panic while deciding: denied")
			answer = status{Denied: true, Reason: "muster: denied by internal-error"}
		}
		write(w, http.StatusOK, verdict{reviewVersion, reviewKind, answer})
	}()
	var asked review
	err := read(r, point, &asked)
	if err == nil && (asked.Version != reviewVersion || asked.Kind != reviewKind || asked.Spec.User == "") {
		err = errKind
	}
	want, ok := asked.access()
	if err == nil && !ok {
		err = errKind
	}
	if err != nil {
		h.c.Log.Warn("Kubernetes asked what cannot be read: denied", "point", point.ID, "error", err)
		answer.Reason = "muster: denied, " + err.Error()
		return
	}
	user := User{Name: asked.Spec.User, UID: asked.Spec.UID, Groups: asked.Spec.Groups, Extra: asked.Spec.Extra}
	hearing := h.hear(r.Context(), point, &user, &want, "")
	answer = h.opinion(hearing, h.decide(r.Context(), hearing), point, strict)
}

func (v *review) access() (a access, ok bool) {
	at, path := v.Spec.Resource, v.Spec.NonResource
	switch {
	case at != nil && path == nil:
		return access{verb: at.Verb, namespace: at.Namespace, group: at.Group, resource: at.Resource, name: at.Name, subresource: at.Subresource}, true
	case path != nil && at == nil:
		return access{verb: path.Verb, path: path.Path}, path.Path != ""
	}
	return access{}, false
}

// opinion says what the cluster is told of an outcome.
func (h *Handler) opinion(out *hearing, outcome nhi.Outcome, point *nhi.Point, strict bool) status {
	known := out.question.Known.Identity
	switch {
	case outcome == nhi.Allow && out.decision.WouldRefuse:
		if out.refused == "" && known || strict {
			return status{Reason: out.words("observes and would deny")}
		}
		return status{}
	case outcome == nhi.Allow:
		if h.granted(&out.decision) && point.Mode == nhi.Enforce && point.Percent >= 100 {
			return status{Allowed: true}
		}
		return status{}
	case strict || out.dead():
		return status{Denied: true, Reason: out.words("denied")}
	case out.refused != "" || !known || unpermitted(&out.decision):
		return status{Reason: out.words("no opinion")}
	}
	return status{Denied: true, Reason: out.words("denied")}
}

// granted reports whether somebody's own permit let it pass.
func (h *Handler) granted(d *nhi.Decision) bool {
	for i := range d.Reasons {
		if r := &d.Reasons[i]; r.Effect == "permit" && r.Policy != h.c.BasePermit {
			return true
		}
	}
	return false
}

// unpermitted reports whether nothing forbade it and only a permit is missing.
func unpermitted(d *nhi.Decision) bool {
	return d.Outcome == nhi.Deny && len(d.Reasons) == 1 && d.Reasons[0].Policy == "no-permit"
}
