package client

import (
	"encoding/json"
	"time"
)

// Replies are open: a later release may add fields. Requests are closed: an
// unknown field is refused. Times are RFC 3339 with a zone, durations are
// seconds, lists are never null.

// Environment is a name and its class: production, nonproduction or unknown.
type Environment struct {
	Name  string `json:"name"`
	Class string `json:"class" enum:"production,nonproduction,unknown"`
}

// Owner answers for an identity: an e-mail address or "team:x".
type Owner struct {
	Ref        string  `json:"ref" doc:"e-mail address or team:x; empty when nobody is known"`
	Confidence float64 `json:"confidence" minimum:"0" maximum:"1"`
	Source     string  `json:"source" doc:"the evidence that decided"`
}

// Identity is one non-human identity.
type Identity struct {
	ID          string      `json:"id"`
	Kind        string      `json:"kind"`
	Provider    string      `json:"provider"`
	Account     string      `json:"account"`
	Native      string      `json:"native" doc:"the provider's immutable id"`
	Name        string      `json:"name"`
	Path        string      `json:"path" doc:"ARN, SPIFFE id or subject"`
	Environment Environment `json:"environment"`
	State       string      `json:"state" enum:"active,dormant,quarantined,deprecated,retired"`
	Shadow      bool        `json:"shadow" doc:"seen acting, in no inventory"`
	Attestable  bool        `json:"attestable" doc:"can prove itself by platform evidence"`
	Owner       Owner       `json:"owner"`
	Risk        int         `json:"risk" minimum:"0" maximum:"100"`
	Created     *time.Time  `json:"created,omitempty"`
	FirstSeen   *time.Time  `json:"first_seen,omitempty"`
	LastSeen    *time.Time  `json:"last_seen,omitempty"`
}

// Facets count identities by the values of their fields.
type Facets struct {
	Facets  []Facet `json:"facets"`
	Total   int     `json:"total" doc:"how many identities there are in all, as far as they were counted"`
	AtLeast bool    `json:"at_least,omitempty" doc:"there are more than total"`
}

// Facet is how often each value of a field occurs. The filter's own terms on
// the field do not narrow it, so that the other values stay in sight.
type Facet struct {
	Field  string       `json:"field" doc:"as in the filter"`
	Values []FacetValue `json:"values" doc:"the most frequent first, at most 50"`
	// AtLeast is true when the filter asks for more than the fields with facets
	// and finds much: then only the first that were found are counted.
	AtLeast bool `json:"at_least,omitempty" doc:"only the first 10,000 identities that the filter found are counted"`
}

// FacetValue is one value of a facet. That of risk is the lower end of a band:
// 0, 1, 25, 50 or 75.
type FacetValue struct {
	Value string `json:"value" doc:"empty when the field has none"`
	Count int    `json:"count"`
}

// IdentityDetail is an identity with what belongs to it.
type IdentityDetail struct {
	Identity
	Credentials []Credential    `json:"credentials"`
	Grants      []Grant         `json:"grants"`
	Owners      []OwnerEvidence `json:"owners"`
	Normal      []Normal        `json:"normal" doc:"what is usual for it, by feature"`
	Reach       []string        `json:"reach"`
}

// Normal is the learned usual of one feature.
type Normal struct {
	Feature string   `json:"feature"`
	Usual   []string `json:"usual"`
}

// OwnerEvidence is one reason to believe who the owner is.
type OwnerEvidence struct {
	Owner  string    `json:"owner"`
	Source string    `json:"source"`
	Detail string    `json:"detail"`
	At     time.Time `json:"at"`
}

// Grant is a permission an identity holds.
type Grant struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Admin    bool   `json:"admin"`
	Document string `json:"document,omitempty"`
}

// Credential is something that proves an identity; never its value.
type Credential struct {
	ID       string     `json:"id"`
	Identity string     `json:"identity"`
	Kind     string     `json:"kind"`
	PublicID string     `json:"public_id"`
	State    string     `json:"state" enum:"active,narrowed,suspended,revoked"`
	Reason   string     `json:"reason"`
	Consumer string     `json:"consumer" doc:"identity that it is pinned to"`
	Known    bool       `json:"known" doc:"its value can be recognised when it leaks"`
	Created  *time.Time `json:"created,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
	LastUsed *time.Time `json:"last_used,omitempty"`
}

// CreateIdentity asks for a new identity of Muster's own.
type CreateIdentity struct {
	Name        string `json:"name" minLength:"1" maxLength:"200"`
	Kind        string `json:"kind,omitempty" enum:"service-account,workload,ci-job,agent" default:"service-account"`
	Environment string `json:"environment" maxLength:"100" doc:"name of an environment of the configuration"`
	Owner       string `json:"owner,omitempty" maxLength:"320" doc:"e-mail address or team:x"`
}

// SetOwner names the owner by hand.
type SetOwner struct {
	Owner string `json:"owner" maxLength:"320"`
}

// CreateCredential asks for a new API key.
type CreateCredential struct {
	ExpiresIn int64 `json:"expires_in,omitempty" minimum:"0" doc:"seconds; 0 means no expiry"`
}

// NewCredential shows a key's value for the only time.
type NewCredential struct {
	ID       string `json:"id"`
	Identity string `json:"identity"`
	Key      string `json:"key"`
}

// RegisterCredential takes an existing key in. The value is used to compute a
// verifier and a blind fingerprint, and is then forgotten.
type RegisterCredential struct {
	Kind     string `json:"kind" enum:"registered-key,aws-access-key" default:"registered-key"`
	PublicID string `json:"public_id,omitempty" maxLength:"256"`
	Value    string `json:"value" minLength:"16" maxLength:"16384"`
}

// PinCredential binds a credential to one consumer.
type PinCredential struct {
	Consumer string `json:"consumer" doc:"identity id; empty lifts the pin"`
}

// Place is where something was seen.
type Place struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Line   int    `json:"line,omitempty"`
	Commit string `json:"commit,omitempty"`
	Public bool   `json:"public,omitempty"`
}

// Feature is one reason: what is usual, what was seen, how surprising in bits.
type Feature struct {
	Name  string  `json:"name"`
	Usual string  `json:"usual"`
	Seen  string  `json:"seen"`
	Bits  float64 `json:"bits"`
}

// Finding is something wrong.
type Finding struct {
	ID         string    `json:"id"`
	Rule       string    `json:"rule"`
	Title      string    `json:"title"`
	Severity   string    `json:"severity" enum:"info,low,medium,high,critical"`
	Score      float64   `json:"score"`
	Status     string    `json:"status" enum:"open,acknowledged,resolved,dismissed"`
	Identity   string    `json:"identity"`
	Name       string    `json:"name,omitempty" doc:"name of the identity"`
	Credential string    `json:"credential"`
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
	DetectedAt time.Time `json:"detected_at"`
	Events     []string  `json:"events"`
	Count      int       `json:"count"`
	Features   []Feature `json:"features"`
	Sentence   string    `json:"sentence"`
	Owner      string    `json:"owner"`
	Reach      []string  `json:"reach"`
	Place      *Place    `json:"place,omitempty"`
	Action     *Action   `json:"action,omitempty" doc:"what was done about it"`
}

// SetFinding changes a finding's status.
type SetFinding struct {
	Status string `json:"status" enum:"open,acknowledged,resolved,dismissed"`
	Reason string `json:"reason,omitempty" maxLength:"1000"`
}

// Action is a containment step.
type Action struct {
	ID         string     `json:"id"`
	Measure    string     `json:"measure" enum:"narrow,suspend,quarantine,revoke"`
	Identity   string     `json:"identity"`
	Name       string     `json:"name,omitempty" doc:"name of the identity"`
	Credential string     `json:"credential"`
	Finding    string     `json:"finding"`
	Reason     string     `json:"reason"`
	Actor      string     `json:"actor"`
	Status     string     `json:"status" enum:"done,undone,proposed,refused"`
	At         time.Time  `json:"at"`
	UndoneAt   *time.Time `json:"undone_at,omitempty"`
	UndoneBy   string     `json:"undone_by,omitempty"`
	Generation uint64     `json:"generation"`
	Undoable   bool       `json:"undoable"`
}

// ActOn says why an action is undone or carried out.
type ActOn struct {
	Reason string `json:"reason,omitempty" maxLength:"1000" doc:"for the audit log"`
}

// Reason is one policy that determined a decision.
type Reason struct {
	Policy   string `json:"policy"`
	Position string `json:"position"`
	Text     string `json:"text"`
	Effect   string `json:"effect"`
}

// Obligation is what would unlock a step-up.
type Obligation struct {
	Kind  string `json:"kind" enum:"reattest,bind,approve,narrow"`
	Value string `json:"value,omitempty"`
}

// Decision is one answer given to a point.
type Decision struct {
	ID          string       `json:"id"`
	At          time.Time    `json:"at"`
	Outcome     string       `json:"outcome" enum:"allow,deny,step-up"`
	WouldRefuse bool         `json:"would_refuse"`
	Glass       string       `json:"glass,omitempty" doc:"serial of the break-glass code that let pass what would otherwise have been refused"`
	Approval    string       `json:"approval,omitempty" doc:"id of the approval that it used"`
	Obligations []Obligation `json:"obligations"`
	Reasons     []Reason     `json:"reasons"`
	Generation  uint64       `json:"generation"`
	Policy      string       `json:"policy"`
	Point       string       `json:"point"`
	PointName   string       `json:"point_name"`
	Identity    string       `json:"identity"`
	Name        string       `json:"name"`
	Credential  string       `json:"credential"`
	KeyID       string       `json:"key_id"`
	Method      string       `json:"method"`
	Assurance   int          `json:"assurance"`
	SenderBound bool         `json:"sender_bound"`
	Asserted    bool         `json:"asserted"`
	Consumer    bool         `json:"consumer" doc:"the credential's own workload proved itself beside it"`
	Reported    bool         `json:"reported" doc:"the point decided by itself, away from the server, and told later: nothing is learned from it"`
	Action      string       `json:"action"`
	Operation   string       `json:"operation"`
	Resource    string       `json:"resource"`
	Sensitivity int          `json:"sensitivity"`
	Address     string       `json:"address"`
	Country     string       `json:"country"`
	ASN         uint32       `json:"asn"`
	Network     string       `json:"network"`
	Agent       string       `json:"agent"`
	Risk        int          `json:"risk"`
	Surprise    float64      `json:"surprise" doc:"bits"`
	Features    []Feature    `json:"features"`
	Micros      float64      `json:"micros" doc:"microseconds spent deciding"`
}

// Rate counts the decisions of one minute.
type Rate struct {
	Minute time.Time `json:"minute"`
	Allow  int       `json:"allow"`
	StepUp int       `json:"step_up"`
	Deny   int       `json:"deny"`
	// WouldRefuse passed a point that only observes, although the policies
	// refuse it; Allow does not count it.
	WouldRefuse int `json:"would_refuse" doc:"passed a point that only observes, although the policies refuse it; allow does not count it"`
}

// Overview answers: is anything wrong, and are we protected?
type Overview struct {
	Demo        bool       `json:"demo"`
	Identities  int        `json:"identities"`
	Shadow      int        `json:"shadow"`
	Unowned     int        `json:"unowned"`
	Credentials int        `json:"credentials"`
	Static      int        `json:"static" doc:"credentials that never expire"`
	Contained   int        `json:"contained" doc:"credentials narrowed, suspended or revoked"`
	Findings    int        `json:"findings" doc:"open findings"`
	Critical    int        `json:"critical" doc:"open findings of severity critical"`
	Events      uint64     `json:"events"`
	Unparsable  uint64     `json:"unparsable"`
	PerSecond   float64    `json:"per_second" doc:"decisions a second over the last minute"`
	WouldRefuse uint64     `json:"would_refuse" doc:"requests that observing points let pass"`
	Unlogged    uint64     `json:"unlogged" doc:"decisions that could not be recorded"`
	Generation  uint64     `json:"generation"`
	Rates       []Rate     `json:"rates" doc:"the last 60 minutes"`
	Needs       []Finding  `json:"needs" doc:"open findings, worst first, at most ten"`
	Waiting     []Snapshot `json:"waiting" doc:"policies that wait for a second administrator, the oldest first; for who may read everything"`
	Points      []Point    `json:"points"`
	Unprotected []string   `json:"unprotected" doc:"points that only observe"`
	GeoBuilt    time.Time  `json:"geo_built"`
	GeoStale    bool       `json:"geo_stale"`
	Attribution string     `json:"attribution" doc:"of the network data"`
}

// Enrolled shows the key of a point or source for the only time.
type Enrolled struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// Source is an enrolled reporter of logs or sightings.
type Source struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Format   string    `json:"format"`
	Accounts []string  `json:"accounts"`
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled"`
	// Health is what this process heard of it since it started.
	Health SourceHealth `json:"health"`
}

// AddSource asks for a new source.
type AddSource struct {
	Name     string   `json:"name,omitempty" maxLength:"100"`
	Format   string   `json:"format" enum:"cloudtrail,scanner,text,receiver"`
	Accounts []string `json:"accounts,omitempty" maxItems:"1000"`
}

// ReportSighting tells that a secret was seen. It carries a fingerprint,
// never the secret.
type ReportSighting struct {
	Rule        string `json:"rule" maxLength:"100"`
	Provider    string `json:"provider,omitempty" maxLength:"100"`
	Kind        string `json:"kind,omitempty" maxLength:"100"`
	PublicID    string `json:"public_id,omitempty" maxLength:"256"`
	Fingerprint string `json:"fingerprint,omitempty" maxLength:"100"`
	Place       Place  `json:"place"`
}

// SightingReply says what a sighting was worth and what was done.
type SightingReply struct {
	ID         string  `json:"id"`
	Verdict    string  `json:"verdict" enum:"confirmed,forged,unproven,unknown"`
	Identity   string  `json:"identity,omitempty"`
	Credential string  `json:"credential,omitempty"`
	Finding    string  `json:"finding,omitempty"`
	Action     *Action `json:"action,omitempty"`
}

// EvaluateFingerprints carries blinded elements (RFC 9497), at most 100.
type EvaluateFingerprints struct {
	Blinded [][]byte `json:"blinded" maxItems:"100" minItems:"1"`
}

// EvaluatedFingerprints answers in the same order.
type EvaluatedFingerprints struct {
	Version   int      `json:"version"`
	Evaluated [][]byte `json:"evaluated"`
}

// ImportResult says what an import changed.
type ImportResult struct {
	Identities  int      `json:"identities"`
	Credentials int      `json:"credentials"`
	Grants      int      `json:"grants"`
	Owners      int      `json:"owners"`
	Changed     int      `json:"changed"`
	Retired     int      `json:"retired"`
	Problems    []string `json:"problems" doc:"objects that were left out, with the reason"`
	Generation  uint64   `json:"generation"`
}

// ImportPreview says what an import would change. Nothing was changed.
type ImportPreview struct {
	Identities  Difference `json:"identities"`
	Credentials Difference `json:"credentials" doc:"none is ever gone: an import takes no credential away"`
	Grants      Difference `json:"grants"`
	Missing     int        `json:"missing" doc:"identities that this import lacks for the first time; the next one that lacks them too retires them"`
	Changes     []Planned  `json:"changes" doc:"the first ten of each kind and way"`
	Problems    []string   `json:"problems" doc:"objects that would be left out, with the reason"`
}

// Difference counts what would become of things of one kind.
type Difference struct {
	New       int `json:"new"`
	Changed   int `json:"changed"`
	Gone      int `json:"gone" doc:"identities that would be retired, grants that would be taken away"`
	Unchanged int `json:"unchanged" doc:"those in the files that stay as they are"`
}

// Planned is one thing that would change.
type Planned struct {
	What     string   `json:"what" enum:"identity,credential,grant"`
	Change   string   `json:"change" enum:"new,changed,gone,missing"`
	ID       string   `json:"id"`
	Name     string   `json:"name" doc:"of the identity or the policy; the public id of a credential"`
	Identity string   `json:"identity,omitempty" doc:"whose credential or grant it is"`
	Fields   []string `json:"fields,omitempty" doc:"what would be different"`
}

// Received acknowledges activity: it is durable.
type Received struct {
	Events     int  `json:"events"`
	Unparsable int  `json:"unparsable"`
	Refused    int  `json:"refused" doc:"records about accounts the source may not speak for"`
	Sightings  int  `json:"sightings,omitempty"`
	Duplicate  bool `json:"duplicate" doc:"this very batch was received before"`
	// Newest is the time of the latest event, absent when there was none.
	Newest *time.Time `json:"newest,omitempty"`
}

// Document is a configuration file that is applied as a whole: routes,
// resources, trust or a policy.
type Document struct {
	Name    string    `json:"name"`
	Body    string    `json:"body"`
	Updated time.Time `json:"updated"`
}

// Entry is one act in the audit log.
type Entry struct {
	Seq     uint64          `json:"seq"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Act     string          `json:"act"`
	Target  string          `json:"target"`
	Reason  string          `json:"reason"`
	Outcome string          `json:"outcome"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Link is a one-time sign-in link.
type Link struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}
