package authzen

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/awsops"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Bounds on a question.
const (
	maxDepth = 16
	maxName  = 1024 // bytes of a type, id or action name

	maxObligations = 64 // types that a point declares
)

// A tuple is the wire form of a question (AuthZEN 1.0, section 5). The types of
// members that are ours to read are strict; everything else may be anything. A
// member that is null is absent.
type tuple struct {
	Subject  *entity      `json:"subject"`
	Action   *action      `json:"action"`
	Resource *entity      `json:"resource"`
	Context  *environment `json:"context"`
}

type entity struct {
	Type       string         `json:"type"`
	ID         string         `json:"id"`
	Properties jsontext.Value `json:"properties"`
}

type action struct {
	Name       string         `json:"name"`
	Properties jsontext.Value `json:"properties"`
}

type environment struct {
	IP    string `json:"ip"`
	Agent string `json:"user_agent"`
	// Obligations are the types that the point can comply with; nil when it does
	// not say.
	Obligations *[]string  `json:"supported_obligations"`
	Approval    *presented `json:"approval"`
}

// Why a question is refused. The texts go to the point.
var (
	errDepth    = errors.New("the question is nested too deeply")
	errJSON     = errors.New("the question is not a JSON object of the right shape, or repeats a name")
	errSubject  = errors.New("subject.type and subject.id are required")
	errResource = errors.New("resource.type and resource.id are required")
	errAction   = errors.New("action.name is required")
	errMany     = errors.New("context.supported_obligations has more than 64 entries")
	errLong     = errors.New("a type, id or name is too long")
	errIP       = errors.New("context.ip is not an address")
	errClass    = errors.New("action.properties is not an object whose class is a string")
)

// parse reads the body of a request into v. Names are compared exactly, a
// repeated one is an error, and unknown ones are passed over.
func parse(body []byte, v any) error {
	if enforce.TooDeep(body, maxDepth) {
		return errDepth
	}
	err := json.Unmarshal(body, v)
	if errors.Is(err, errItems) {
		return errItems
	}
	if err != nil { // it would quote the body, which may hold secrets
		return errJSON
	}
	return nil
}

// complete returns what of a question is missing or out of bounds.
func (t *tuple) complete() error {
	switch {
	case t.Subject == nil || t.Subject.Type == "" || t.Subject.ID == "":
		return errSubject
	case t.Resource == nil || t.Resource.Type == "" || t.Resource.ID == "":
		return errResource
	case t.Action == nil || t.Action.Name == "":
		return errAction
	}
	return t.bounded()
}

// bounded returns errLong if a name is too long.
func (t *tuple) bounded() error {
	for _, e := range [...]*entity{t.Subject, t.Resource} {
		if e != nil && max(len(e.Type), len(e.ID)) > maxName {
			return errLong
		}
	}
	if t.Action != nil && len(t.Action.Name) > maxName {
		return errLong
	}
	return nil
}

// question translates a complete tuple into q, which is zero. Ours is the time.
func (t *tuple) question(q *nhi.Question, now time.Time, by reading) (err error) {
	q.Subject.Identity, q.Subject.Method, q.Subject.Asserted = identity(t.Subject.ID, by.domain), "asserted", true
	q.Operation, q.Resource, q.At = t.Action.Name, t.Resource.ID, now
	q.Target = t.Action.Name // whole, however long: the operation may be cut
	q.Said = nhi.Wording{ResourceType: t.Resource.Type, Action: t.Action.Properties, Resource: t.Resource.Properties}
	if q.Action, err = t.Action.class(); err != nil {
		return err
	}
	if err := t.Context.describe(q); err != nil {
		return err
	}
	if by.hearsay {
		q.Hearsay = &nhi.Hearsay{
			SubjectType: t.Subject.Type, Subject: t.Subject.ID, SubjectProperties: t.Subject.Properties,
			ResourceType: t.Resource.Type, Resource: t.Resource.ID, ResourceProperties: t.Resource.Properties,
			Action: t.Action.Name, ActionProperties: t.Action.Properties,
		}
	}
	return nil
}

// describe adds where the request comes from and with which program. A point
// can say nothing else that Muster believes.
func (e *environment) describe(q *nhi.Question) error {
	if e == nil {
		return nil
	}
	if e.Obligations != nil && len(*e.Obligations) > maxObligations {
		return errMany
	}
	q.Agent = e.Agent[:min(len(e.Agent), 512)]
	if e.IP == "" {
		return nil
	}
	address, err := netip.ParseAddr(e.IP)
	if err != nil || address.Zone() != "" {
		return errIP
	}
	q.Address = address.Unmap()
	return nil
}

// identity returns the identity that a subject's id names: an identity's id,
// or a SPIFFE id of ours, which ends in one and is of our trust domain: any other
// domain can write what it likes behind its name. An id of another shape names
// nobody we know.
func identity(id, domain string) nhi.ID {
	if rest, ok := strings.CutPrefix(id, "spiffe://"); ok {
		var of string
		if of, id, _ = strings.Cut(rest, "/nhi/"); of != domain || domain == "" {
			return ""
		}
	}
	if candidate := nhi.ID(id); candidate.Valid() {
		return candidate
	}
	return ""
}

// class returns the class of an action: its name when that is one, what it does
// when it is an operation of AWS whose name tells (s3:GetObject), else what
// the point says in the properties, else what an HTTP method usually does.
// Without one the action is of no class, which no policy permits.
func (a *action) class() (nhi.ActionClass, error) {
	var said struct {
		Class nhi.ActionClass `json:"class"`
	}
	if len(a.Properties) > 0 {
		if err := json.Unmarshal(a.Properties, &said); err != nil {
			return "", errClass
		}
	}
	if c := nhi.ActionClass(a.Name); c.Valid() {
		return c, nil
	}
	if service, op, ok := awsops.Split(a.Name); ok {
		if class, known := awsops.Class(service, op, false); known || !said.Class.Valid() {
			return class, nil
		}
	}
	if said.Class.Valid() {
		return said.Class, nil
	}
	switch a.Name {
	case "GET", "HEAD":
		return nhi.Read, nil
	case "POST", "PUT", "PATCH":
		return nhi.Write, nil
	case "DELETE":
		return nhi.Delete, nil
	}
	return "", nil
}
