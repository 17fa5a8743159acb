package authzen

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/muster-id/muster/internal/nhi"
)

// Bounds on a question.
const (
	maxDepth = 16
	maxName  = 1024 // bytes of a type, id or action name
)

// A request is the wire form (AuthZEN 1.0, section 5). Types of the members
// that are ours to read are strict; everything else may be anything.
type request struct {
	Subject  *entity `json:"subject"`
	Resource *entity `json:"resource"`
	Action   *struct {
		Name       string `json:"name"`
		Properties struct {
			Class nhi.ActionClass `json:"class"`
		} `json:"properties"`
	} `json:"action"`
	Context struct {
		IP    string `json:"ip"`
		Agent string `json:"user_agent"`
	} `json:"context"`
}

type entity struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Why a question is refused. The texts go to the point.
var (
	errDepth    = errors.New("the question is nested too deeply")
	errJSON     = errors.New("the question is not a JSON object of the right shape, or repeats a name")
	errSubject  = errors.New("subject.type and subject.id are required")
	errResource = errors.New("resource.type and resource.id are required")
	errAction   = errors.New("action.name is required")
	errLong     = errors.New("a type, id or name is too long")
	errIP       = errors.New("context.ip is not an address")
)

// decode reads a question from the body of a request. Ours is the time.
func decode(body []byte) (nhi.Question, error) {
	if tooDeep(body) {
		return nhi.Question{}, errDepth
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		// The error would quote the body, which may hold secrets.
		return nhi.Question{}, errJSON
	}
	switch {
	case req.Subject == nil || req.Subject.Type == "" || req.Subject.ID == "":
		return nhi.Question{}, errSubject
	case req.Resource == nil || req.Resource.Type == "" || req.Resource.ID == "":
		return nhi.Question{}, errResource
	case req.Action == nil || req.Action.Name == "":
		return nhi.Question{}, errAction
	case max(len(req.Subject.Type), len(req.Subject.ID), len(req.Resource.Type), len(req.Resource.ID), len(req.Action.Name)) > maxName:
		return nhi.Question{}, errLong
	}
	q := nhi.Question{
		Subject:   nhi.Attested{Identity: identity(req.Subject.ID), Method: "asserted", Asserted: true},
		Action:    class(req.Action.Name, req.Action.Properties.Class),
		Operation: req.Action.Name,
		Resource:  req.Resource.ID,
		Agent:     req.Context.Agent[:min(len(req.Context.Agent), 512)],
		At:        time.Now(),
	}
	if req.Context.IP != "" {
		address, err := netip.ParseAddr(req.Context.IP)
		if err != nil || address.Zone() != "" {
			return nhi.Question{}, errIP
		}
		q.Address = address.Unmap()
	}
	return q, nil
}

// identity returns the identity that a subject's id names: an identity's id,
// or a SPIFFE id of ours, which ends in one. An id of another shape names
// nobody we know.
func identity(id string) nhi.ID {
	if strings.HasPrefix(id, "spiffe://") {
		_, id, _ = strings.Cut(id, "/nhi/")
	}
	if candidate := nhi.ID(id); candidate.Valid() {
		return candidate
	}
	return ""
}

// class returns the class of an action: its name when that is one, else what
// the point says in the properties, else what an HTTP method usually does.
// Without one the action is of no class, which no policy permits.
func class(name string, said nhi.ActionClass) nhi.ActionClass {
	if c := nhi.ActionClass(name); c.Valid() {
		return c
	}
	if said.Valid() {
		return said
	}
	switch name {
	case "GET", "HEAD":
		return nhi.Read
	case "POST", "PUT", "PATCH":
		return nhi.Write
	case "DELETE":
		return nhi.Delete
	}
	return ""
}

// tooDeep reports whether the nesting of a JSON text exceeds maxDepth. It
// looks at brackets outside strings and leaves all else to the parser.
func tooDeep(body []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
