package nhi

// An ActionClass is what a request does to a resource, in the words that
// policies use.
type ActionClass string

// The classes of action.
const (
	Read     ActionClass = "read"
	List     ActionClass = "list"
	Write    ActionClass = "write"
	Delete   ActionClass = "delete"
	Admin    ActionClass = "admin"
	Issue    ActionClass = "issue"
	Exchange ActionClass = "exchange"
	Assume   ActionClass = "assume"
)

// Valid reports whether c is a known class.
func (c ActionClass) Valid() bool {
	switch c {
	case Read, List, Write, Delete, Admin, Issue, Exchange, Assume:
		return true
	}
	return false
}

// MaxSensitivity is the highest sensitivity a resource can have; the lowest
// is 0.
const MaxSensitivity = 4

// A Resource is what is accessed.
type Resource struct {
	ID           ResourceID  `json:"id" yaml:"-"`
	Name         string      `json:"name" yaml:"id"` // the id people write, such as payments/api
	Environment  Environment `json:"environment" yaml:"-"`
	Sensitivity  int         `json:"sensitivity" yaml:"sensitivity"` // 0 to 4
	Assumed      bool        `json:"assumed,omitempty" yaml:"-"`     // sensitivity was not set by anybody
	Service      string      `json:"service,omitempty" yaml:"service"`
	Region       string      `json:"region,omitempty" yaml:"region"`
	Jurisdiction string      `json:"jurisdiction,omitempty" yaml:"jurisdiction"`
}

// AssumedSensitivity is the sensitivity of a resource that nobody labelled.
func AssumedSensitivity(class Class) int {
	if class == Production {
		return 3
	}
	return 2
}

// A Route maps requests at a point to a resource and to action classes.
type Route struct {
	Host        string                 `json:"host" yaml:"host"`
	Path        string                 `json:"path" yaml:"path"` // /payments/{id}; a trailing /{rest...} matches any depth
	Methods     map[string]ActionClass `json:"methods" yaml:"methods"`
	Resource    string                 `json:"resource" yaml:"resource"`
	Sensitivity *int                   `json:"sensitivity,omitempty" yaml:"sensitivity,omitempty"` // may raise, never lower
	Purpose     string                 `json:"purpose,omitempty" yaml:"purpose,omitempty"`         // what requests on it are for; empty: anything
}
