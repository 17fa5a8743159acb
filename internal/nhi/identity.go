package nhi

import "time"

// A Kind says what sort of actor an identity is.
type Kind string

// The kinds that can be taken in so far.
const (
	KindUnknown        Kind = ""
	KindUser           Kind = "iam-user"        // a cloud account's machine user
	KindRole           Kind = "iam-role"        // a role that workloads assume
	KindServiceAccount Kind = "service-account" // Kubernetes, directory or Muster account
	KindWorkload       Kind = "workload"        // attested by its platform's token
	KindCIJob          Kind = "ci-job"
	KindAgent          Kind = "agent" // an AI agent
	KindService        Kind = "cloud-service"
	KindPoint          Kind = "point"    // one of Muster's own enforcement points
	KindSource         Kind = "source"   // a log or scanner that reports to Muster
	KindOperator       Kind = "operator" // Muster's own administrative token
)

// A State is where an identity stands in its life.
type State string

// The states of an identity. The zero State counts as active only for
// identities that were read from a store; decisions treat an identity that
// they do not know as unknown, not as active.
const (
	Active      State = "active"
	Dormant     State = "dormant"
	Quarantined State = "quarantined" // nothing is allowed until lifted
	Deprecated  State = "deprecated"
	Retired     State = "retired" // gone at the provider; kept for the record
)

// A Class says whether an environment is production. Unknown is never a
// crossing, and is counted.
type Class string

// The classes of environment.
const (
	ClassUnknown  Class = "unknown"
	Production    Class = "production"
	Nonproduction Class = "nonproduction"
)

// An Environment is a name and its class. Only configuration assigns it; tags
// at the provider merely propose.
type Environment struct {
	Name  string `json:"name"`
	Class Class  `json:"class"`
}

// Crosses reports whether moving from e to other passes between production
// and non-production. Unknown never crosses.
func (e Environment) Crosses(other Environment) bool {
	return (e.Class == Production && other.Class == Nonproduction) ||
		(e.Class == Nonproduction && other.Class == Production)
}

// An Identity is one non-human identity. Name and every other text field come
// from outside and are hostile until escaped.
type Identity struct {
	ID          ID                `json:"id"`
	Kind        Kind              `json:"kind"`
	Provider    string            `json:"provider"` // aws, oidc, muster
	Account     string            `json:"account"`  // account, tenant or issuer within provider
	Native      string            `json:"native"`   // the provider's immutable id
	Name        string            `json:"name"`
	Path        string            `json:"path,omitempty"` // ARN, SPIFFE id or subject: how logs name it
	Environment Environment       `json:"environment"`
	Purpose     string            `json:"purpose,omitempty"`
	State       State             `json:"state"`
	Shadow      bool              `json:"shadow,omitempty"` // seen acting, in no inventory
	Owner       Owner             `json:"owner"`            // best supported owner; zero when unowned
	Risk        int               `json:"risk"`             // 0 to 100
	Labels      map[string]string `json:"labels,omitempty"` // tags at the provider, untrusted
	Created     time.Time         `json:"created,omitzero"` // at the provider
	FirstSeen   time.Time         `json:"first_seen,omitzero"`
	LastSeen    time.Time         `json:"last_seen,omitzero"` // last activity
	// Attestable is true when a trust rule lets this identity prove itself by
	// platform evidence, so that its static keys can be narrowed instead of
	// suspended.
	Attestable bool `json:"attestable,omitempty"`
	// NotBefore revokes every token of the identity issued earlier.
	NotBefore time.Time `json:"not_before,omitzero"`
	Alias     ID        `json:"alias,omitempty"` // set when merged: the id that lives on
}

// Owned reports whether somebody answers for the identity.
func (i *Identity) Owned() bool { return i.Owner.Ref != "" }

// An Owner answers for an identity: an e-mail address or "team:x".
type Owner struct {
	Ref        string  `json:"ref,omitempty"`
	Confidence float64 `json:"confidence,omitempty"` // 0 to 1
	Source     string  `json:"source,omitempty"`     // the evidence that decided
}

// OwnerEvidence is one reason to believe that Owner answers for Identity.
// Evidence is added, never overwritten.
type OwnerEvidence struct {
	Identity ID        `json:"identity"`
	Owner    string    `json:"owner"`
	Source   string    `json:"source"` // hand, tag:owner, tag:team, creator
	Detail   string    `json:"detail,omitempty"`
	At       time.Time `json:"at"`
}

// A Grant is a permission that an identity holds, as its provider writes it.
type Grant struct {
	ID       string `json:"id"` // derived from the other fields
	Identity ID     `json:"identity"`
	Kind     string `json:"kind"` // inline-policy, managed-policy, group-policy, trust, boundary
	Name     string `json:"name"` // the policy's name or ARN
	Document string `json:"document,omitempty"`
	Admin    bool   `json:"admin,omitempty"` // allows every action on every resource
}

// A Place is where something was seen or lies: a file in a repository, a
// message, an address.
type Place struct {
	Kind   string `json:"kind"` // file, repository, message, address
	Name   string `json:"name"` // path, URL or channel
	Line   int    `json:"line,omitempty"`
	Commit string `json:"commit,omitempty"`
	Public bool   `json:"public,omitempty"`
}

// An Observation is what a connector or a log tells about one account at one
// time. Inventory merges observations; the same one twice changes nothing.
type Observation struct {
	Provider    string          `json:"provider"`
	Account     string          `json:"account"`
	At          time.Time       `json:"at"`
	Identities  []Identity      `json:"identities"`
	Credentials []Credential    `json:"credentials"`
	Grants      []Grant         `json:"grants"`
	Owners      []OwnerEvidence `json:"owners"`
	// Complete lists the kinds of object of which this observation holds every
	// one in the account, so that what is missing is gone.
	Complete []string `json:"complete,omitempty"`
}
