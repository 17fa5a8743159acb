package surprise

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/muster-id/muster/internal/geo"
)

// A Call is an event in words, before it is hashed. Deciding and learning
// both go through it, so that a request and the log record of that request
// are the same observation.
type Call struct {
	At      time.Time
	Address netip.Addr // of the caller; invalid if the source did not tell
	Place   geo.Place  // of Address
	Agent   string     // family of the user agent; "" if none
	// Service and Operation together are the action. From a cloud log they
	// are what the log says (s3.amazonaws.com, GetObject). For a request at
	// an enforcement point they are the resource and the action class
	// (payments/api, read): paths have no bound and belong to the caller.
	Service   string
	Operation string
	Class     string // action class: read, write, admin, …; "" if unknown
	Region    string // cloud region called; "" if none
	Denied    bool   // refused by the provider
}

// Observation hashes the call. It allocates nothing.
func (c *Call) Observation() Observation {
	o := Observation{At: c.At.UnixMicro(), Denied: c.Denied}
	if c.Address.IsValid() {
		o.Network = HashPrefix(geo.Family(c.Address))
		o.ASN = HashASN(c.Address, c.Place)
		if c.Place.Country != "" {
			o.Country = Hash(c.Place.Country)
		}
	}
	if c.Agent != "" {
		o.Agent = Hash(c.Agent)
	}
	if c.Operation != "" {
		o.Action = HashPair(c.Service, c.Operation)
	}
	if c.Class != "" {
		o.Class = Hash(c.Class)
	}
	if c.Region != "" {
		o.Region = Hash(c.Region)
	}
	return o
}

// HashASN hashes the system that announces an address. An address that is not
// routed, and one that nobody is known to announce, are systems of their own:
// a key that has only ever been used inside does surprise when it shows up
// outside, and the other way round.
func HashASN(addr netip.Addr, place geo.Place) uint64 {
	switch {
	case place.ASN != 0:
		return HashNumber("asn", uint64(place.ASN))
	case geo.Private(addr):
		return hashPrivate
	}
	return hashUnannounced
}

var (
	hashPrivate     = Hash("asn private")
	hashUnannounced = Hash("asn unannounced")
)

// Text returns the value of a category in words, "" if the call does not have
// it. Its hash in the observation and this text belong together; the text
// comes from outside and is hostile.
func (c *Call) Text(f Feature) string {
	switch f {
	case Network:
		if c.Address.IsValid() {
			return geo.Family(c.Address).String()
		}
	case ASN:
		switch {
		case !c.Address.IsValid():
		case c.Place.ASN != 0:
			return fmt.Sprintf("AS%d %s", c.Place.ASN, c.Place.Organization)
		case geo.Private(c.Address):
			return "a private network"
		default:
			return "an unannounced network"
		}
	case Country:
		return c.Place.Country
	case Agent:
		return c.Agent
	case Action:
		if c.Operation != "" {
			return c.Service + " " + c.Operation
		}
	case Class:
		return c.Class
	case Region:
		return c.Region
	}
	return ""
}
