package policy

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// An attr is a set of attribute names of the schema. One name is one bit,
// whichever entity has it.
type attr uint64

const (
	attrKnown attr = 1 << iota
	attrState
	attrOwned
	attrRisk
	attrEnvironment
	attrClass
	attrPinned
	attrConsumerProven
	attrExpired
	attrRevoked
	attrLabelled
	attrSensitivity
	attrService
	attrRegion
	attrJurisdiction
	attrCredential
	attrAssurance
	attrMethod
	attrSenderBound
	attrAsserted
	attrNewNetwork
	attrNewCountry
	attrNewAction
	attrNewAgent
	attrInteractive
	attrSurprise
	attrRate
	attrCountry
	attrASN
	attrNetwork
	attrAgent
	attrOperation
	attrPoint
	attrNow
	attrAddress
	attrAttestation
	attrLocation
	attrDevice
	attrPurpose
	attrDelegation
	attrZones
	attrApproval
	attrAll = 1<<iota - 1
)

var attrByName = map[types.String]attr{
	"known": attrKnown, "state": attrState, "owned": attrOwned, "risk": attrRisk,
	"environment": attrEnvironment, "class": attrClass,
	"pinned": attrPinned, "consumerProven": attrConsumerProven, "expired": attrExpired, "revoked": attrRevoked,
	"labelled": attrLabelled, "sensitivity": attrSensitivity,
	"service": attrService, "region": attrRegion, "jurisdiction": attrJurisdiction,
	"credential": attrCredential, "assurance": attrAssurance, "method": attrMethod,
	"senderBound": attrSenderBound, "asserted": attrAsserted,
	"newNetwork": attrNewNetwork, "newCountry": attrNewCountry, "newAction": attrNewAction, "newAgent": attrNewAgent,
	"interactive": attrInteractive, "surprise": attrSurprise, "rate": attrRate,
	"country": attrCountry, "asn": attrASN, "network": attrNetwork, "agent": attrAgent,
	"operation": attrOperation, "point": attrPoint, "now": attrNow, "address": attrAddress,
	"attestation": attrAttestation, "location": attrLocation, "device": attrDevice, "purpose": attrPurpose,
	"delegation": attrDelegation, "zones": attrZones, "approval": attrApproval,
}

// A requestShape is what the policies of a set can see of a request. What
// none of them names is left out: no policy could notice, and requests that
// differ only in it share their records.
type requestShape struct {
	uses        attr
	credentials map[types.EntityUID]struct{} // credentials that some policy names
	parents     map[types.EntityUID]struct{} // identities and environments that some policy names
	allParents  bool                         // some policy computes the right side of an "in"
	zones       []clause.Zone                // that some policy names

	principals memo[principalKey, types.Record]
	resources  memo[resourceKey, types.Record]
	creds      memo[credentialKey, types.Record]
	contexts   memo[contextKey, types.Record]
	ancestors  memo[[2]types.EntityUID, types.EntityUIDSet]
}

func newRequestShape(rules []*rule) requestShape {
	s := requestShape{
		credentials: map[types.EntityUID]struct{}{}, parents: map[types.EntityUID]struct{}{},
		principals: newMemo[principalKey, types.Record](1 << 10), resources: newMemo[resourceKey, types.Record](1 << 10),
		creds: newMemo[credentialKey, types.Record](1 << 6), contexts: newMemo[contextKey, types.Record](1 << 12),
		ancestors: newMemo[[2]types.EntityUID, types.EntityUIDSet](1 << 10),
	}
	for _, r := range rules {
		s.uses |= r.sees.uses
		s.allParents = s.allParents || r.sees.allParents
		for _, uid := range r.sees.credentials {
			s.credentials[uid] = struct{}{}
		}
		for _, uid := range r.sees.parents {
			s.parents[uid] = struct{}{}
		}
		s.zones = append(s.zones, r.zones...)
	}
	slices.SortFunc(s.zones, func(a, b clause.Zone) int { return strings.Compare(string(a.Name), string(b.Name)) })
	s.zones = slices.CompactFunc(s.zones, func(a, b clause.Zone) bool { return a.Name == b.Name })
	return s
}

// A sight is what one policy can observe of a request.
type sight struct {
	uses                 attr
	credentials, parents []types.EntityUID // that it names
	allParents           bool              // it computes the right side of an "in"
}

func sightOf(p *ast.Policy) (s sight) {
	bare, accessed := 0, 0 // mentions of context, and those that take one attribute
	access := func(arg ast.IsNode, name types.String) {
		s.uses |= attrByName[name]
		if clause.IsContext(arg) {
			accessed++
		}
	}
	clause.Inspect(p, s.name, func(n ast.IsNode) {
		switch n := n.(type) {
		case ast.NodeTypeAccess:
			access(n.Arg, n.Value)
		case ast.NodeTypeHas:
			access(n.Arg, n.Value)
		case ast.NodeTypeIn:
			s.allParents = s.allParents || !clause.IsLiteral(n.Right)
		case ast.NodeTypeIsIn:
			s.allParents = s.allParents || !clause.IsLiteral(n.Entity)
		case ast.NodeTypeVariable:
			if clause.IsContext(n) {
				bare++
			}
		}
	})
	if bare > accessed { // the whole record is compared or passed on
		s.uses = attrAll
	}
	return s
}

// name notes that a policy names uid.
func (s *sight) name(uid types.EntityUID) {
	switch uid.Type {
	case typeCredential:
		s.credentials = append(s.credentials, uid)
	case typeIdentity, typeEnvironment:
		s.parents = append(s.parents, uid)
	}
}

// namedParents returns those of uids that a policy can tell apart from none.
func (s *requestShape) namedParents(uids ...types.EntityUID) types.EntityUIDSet {
	var found [2]types.EntityUID
	n := 0
	for _, uid := range uids {
		if _, ok := s.parents[uid]; ok || s.allParents {
			found[n] = uid
			n++
		}
	}
	if n == 0 {
		return types.EntityUIDSet{}
	}
	return s.ancestors.get(found, func(found *[2]types.EntityUID) types.EntityUIDSet {
		return types.NewEntityUIDSet(found[:n]...)
	})
}

// entityType is the type of principal that an identity of kind k is.
func entityType(k nhi.Kind) types.EntityType {
	switch k {
	case nhi.KindUser:
		return "User"
	case nhi.KindRole:
		return "Role"
	case nhi.KindServiceAccount:
		return "ServiceAccount"
	case nhi.KindWorkload:
		return "Workload"
	case nhi.KindCIJob:
		return "CIJob"
	case nhi.KindAgent:
		return "Agent"
	case nhi.KindService:
		return "Service"
	case nhi.KindPoint:
		return "Point"
	case nhi.KindSource:
		return "Source"
	case nhi.KindOperator:
		return "Operator"
	}
	return "Unknown"
}

// isKind reports whether t is a type of principal.
func isKind(t types.EntityType) bool {
	switch t {
	case "User", "Role", "ServiceAccount", "Workload", "CIJob", "Agent", "Service", "Point", "Source", "Operator", "Unknown":
		return true
	}
	return false
}

// The keys below hold what a record is made of, so that equal keys mean equal
// records. Truths are bits of the attributes that are true.

type principalKey struct {
	truths             attr
	risk               int
	state              nhi.State
	environment, class string
}

type resourceKey struct {
	truths                        attr
	sensitivity                   int
	environment, class            string
	service, region, jurisdiction string
}

type credentialKey struct {
	truths attr
	state  nhi.CredentialState
}

type contextKey struct {
	truths                    attr
	credential                types.EntityUID
	assurance, surprise, rate int
	asn                       uint32
	method, country, network  string
	agent, operation, point   string
	address                   netip.Addr
	location                  nhi.Location
	purpose                   string
}

// when returns a if b is true.
func when(b bool, a attr) attr {
	if b {
		return a
	}
	return 0
}

// pick returns v if a is used, so that unused text keeps no two keys apart.
func pick[T any](uses, a attr, v T) T {
	if uses&a == 0 {
		var zero T
		return zero
	}
	return v
}

func (s *requestShape) principal(k *nhi.Known) types.Record {
	u := s.uses
	key := principalKey{
		truths:      u & (when(k.Identity, attrKnown) | when(k.Owned, attrOwned)),
		risk:        pick(u, attrRisk, k.Risk),
		state:       pick(u, attrState, k.IdentityState),
		environment: pick(u, attrEnvironment, k.IdentityEnvironment.Name),
		class:       pick(u, attrClass, string(k.IdentityEnvironment.Class)),
	}
	return s.principals.get(key, func(key *principalKey) types.Record {
		f := fields{uses: u, truths: key.truths, m: make(types.RecordMap, 6)}
		f.truth("known", attrKnown)
		f.truth("owned", attrOwned)
		f.number("risk", attrRisk, key.risk)
		f.text("state", attrState, string(key.state))
		f.text("environment", attrEnvironment, key.environment)
		f.text("class", attrClass, key.class)
		return types.NewRecord(f.m)
	})
}

func (s *requestShape) resource(k *nhi.Known) types.Record {
	u := s.uses
	key := resourceKey{
		truths:       u & when(k.Resource, attrLabelled),
		sensitivity:  pick(u, attrSensitivity, k.Sensitivity),
		environment:  pick(u, attrEnvironment, k.ResourceEnvironment.Name),
		class:        pick(u, attrClass, string(k.ResourceEnvironment.Class)),
		service:      pick(u, attrService, k.Service),
		region:       pick(u, attrRegion, k.Region),
		jurisdiction: pick(u, attrJurisdiction, k.Jurisdiction),
	}
	return s.resources.get(key, func(key *resourceKey) types.Record {
		f := fields{uses: u, truths: key.truths, m: make(types.RecordMap, 7)}
		f.truth("labelled", attrLabelled)
		f.number("sensitivity", attrSensitivity, key.sensitivity)
		f.text("environment", attrEnvironment, key.environment)
		f.text("class", attrClass, key.class)
		f.text("service", attrService, key.service)
		f.text("region", attrRegion, key.region)
		f.text("jurisdiction", attrJurisdiction, key.jurisdiction)
		return types.NewRecord(f.m)
	})
}

func (s *requestShape) credential(k *nhi.Known) types.Record {
	u := s.uses
	key := credentialKey{
		truths: u & (when(k.Credential, attrKnown) | when(k.Pinned, attrPinned) |
			when(k.ConsumerProven, attrConsumerProven) | when(k.Expired, attrExpired) | when(k.Revoked, attrRevoked)),
		state: pick(u, attrState, k.CredentialState),
	}
	return s.creds.get(key, func(key *credentialKey) types.Record {
		f := fields{uses: u, truths: key.truths, m: make(types.RecordMap, 6)}
		f.truth("known", attrKnown)
		f.truth("pinned", attrPinned)
		f.truth("consumerProven", attrConsumerProven)
		f.truth("expired", attrExpired)
		f.truth("revoked", attrRevoked)
		f.text("state", attrState, string(key.state))
		return types.NewRecord(f.m)
	})
}

// context builds the record of the request itself. credential is what stands
// for the credential in it.
func (s *requestShape) context(q *nhi.Question, credential types.EntityUID) types.Record {
	u, k := s.uses, &q.Known
	key := contextKey{
		truths: u & (when(q.Subject.SenderBound, attrSenderBound) | when(q.Subject.Asserted, attrAsserted) |
			when(k.NewNetwork, attrNewNetwork) | when(k.NewCountry, attrNewCountry) |
			when(k.NewAction, attrNewAction) | when(k.NewAgent, attrNewAgent) | when(k.Interactive, attrInteractive)),
		credential: pick(u, attrCredential, credential),
		assurance:  pick(u, attrAssurance, int(q.Subject.Assurance)),
		surprise:   pick(u, attrSurprise, k.Surprise),
		rate:       pick(u, attrRate, k.RateHundreds),
		asn:        pick(u, attrASN, k.ASN),
		method:     pick(u, attrMethod, q.Subject.Method),
		country:    pick(u, attrCountry, k.Country),
		network:    pick(u, attrNetwork, k.Network),
		agent:      pick(u, attrAgent, k.AgentFamily),
		operation:  pick(u, attrOperation, q.Operation),
		point:      pick(u, attrPoint, string(q.Point)),
	}
	if u&attrAddress != 0 {
		key.address = q.Address.Unmap().WithZone("")
	}
	if u&attrLocation != 0 && k.Attestation != nil {
		key.location = k.Attestation.Location
	}
	key.purpose = pick(u, attrPurpose, k.Purpose)
	if u&fleeting != 0 {
		f := contextFields(&key, u)
		s.addFleeting(&f, q)
		return types.NewRecord(f.m)
	}
	return s.contexts.get(key, func(key *contextKey) types.Record { return types.NewRecord(contextFields(key, u).m) })
}

// contextFields are the attributes of the request that keep their value from
// one request to the next.
func contextFields(key *contextKey, uses attr) fields {
	f := fields{uses: uses, truths: key.truths, m: make(types.RecordMap, 28)}
	f.truth("senderBound", attrSenderBound)
	f.truth("asserted", attrAsserted)
	f.truth("newNetwork", attrNewNetwork)
	f.truth("newCountry", attrNewCountry)
	f.truth("newAction", attrNewAction)
	f.truth("newAgent", attrNewAgent)
	f.truth("interactive", attrInteractive)
	f.value("credential", attrCredential, key.credential)
	f.number("assurance", attrAssurance, key.assurance)
	f.number("surprise", attrSurprise, key.surprise)
	f.number("rate", attrRate, key.rate)
	f.number("asn", attrASN, int(key.asn))
	f.text("method", attrMethod, key.method)
	f.text("country", attrCountry, key.country)
	f.text("network", attrNetwork, key.network)
	f.text("agent", attrAgent, key.agent)
	f.text("operation", attrOperation, key.operation)
	f.text("point", attrPoint, key.point)
	if key.address.IsValid() {
		f.value("address", attrAddress, types.IPAddr(netip.PrefixFrom(key.address, key.address.BitLen())))
	}
	if uses&attrLocation != 0 {
		f.value("location", attrLocation, location(&key.location))
	}
	if key.purpose != "" {
		f.text("purpose", attrPurpose, key.purpose)
	}
	return f
}

// fields gathers the attributes of a record that are used.
type fields struct {
	uses, truths attr
	m            types.RecordMap
}

func (f *fields) value(name types.String, a attr, v types.Value) {
	if f.uses&a != 0 {
		f.m[name] = v
	}
}

func (f *fields) truth(name types.String, a attr) {
	f.value(name, a, types.Boolean(f.truths&a != 0))
}

func (f *fields) number(name types.String, a attr, n int) { f.value(name, a, types.Long(n)) }

func (f *fields) text(name types.String, a attr, s string) { f.value(name, a, types.String(s)) }

// A memo remembers values by key: a fixed number of slots, each overwritten by
// the next key that falls on it. It needs no lock and cannot grow.
type memo[K comparable, V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[remembered[K, V]]
}

type remembered[K comparable, V any] struct {
	key   K
	value V
}

// newMemo returns a memo of size slots; size is a power of two.
func newMemo[K comparable, V any](size int) memo[K, V] {
	return memo[K, V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[remembered[K, V]], size)}
}

func (m *memo[K, V]) get(key K, build func(*K) V) V {
	slot := &m.slots[maphash.Comparable(m.seed, key)&uint64(len(m.slots)-1)]
	if r := slot.Load(); r != nil && r.key == key {
		return r.value
	}
	r := &remembered[K, V]{key: key}
	r.value = build(&r.key)
	slot.Store(r)
	return r.value
}
