package kubernetes

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// An admission is an AdmissionReview as it is asked, as far as it matters here
// (Kubernetes API, admission.k8s.io/v1).
type admission struct {
	Version string `json:"apiVersion"`
	Kind    string `json:"kind"`
	Request *struct {
		UID         string         `json:"uid"`
		Operation   string         `json:"operation"`
		Namespace   string         `json:"namespace"`
		Name        string         `json:"name"`
		Subresource string         `json:"subResource"`
		DryRun      bool           `json:"dryRun"`
		Object      jsontext.Value `json:"object"`
		Options     jsontext.Value `json:"options"`
		Resource    struct {
			Group    string `json:"group"`
			Resource string `json:"resource"`
		} `json:"resource"`
		User struct {
			Name   string              `json:"username"`
			UID    string              `json:"uid"`
			Groups []string            `json:"groups"`
			Extra  map[string][]string `json:"extra"`
		} `json:"userInfo"`
	} `json:"request"`
}

// An admitted is the answer to an AdmissionReview.
type admitted struct {
	Version  string   `json:"apiVersion"`
	Kind     string   `json:"kind"`
	Response response `json:"response"`
}

type response struct {
	UID      string            `json:"uid"`
	Allowed  bool              `json:"allowed"`
	Status   *result           `json:"status,omitempty"`
	Audit    map[string]string `json:"auditAnnotations,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
}

// result is what of a Status (meta/v1) the caller is shown.
type result struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

const (
	admissionVersion = "admission.k8s.io/v1"
	admissionKind    = "AdmissionReview"
)

var operations = map[string]bool{"CREATE": true, "UPDATE": true, "DELETE": true, "CONNECT": true}

func refusal(uid, message string) response {
	return response{UID: uid, Status: &result{http.StatusForbidden, "Forbidden", message}}
}

// admit answers an AdmissionReview.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	var asked admission
	var answer response
	defer func() {
		if recover() != nil {
			// The value may hold anything, so it is not logged.
			h.c.Log.Error("panic while deciding: refused")
			answer = refusal(asked.uid(), "muster: refused by internal-error")
		}
		write(w, http.StatusOK, admitted{admissionVersion, admissionKind, answer})
	}()
	err := read(r, point, &asked)
	if err == nil && (asked.Version != admissionVersion || asked.Kind != admissionKind || asked.uid() == "" || !operations[asked.Request.Operation]) {
		err = errReview
	}
	if err != nil {
		h.c.Log.Warn("Kubernetes asked what cannot be read: refused", "point", point.ID, "error", err)
		answer = refusal(asked.uid(), "muster: refused, "+err.Error())
		return
	}
	request := asked.Request
	user := User{Name: request.User.Name, UID: request.User.UID, Groups: request.User.Groups, Extra: request.User.Extra}
	hearing := h.hear(r.Context(), point, &user, asked.access(), request.UID)
	q := &hearing.question
	if q.Target != "" {
		q.Target += "?sha256=" + digestOf(request.Object, request.Options)
	}
	if request.DryRun {
		q.Trial, q.Subject.Method = true, "kubernetes-dry-run"
	}
	answer = admissible(hearing, h.decide(r.Context(), hearing), request.UID)
}

// uid is what the answer has to repeat, empty when it cannot.
func (a *admission) uid() string {
	if a.Request == nil || len(a.Request.UID) > 128 {
		return ""
	}
	return a.Request.UID
}

func (a *admission) access() *access {
	r := a.Request
	return &access{
		verb: strings.ToLower(r.Operation), namespace: r.Namespace, group: r.Resource.Group, resource: r.Resource.Resource,
		name: r.Name, subresource: r.Subresource,
	}
}

// admissible says what the cluster is told of an outcome.
func admissible(out *hearing, outcome nhi.Outcome, uid string) response {
	d := &out.decision
	if outcome != nhi.Allow {
		answer := refusal(uid, out.words("refused"))
		answer.Audit = notes(d, outcome)
		return answer
	}
	answer := response{UID: uid, Allowed: true, Audit: notes(d, outcome)}
	if d.Glass != "" {
		answer.Audit["break-glass"] = d.Glass
		answer.Warnings = []string{clip("let pass by break-glass code " + d.Glass)}
	}
	if d.WouldRefuse {
		answer.Audit["would-refuse"] = "true"
		answer.Warnings = []string{clip(out.words("would refuse"))}
	}
	return answer
}

// notes are for the audit log of the cluster, which puts the name of the webhook
// before each.
func notes(d *nhi.Decision, outcome nhi.Outcome) map[string]string {
	return map[string]string{"decision": d.ID, "outcome": string(outcome)}
}

// clip cuts a warning to what API servers pass on whole: 256 characters.
func clip(s string) string { return s[:min(len(s), 256)] }

// grown are the members of an object's metadata that the API server sets anew
// with each attempt.
var grown = [...]string{"uid", "creationTimestamp", "resourceVersion", "generation", "managedFields"}

// digestOf is the digest of what is to be written and how, without what the API
// server adds to each attempt; empty for what has none.
func digestOf(object, options jsontext.Value) string {
	if len(options) == 0 {
		options = jsontext.Value("null")
	}
	var members map[string]jsontext.Value
	if object.Kind() == '{' && json.Unmarshal(object, &members) == nil {
		var metadata map[string]jsontext.Value
		if at := members["metadata"]; at.Kind() == '{' && json.Unmarshal(at, &metadata) == nil {
			for _, name := range grown {
				delete(metadata, name)
			}
			members["metadata"], _ = json.Marshal(metadata)
		}
		object, _ = json.Marshal(members)
	}
	if len(object) == 0 {
		object = jsontext.Value("null")
	}
	digest, err := enforce.Digest(slices.Concat([]byte("["), object, []byte(","), options, []byte("]")))
	if err != nil {
		return ""
	}
	return digest
}
