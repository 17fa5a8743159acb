package suite

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Facts are what a case says of a request, in the words and units that
// policies use. What is not said is as the comments say; a fact that has to be
// proven is not proven.
type Facts struct {
	Principal  *Principal  `yaml:"principal"`
	Credential *Credential `yaml:"credential"`
	Action     *string     `yaml:"action"` // read
	Resource   *Resource   `yaml:"resource"`
	Context    *Context    `yaml:"context"`
}

// A Principal is who asks.
type Principal struct {
	ID          *string `yaml:"id"`          // nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa
	Known       *bool   `yaml:"known"`       // true
	Kind        *string `yaml:"kind"`        // workload
	State       *string `yaml:"state"`       // active; empty when it is not known
	Owned       *bool   `yaml:"owned"`       // true
	Risk        *int    `yaml:"risk"`        // 0
	Environment *string `yaml:"environment"` // none
	Class       *string `yaml:"class"`       // unknown
}

// A Credential is what was presented. A case that says nothing of one presents
// a token.
type Credential struct {
	ID             *string `yaml:"id"`              // crd_aaaaaaaaaaaaaaaaaaaaaaaaaa
	Known          *bool   `yaml:"known"`           // true: a stored credential
	State          *string `yaml:"state"`           // active
	Pinned         *bool   `yaml:"pinned"`          // false
	ConsumerProven *bool   `yaml:"consumer_proven"` // false
	Expired        *bool   `yaml:"expired"`         // false
	Revoked        *bool   `yaml:"revoked"`         // false
}

// A Resource is what is accessed.
type Resource struct {
	ID           *string `yaml:"id"`          // test/resource
	Labelled     *bool   `yaml:"labelled"`    // true
	Sensitivity  *int    `yaml:"sensitivity"` // 0
	Environment  *string `yaml:"environment"` // none
	Class        *string `yaml:"class"`       // unknown
	Service      *string `yaml:"service"`
	Region       *string `yaml:"region"`
	Jurisdiction *string `yaml:"jurisdiction"`
}

// A Context is the rest of the request.
type Context struct {
	Assurance   *int         `yaml:"assurance"`    // 1, and 0 for a stored credential
	Method      *string      `yaml:"method"`       // token, and api-key for a stored credential
	SenderBound *bool        `yaml:"sender_bound"` // false
	Asserted    *bool        `yaml:"asserted"`     // false
	NewNetwork  *bool        `yaml:"new_network"`  // false, and so are the next four
	NewCountry  *bool        `yaml:"new_country"`
	NewAction   *bool        `yaml:"new_action"`
	NewAgent    *bool        `yaml:"new_agent"`
	Interactive *bool        `yaml:"interactive"`
	Surprise    *int         `yaml:"surprise"` // tenths of a bit
	Rate        *int         `yaml:"rate"`     // calls a minute, times 100
	Country     *string      `yaml:"country"`
	ASN         *int         `yaml:"asn"`
	Network     *string      `yaml:"network"`
	Agent       *string      `yaml:"agent"` // family
	Operation   *string      `yaml:"operation"`
	Point       *string      `yaml:"point"`
	Address     *string      `yaml:"address"` // none
	At          *time.Time   `yaml:"at"`      // 2026-01-05T12:00:00Z, a Monday
	Attestation *Attestation `yaml:"attestation"`
	Approval    *Approval    `yaml:"approval"`
	Purpose     *string      `yaml:"purpose"`
	Actors      *[]string    `yaml:"actors"` // who acts for the subject
}

// An Attestation is what a platform proved.
type Attestation struct {
	Method    *string        `yaml:"method"` // oidc
	Age       *time.Duration `yaml:"age"`    // 0s
	Level     *int           `yaml:"level"`  // 1
	Selectors *[]string      `yaml:"selectors"`
	Location  *Location      `yaml:"location"`
	Device    *Device        `yaml:"device"`
}

// A Location is where the attestation says the caller runs.
type Location struct {
	Provider  *string `yaml:"provider"`
	Account   *string `yaml:"account"`
	Region    *string `yaml:"region"`
	VPC       *string `yaml:"vpc"`
	Cluster   *string `yaml:"cluster"`
	Namespace *string `yaml:"namespace"`
	Node      *string `yaml:"node"`
}

// A Device is the machine that was proven.
type Device struct {
	ID         *string `yaml:"id"`
	Attested   *bool   `yaml:"attested"`
	SecureBoot *bool   `yaml:"secure_boot"`
	Image      *string `yaml:"image"`
}

// An Approval is what people said yes to.
type Approval struct {
	ID   *string        `yaml:"id"` // apr_test
	By   *[]string      `yaml:"by"`
	Left *time.Duration `yaml:"left"` // 10m
}

// with returns f with what over says in place of what f says.
func (f Facts) with(over Facts) Facts {
	return merged(reflect.ValueOf(f), reflect.ValueOf(over)).Interface().(Facts)
}

// merged merges structs whose fields are all pointers: those to structs of
// this package field by field.
func merged(base, over reflect.Value) reflect.Value {
	out := reflect.New(base.Type()).Elem()
	out.Set(base)
	for i := range over.NumField() {
		o, b := over.Field(i), base.Field(i)
		if o.IsNil() {
			continue
		}
		inner := o.Type().Elem()
		if b.IsNil() || inner.Kind() != reflect.Struct || inner == reflect.TypeFor[time.Time]() {
			out.Field(i).Set(o)
			continue
		}
		both := reflect.New(inner)
		both.Elem().Set(merged(b.Elem(), o.Elem()))
		out.Field(i).Set(both)
	}
	return out
}

// or returns what p points to, or what there is when nothing was said.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

var kinds = []nhi.Kind{
	nhi.KindUnknown, nhi.KindUser, nhi.KindRole, nhi.KindServiceAccount, nhi.KindWorkload, nhi.KindCIJob, nhi.KindAgent,
	nhi.KindService, nhi.KindPoint, nhi.KindSource, nhi.KindOperator,
}

var classes = []nhi.Class{"", nhi.ClassUnknown, nhi.Production, nhi.Nonproduction}

// oneOf says what is wrong with a word.
func oneOf[S ~string](what string, p *string, words []S) error {
	if p == nil || slices.Contains(words, S(*p)) {
		return nil
	}
	all := make([]string, 0, len(words))
	for _, w := range words {
		if w != "" {
			all = append(all, string(w))
		}
	}
	return fmt.Errorf("%s %.40q: want %s%s", what, *p, strings.Join(all, ", "), meant(*p, all))
}

// within says what is wrong with a number.
func within(what string, p *int, lo, hi int) error {
	if p == nil || *p >= lo && *p <= hi {
		return nil
	}
	return fmt.Errorf("%s is %d, want %d to %d", what, *p, lo, hi)
}

const maxCount = 1_000_000_000

// check says what is wrong with the facts, whatever stands in them.
func (f *Facts) check() error {
	if err := texts("", reflect.ValueOf(*f)); err != nil {
		return err
	}
	p, r, c := or(f.Principal, Principal{}), or(f.Resource, Resource{}), or(f.Context, Context{})
	if f.Action != nil && !nhi.ActionClass(*f.Action).Valid() {
		all := []string{"read", "list", "write", "delete", "admin", "issue", "exchange", "assume"}
		return fmt.Errorf("action %.40q: want %s%s", *f.Action, strings.Join(all, ", "), meant(*f.Action, all))
	}
	a := or(c.Attestation, Attestation{})
	err := errors.Join(
		oneOf("principal.kind", p.Kind, kinds),
		oneOf("principal.class", p.Class, classes),
		oneOf("resource.class", r.Class, classes),
		within("principal.risk", p.Risk, 0, 100),
		within("resource.sensitivity", r.Sensitivity, 0, nhi.MaxSensitivity),
		within("context.assurance", c.Assurance, int(nhi.AssuranceStatic), int(nhi.AssuranceAttested)),
		within("context.surprise", c.Surprise, 0, maxCount),
		within("context.rate", c.Rate, 0, maxCount),
		within("context.asn", c.ASN, 0, 1<<32-1),
		within("context.attestation.level", a.Level, 0, int(nhi.EvidenceHardware)),
	)
	if err == nil && c.Address != nil && *c.Address != "" {
		if _, bad := netip.ParseAddr(*c.Address); bad != nil {
			err = fmt.Errorf("context.address %.60q is no address, such as 192.0.2.7", *c.Address)
		}
	}
	if err == nil && or(a.Age, 0) < 0 {
		err = errors.New("context.attestation.age is below 0s")
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()[0]
	}
	return err
}

// texts bounds every text and list below v.
func texts(path string, v reflect.Value) error {
	for i := range v.NumField() {
		name := strings.TrimPrefix(path+"."+v.Type().Field(i).Tag.Get("yaml"), ".")
		f := v.Field(i)
		if f.IsNil() {
			continue
		}
		switch value := f.Interface().(type) {
		case *string:
			if err := printable(name, *value, maxText); err != nil {
				return err
			}
		case *[]string:
			if len(*value) > maxList {
				return fmt.Errorf("%s has over %d entries", name, maxList)
			}
			for _, s := range *value {
				if err := printable(name, s, maxText); err != nil {
					return err
				}
			}
		case *time.Time:
		default:
			if f.Elem().Kind() == reflect.Struct {
				if err := texts(name, f.Elem()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// standard is when a case plays that does not say so: a Monday, at noon.
var standard = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

// question makes the request of facts that were checked.
func (f *Facts) question() nhi.Question {
	p, r, c := or(f.Principal, Principal{}), or(f.Resource, Resource{}), or(f.Context, Context{})
	known := or(p.Known, true)
	state := nhi.State("")
	if known {
		state = nhi.Active
	}
	q := nhi.Question{
		Point: nhi.ID(or(c.Point, "")), Action: nhi.ActionClass(or(f.Action, string(nhi.Read))), Operation: or(c.Operation, ""),
		Resource: or(r.ID, "test/resource"), At: or(c.At, standard),
		Subject: nhi.Attested{
			Identity: nhi.ID(or(p.ID, "nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa")), Method: "token", Assurance: nhi.AssuranceShort,
			SenderBound: or(c.SenderBound, false), Asserted: or(c.Asserted, false),
		},
		Known: nhi.Known{
			Identity: known, Kind: nhi.Kind(or(p.Kind, string(nhi.KindWorkload))), IdentityState: nhi.State(or(p.State, string(state))),
			Owned: or(p.Owned, true), Risk: or(p.Risk, 0), IdentityEnvironment: environment(p.Environment, p.Class),
			Resource: or(r.Labelled, true), Sensitivity: or(r.Sensitivity, 0), ResourceEnvironment: environment(r.Environment, r.Class),
			Service: or(r.Service, ""), Region: or(r.Region, ""), Jurisdiction: or(r.Jurisdiction, ""),
			NewNetwork: or(c.NewNetwork, false), NewCountry: or(c.NewCountry, false), NewAction: or(c.NewAction, false), NewAgent: or(c.NewAgent, false),
			Interactive: or(c.Interactive, false), Surprise: or(c.Surprise, 0), RateHundreds: or(c.Rate, 0),
			Country: or(c.Country, ""), ASN: uint32(or(c.ASN, 0)), Network: or(c.Network, ""), AgentFamily: or(c.Agent, ""), Purpose: or(c.Purpose, ""),
		},
	}
	if c.Address != nil {
		q.Address, _ = netip.ParseAddr(*c.Address)
	}
	for _, id := range or(c.Actors, nil) {
		q.Subject.Actors = append(q.Subject.Actors, nhi.ID(id))
	}
	f.credential(&q)
	q.Subject.Method = or(c.Method, q.Subject.Method)
	q.Subject.Assurance = nhi.Assurance(or(c.Assurance, int(q.Subject.Assurance)))
	if c.Attestation != nil {
		q.Known.Attestation = c.Attestation.at(q.At)
	}
	if c.Approval != nil {
		q.Known.Approval = c.Approval.at(q.At)
	}
	return q
}

func environment(name, class *string) nhi.Environment {
	return nhi.Environment{Name: or(name, ""), Class: nhi.Class(or(class, string(nhi.ClassUnknown)))}
}

// credential adds what was presented.
func (f *Facts) credential(q *nhi.Question) {
	c := f.Credential
	if c == nil {
		return
	}
	q.Known.Credential = or(c.Known, true)
	if q.Known.Credential {
		q.Subject.Credential = nhi.CredentialID(or(c.ID, "crd_aaaaaaaaaaaaaaaaaaaaaaaaaa"))
		q.Known.CredentialState = nhi.CredentialState(or(c.State, string(nhi.CredentialActive)))
		q.Subject.Method, q.Subject.Assurance = "api-key", nhi.AssuranceStatic
	}
	q.Known.Pinned, q.Known.ConsumerProven = or(c.Pinned, false), or(c.ConsumerProven, false)
	q.Known.Expired, q.Known.Revoked = or(c.Expired, false), or(c.Revoked, false)
}

func (a *Attestation) at(now time.Time) *nhi.Attestation {
	l, d := or(a.Location, Location{}), or(a.Device, Device{})
	return &nhi.Attestation{
		Method: or(a.Method, "oidc"), At: now.Add(-or(a.Age, 0)), Level: nhi.EvidenceLevel(or(a.Level, int(nhi.EvidencePlatform))),
		Selectors: or(a.Selectors, nil),
		Location: nhi.Location{
			Provider: or(l.Provider, ""), Account: or(l.Account, ""), Region: or(l.Region, ""), VPC: or(l.VPC, ""),
			Cluster: or(l.Cluster, ""), Namespace: or(l.Namespace, ""), Node: or(l.Node, ""),
		},
		Device: nhi.Device{ID: or(d.ID, ""), Attested: or(d.Attested, false), SecureBoot: or(d.SecureBoot, false), Image: or(d.Image, "")},
	}
}

func (a *Approval) at(now time.Time) *nhi.Approval {
	out := &nhi.Approval{ID: or(a.ID, "apr_test"), State: nhi.ApprovalApproved, Expires: now.Add(or(a.Left, 10*time.Minute))}
	for _, person := range or(a.By, nil) {
		out.Votes = append(out.Votes, nhi.Vote{Person: person, Yes: true})
	}
	return out
}
