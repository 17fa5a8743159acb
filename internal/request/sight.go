package request

import (
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/clause"
)

// An Attr is a set of attribute names of the schema. One name is one bit,
// whichever entity has it.
type Attr uint64

const (
	attrKnown Attr = 1 << iota
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
	// What a key cannot hold of three of them: a time that is not just compared
	// with others; of an attestation all but its method, its level and where its
	// age lies; of a delegation all but how deep it is.
	attrMoment
	attrEvidence
	attrActors
	// AttrAll are all of them.
	AttrAll = 1<<iota - 1
)

var attrByName = map[types.String]Attr{
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
	"selectors": attrEvidence, "actors": attrActors,
}

// Attrs are the attributes of these names. A name that the schema does not have
// is none.
func Attrs(names ...types.String) (out Attr) {
	for _, name := range names {
		out |= attrByName[name]
	}
	return out
}

// A Sight is what one policy can observe of a request.
type Sight struct {
	Uses       Attr
	names      []types.EntityUID // that it mentions, each of them
	allParents bool              // it computes the right side of an "in"
	numbers    [numbers]limits
}

// SightOf returns what p can observe.
func SightOf(p *ast.Policy) (s Sight) {
	bare, accessed := 0, 0          // mentions of context, and those that take one attribute
	var taken [numbers]int          // mentions of a number
	uncut := map[types.String]int{} // mentions of an attribute, less those that take one of its own
	access := func(arg ast.IsNode, name types.String) {
		s.Uses |= attrByName[name]
		if clause.IsContext(arg) {
			accessed++
		}
		if outer, ok := arg.(ast.NodeTypeAccess); ok {
			uncut[outer.Value]--
		}
	}
	clause.Inspect(p, func(uid types.EntityUID) { s.names = append(s.names, uid) }, func(n ast.IsNode) {
		if i, limit, ok := compared(n); ok {
			s.numbers[i].at = append(s.numbers[i].at, limit)
		}
		switch n := n.(type) {
		case ast.NodeTypeAccess:
			access(n.Arg, n.Value)
			if i, ok := numbered[n.Value]; ok {
				taken[i]++
			}
			uncut[n.Value]++
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
	whole := bare > accessed // the record itself is compared or passed on
	if whole {
		s.Uses = AttrAll
	}
	otherwise := func(number int) bool { return whole || taken[number] > len(s.numbers[number].at) }
	for _, i := range [...]int{risk, surprise, rate} {
		s.numbers[i].exact = otherwise(i)
	}
	s.Uses |= when(otherwise(now), attrMoment) | when(otherwise(age) || uncut["attestation"] > 0, attrEvidence) | when(uncut["delegation"] > 0, attrActors)
	return s
}
