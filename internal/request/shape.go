package request

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// A Shape is what the policies of a set can see of a request. What none of
// them names is left out: no policy could notice, and requests that differ only
// in it share their records and their key. It is safe for concurrent use.
type Shape struct {
	uses       Attr
	names      map[types.EntityUID]struct{} // that some policy mentions
	allParents bool                         // some policy computes the right side of an "in"
	zones      []clause.Zone                // that some policy names
	numbers    [numbers]limits

	principals Memo[principalKey, types.Record]
	resources  Memo[resourceKey, types.Record]
	creds      Memo[credentialKey, types.Record]
	contexts   Memo[contextKey, types.Record]
	ancestors  Memo[[2]types.EntityUID, types.EntityUIDSet]
}

// NewShape returns the shape of policies that see what sights say and name
// zones, which may repeat.
func NewShape(sights []*Sight, zones []clause.Zone) *Shape {
	s := &Shape{
		names: map[types.EntityUID]struct{}{}, zones: zones,
		principals: NewMemo[principalKey, types.Record](1 << 10), resources: NewMemo[resourceKey, types.Record](1 << 10),
		creds: NewMemo[credentialKey, types.Record](1 << 6), contexts: NewMemo[contextKey, types.Record](1 << 12),
		ancestors: NewMemo[[2]types.EntityUID, types.EntityUIDSet](1 << 10),
	}
	for _, sight := range sights {
		s.uses |= sight.Uses
		s.allParents = s.allParents || sight.allParents
		for _, uid := range sight.names {
			s.names[uid] = struct{}{}
		}
		for i := range s.numbers {
			s.numbers[i].add(&sight.numbers[i])
		}
	}
	for i := range s.numbers {
		slices.Sort(s.numbers[i].at)
		s.numbers[i].at = slices.Compact(s.numbers[i].at)
	}
	slices.SortFunc(s.zones, func(a, b clause.Zone) int { return strings.Compare(string(a.Name), string(b.Name)) })
	s.zones = slices.CompactFunc(s.zones, func(a, b clause.Zone) bool { return a.Name == b.Name })
	return s
}

// Whole is a shape in which everything can be seen, and the zones of s.
func (s *Shape) Whole() *Shape {
	return &Shape{
		uses: AttrAll, allParents: true, zones: s.zones,
		principals: NewMemo[principalKey, types.Record](1), resources: NewMemo[resourceKey, types.Record](1),
		creds: NewMemo[credentialKey, types.Record](1), contexts: NewMemo[contextKey, types.Record](1),
		ancestors: NewMemo[[2]types.EntityUID, types.EntityUIDSet](1),
	}
}

// Zones are the time zones that can be seen, sorted by name.
func (s *Shape) Zones() []clause.Zone { return s.zones }

// sees reports whether a policy can tell uid from others.
func (s *Shape) sees(uid types.EntityUID) bool {
	_, named := s.names[uid]
	return named || s.allParents
}

// seen is uid if a policy can tell it from others, else none.
func (s *Shape) seen(uid types.EntityUID) types.EntityUID {
	if s.sees(uid) {
		return uid
	}
	return types.EntityUID{}
}

// parents returns those of uids that a policy can tell apart from none.
func (s *Shape) parents(uids ...types.EntityUID) types.EntityUIDSet {
	var found [2]types.EntityUID
	n := 0
	for _, uid := range uids {
		if s.sees(uid) {
			found[n] = uid
			n++
		}
	}
	if n == 0 {
		return types.EntityUIDSet{}
	}
	return s.ancestors.get(&found, func(found *[2]types.EntityUID) types.EntityUIDSet {
		return types.NewEntityUIDSet(found[:n]...)
	})
}

// A Key holds what a request is made of, as far as it can be seen, so that
// requests with equal keys are equal to every policy of a shape but for what is
// fleeting. Of some numbers it holds where they lie among those that policies
// name. Entities that no policy mentions are left out: a policy can compare an
// entity with one that it names, and with nothing else.
type Key struct {
	action                                             int
	kind                                               types.EntityType
	identity, identityEnvironment                      types.EntityUID
	resourceName, resourceEnvironment, credentialNamed types.EntityUID

	principal  principalKey
	resource   resourceKey
	credential credentialKey
	context    contextKey
}

// key fills in the key of r.
func (s *Shape) key(r *Request) {
	k := &r.q.Known
	r.key = Key{
		action: r.action, kind: r.Principal.Type, identity: s.seen(r.Identity), identityEnvironment: s.seen(r.IdentityEnvironment),
		resourceName: s.seen(r.Resource), resourceEnvironment: s.seen(r.ResourceEnvironment), credentialNamed: r.Credential,
		principal: s.principalKey(k), resource: s.resourceKey(k), credential: s.credentialKey(k), context: s.contextKey(r),
	}
	p, c := &r.key.principal, &r.key.context
	r.risk, r.surprise, r.rate = p.risk, c.surprise, c.rate
	place := func(number, n int) int { return int(s.numbers[number].place(int64(n))) }
	p.risk, c.surprise, c.rate = place(risk, p.risk), place(surprise, c.surprise), place(rate, c.rate)
}

// The keys below hold what a record is made of. Truths are bits of the attributes
// that are true.

type principalKey struct {
	truths             Attr
	risk               int
	state              nhi.State
	environment, class string
}

type resourceKey struct {
	truths                        Attr
	sensitivity                   int
	environment, class            string
	service, region, jurisdiction string
}

type credentialKey struct {
	truths Attr
	state  nhi.CredentialState
}

type contextKey struct {
	truths                    Attr
	credential                types.EntityUID
	assurance, surprise, rate int
	asn                       uint32
	method, country, network  string
	agent, operation, point   string
	address                   [16]byte // with addressBits; netip.Addr holds a pointer
	addressBits               int      // 0: none
	location                  nhi.Location
	purpose                   string

	// Only a Key has these; a record is made of them anew.
	now, age     int64 // where they lie
	clocks       [clocks]int64
	evidence     string // method of the attestation
	level, depth int
	device       nhi.Device
}

// clocks is how many zones a key can hold.
const clocks = 4

// when returns a if b is true.
func when(b bool, a Attr) Attr {
	if b {
		return a
	}
	return 0
}

// pick returns v if a is used, so that unused text keeps no two keys apart.
func pick[T any](uses, a Attr, v T) T {
	if uses&a == 0 {
		var zero T
		return zero
	}
	return v
}

func (s *Shape) principalKey(k *nhi.Known) principalKey {
	u := s.uses
	return principalKey{
		truths:      u & (when(k.Identity, attrKnown) | when(k.Owned, attrOwned)),
		risk:        pick(u, attrRisk, k.Risk),
		state:       pick(u, attrState, k.IdentityState),
		environment: pick(u, attrEnvironment, k.IdentityEnvironment.Name),
		class:       pick(u, attrClass, string(k.IdentityEnvironment.Class)),
	}
}

func (s *Shape) principal(key *principalKey) types.Record {
	return s.principals.get(key, func(key *principalKey) types.Record {
		f := fields{uses: s.uses, truths: key.truths, m: make(types.RecordMap, 6)}
		f.truth("known", attrKnown)
		f.truth("owned", attrOwned)
		f.number("risk", attrRisk, key.risk)
		f.text("state", attrState, string(key.state))
		f.text("environment", attrEnvironment, key.environment)
		f.text("class", attrClass, key.class)
		return types.NewRecord(f.m)
	})
}

func (s *Shape) resourceKey(k *nhi.Known) resourceKey {
	u := s.uses
	return resourceKey{
		truths:       u & when(k.Resource, attrLabelled),
		sensitivity:  pick(u, attrSensitivity, k.Sensitivity),
		environment:  pick(u, attrEnvironment, k.ResourceEnvironment.Name),
		class:        pick(u, attrClass, string(k.ResourceEnvironment.Class)),
		service:      pick(u, attrService, k.Service),
		region:       pick(u, attrRegion, k.Region),
		jurisdiction: pick(u, attrJurisdiction, k.Jurisdiction),
	}
}

func (s *Shape) resource(key *resourceKey) types.Record {
	return s.resources.get(key, func(key *resourceKey) types.Record {
		f := fields{uses: s.uses, truths: key.truths, m: make(types.RecordMap, 7)}
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

func (s *Shape) credentialKey(k *nhi.Known) credentialKey {
	u := s.uses
	return credentialKey{
		truths: u & (when(k.Credential, attrKnown) | when(k.Pinned, attrPinned) |
			when(k.ConsumerProven, attrConsumerProven) | when(k.Expired, attrExpired) | when(k.Revoked, attrRevoked)),
		state: pick(u, attrState, k.CredentialState),
	}
}

func (s *Shape) credential(key *credentialKey) types.Record {
	return s.creds.get(key, func(key *credentialKey) types.Record {
		f := fields{uses: s.uses, truths: key.truths, m: make(types.RecordMap, 6)}
		f.truth("known", attrKnown)
		f.truth("pinned", attrPinned)
		f.truth("consumerProven", attrConsumerProven)
		f.truth("expired", attrExpired)
		f.truth("revoked", attrRevoked)
		f.text("state", attrState, string(key.state))
		return types.NewRecord(f.m)
	})
}

func (s *Shape) contextKey(r *Request) contextKey {
	u, q, k := s.uses, r.q, &r.q.Known
	key := contextKey{
		truths: u & (when(q.Subject.SenderBound, attrSenderBound) | when(q.Subject.Asserted, attrAsserted) |
			when(k.NewNetwork, attrNewNetwork) | when(k.NewCountry, attrNewCountry) |
			when(k.NewAction, attrNewAction) | when(k.NewAgent, attrNewAgent) | when(k.Interactive, attrInteractive)),
		credential: pick(u, attrCredential, r.Credential),
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
		purpose:    pick(u, attrPurpose, k.Purpose),
	}
	if u&attrAddress != 0 && q.Address.IsValid() {
		at := q.Address.Unmap()
		key.address, key.addressBits = at.As16(), at.BitLen()
	}
	if u&attrLocation != 0 && k.Attestation != nil {
		key.location = k.Attestation.Location
	}
	if u&fleeting != 0 {
		s.addMoment(&key, q)
	}
	return key
}

// addMoment adds what a key can hold of attributes that are hardly ever the same
// twice.
func (s *Shape) addMoment(key *contextKey, q *nhi.Question) {
	if s.uses&attrNow != 0 {
		key.now = s.numbers[now].place(q.At.UnixMilli())
	}
	if s.uses&attrZones != 0 && len(s.zones) <= clocks {
		for i := range s.zones {
			key.clocks[i] = localMinute(s.zones[i].At, q.At)
		}
	}
	if a := q.Known.Attestation; a != nil {
		if s.uses&attrAttestation != 0 {
			key.truths |= attrAttestation
			key.evidence, key.level, key.age = a.Method, int(a.Level), s.numbers[age].place(seconds(a.Age(q.At)))
		}
		key.device = pick(s.uses, attrDevice, a.Device)
	}
	key.depth = pick(s.uses, attrDelegation, len(q.Subject.Actors))
}

// context is the record of the request itself.
func (s *Shape) context(r *Request) types.Record {
	key := r.key.context
	key.surprise, key.rate = r.surprise, r.rate
	if s.uses&fleeting != 0 {
		f := contextFields(&key, s.uses)
		s.addFleeting(&f, r.q)
		return types.NewRecord(f.m)
	}
	return s.contexts.get(&key, func(key *contextKey) types.Record { return types.NewRecord(contextFields(key, s.uses).m) })
}

// contextFields are the attributes of the request that keep their value from
// one request to the next.
func contextFields(key *contextKey, uses Attr) fields {
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
	if key.addressBits > 0 {
		at := netip.AddrFrom16(key.address)
		if key.addressBits == 32 {
			at = at.Unmap()
		}
		f.value("address", attrAddress, types.IPAddr(netip.PrefixFrom(at, key.addressBits)))
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
	uses, truths Attr
	m            types.RecordMap
}

func (f *fields) value(name types.String, a Attr, v types.Value) {
	if f.uses&a != 0 {
		f.m[name] = v
	}
}

func (f *fields) truth(name types.String, a Attr) {
	f.value(name, a, types.Boolean(f.truths&a != 0))
}

func (f *fields) number(name types.String, a Attr, n int) { f.value(name, a, types.Long(n)) }

func (f *fields) text(name types.String, a Attr, s string) { f.value(name, a, types.String(s)) }
