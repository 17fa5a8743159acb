package facts

import (
	"crypto/subtle"
	"maps"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// shards is how many parts Facts has. A change copies one or a few of them.
const shards = 4096

// shardOf spreads keys: ids are the output of a hash, so their first bits do.
func shardOf(hash uint64) int { return int(hash >> 52) }

// flags of a record.
const (
	flagOdd         uint8 = 1 << iota // the id is in the shard's odd table
	flagShadow                        // identity
	flagAttestable                    // identity
	flagAliased                       // identity: where to is in the odd table
	flagVerifier                      // credential: verifier is set
	flagConsumer                      // credential: consumer is in the odd table
	flagLongPublic                    // credential: public id is in the odd table
	flagOddIdentity                   // credential: identity is in the odd table
)

// A word is a place in the table of texts that repeat: kinds, states, names
// of environments, owners.
type word uint32

// An identityRecord is what decisions know of one identity, without pointers.
type identityRecord struct {
	key                                    id
	notBefore                              int64 // microseconds since 1970, 0: never
	kind, state, environment, class, owner word
	risk                                   int8
	flags                                  uint8
}

// A credentialRecord is what decisions know of one credential.
type credentialRecord struct {
	key      id
	identity id
	verifier [32]byte
	public   [22]byte // public id, if it fits
	length   uint8    // of public
	risk     int8
	flags    uint8
	expires  int64 // microseconds since 1970, 0: never
	kind     word
	state    word
}

// odd holds what has no place in a record: texts of unusual shape and fields
// that few records have.
type odd struct {
	id       string // flagOdd
	alias    nhi.ID // flagAliased
	identity nhi.ID // flagOddIdentity
	consumer nhi.ID // flagConsumer
	public   string // flagLongPublic
}

// A link leads from the hash of something to the credential that has it.
type link struct {
	hash uint64
	key  id
}

// revoked is one entry of the revocation list, in microseconds since 1970.
type revoked struct{ at, expires int64 }

// A shard is one part of Facts. It never changes once it is in a Snapshot.
type shard struct {
	identities     []identityRecord   // by key
	credentials    []credentialRecord // by key
	publics        []link             // by hash of the public id, then key
	verifiers      []link             // by verifier, then key
	oddIdentities  map[id]odd
	oddCredentials map[id]odd
	resources      map[string]nhi.Resource // by name

	tokens       map[string]revoked // by jti
	keys         map[string]revoked // by thumbprint
	sessions     map[string]revoked // by identity: all its tokens
	firstExpires int64              // earliest expiry in the three, 0: none
}

// A part is a set of the tables of a shard, which are copied one by one when a
// change needs them.
type part uint8

const (
	partShard part = 1 << iota // the shard itself
	partIdentities
	partCredentials
	partPublics
	partVerifiers
	partResources
	partRevocations
)

// clone replaces the tables in parts by copies that may be changed.
func (s *shard) clone(parts part) {
	if parts&partIdentities != 0 {
		s.identities = slices.Clone(s.identities)
		s.oddIdentities = maps.Clone(s.oddIdentities)
	}
	if parts&partCredentials != 0 {
		s.credentials = slices.Clone(s.credentials)
		s.oddCredentials = maps.Clone(s.oddCredentials)
	}
	if parts&partPublics != 0 {
		s.publics = slices.Clone(s.publics)
	}
	if parts&partVerifiers != 0 {
		s.verifiers = slices.Clone(s.verifiers)
	}
	if parts&partResources != 0 {
		s.resources = maps.Clone(s.resources)
	}
	if parts&partRevocations != 0 {
		s.tokens = maps.Clone(s.tokens)
		s.keys = maps.Clone(s.keys)
		s.sessions = maps.Clone(s.sessions)
	}
}

// findIdentity returns the place of key, or where it belongs.
func (s *shard) findIdentity(key id) (int, bool) {
	lo, hi := 0, len(s.identities)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.identities[mid].key.Less(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(s.identities) && s.identities[lo].key == key
}

func (s *shard) findCredential(key id) (int, bool) {
	lo, hi := 0, len(s.credentials)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.credentials[mid].key.Less(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(s.credentials) && s.credentials[lo].key == key
}

func (a link) compare(b link) int {
	switch {
	case a.hash != b.hash:
		if a.hash < b.hash {
			return -1
		}
		return 1
	case a.key == b.key:
		return 0
	case a.key.Less(b.key):
		return -1
	}
	return 1
}

func addLink(links []link, l link) []link {
	at, found := slices.BinarySearchFunc(links, l, link.compare)
	if found {
		return links
	}
	return slices.Insert(links, at, l)
}

func removeLink(links []link, l link) []link {
	if at, found := slices.BinarySearchFunc(links, l, link.compare); found {
		return slices.Delete(links, at, at+1)
	}
	return links
}

// linked yields the keys under hash.
func linked(links []link, hash uint64) []link {
	from, _ := slices.BinarySearchFunc(links, link{hash: hash}, link.compare)
	to := from
	for to < len(links) && links[to].hash == hash {
		to++
	}
	return links[from:to]
}

// micros is t in microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// identity turns a record back into the vocabulary. name is what it was asked
// for by.
func (s *Snapshot) identity(sh *shard, r *identityRecord, name nhi.ID) nhi.Identity {
	out := nhi.Identity{
		ID: name, Kind: nhi.Kind(s.words[r.kind]), State: nhi.State(s.words[r.state]),
		Environment: nhi.Environment{Name: s.words[r.environment], Class: nhi.Class(s.words[r.class])},
		Owner:       nhi.Owner{Ref: s.words[r.owner]}, Risk: int(r.risk), NotBefore: fromMicros(r.notBefore),
		Shadow: r.flags&flagShadow != 0, Attestable: r.flags&flagAttestable != 0,
	}
	if r.flags&flagAliased != 0 {
		out.Alias = sh.oddIdentities[r.key].alias
	}
	return out
}

// credential turns a record back into the vocabulary.
func (s *Snapshot) credential(sh *shard, r *credentialRecord) nhi.Credential {
	out := nhi.Credential{
		Kind: nhi.CredentialKind(s.words[r.kind]), State: nhi.CredentialState(s.words[r.state]), Expires: fromMicros(r.expires), Risk: int(r.risk),
	}
	var o odd
	if r.flags&(flagOdd|flagConsumer|flagLongPublic|flagOddIdentity) != 0 {
		o = sh.oddCredentials[r.key]
	}
	out.ID, out.Identity, out.PublicID = nhi.CredentialID(o.id), o.identity, o.public
	if r.flags&flagOdd == 0 {
		out.ID = nhi.CredentialID(r.key.Text(credentialPrefix))
	}
	if r.flags&flagOddIdentity == 0 {
		out.Identity = nhi.ID(r.identity.Text(identityPrefix))
	}
	if r.flags&flagLongPublic == 0 {
		out.PublicID = string(r.public[:r.length])
	}
	out.Consumer = o.consumer
	if r.flags&flagVerifier != 0 {
		out.Verifier = slices.Clone(r.verifier[:])
	}
	return out
}

// hasPublic reports whether the credential's public id is public.
func (sh *shard) hasPublic(r *credentialRecord, public string) bool {
	if r.flags&flagLongPublic != 0 {
		return sh.oddCredentials[r.key].public == public
	}
	return string(r.public[:r.length]) == public
}

func (r *credentialRecord) hasVerifier(v [32]byte) bool {
	return r.flags&flagVerifier != 0 && subtle.ConstantTimeCompare(r.verifier[:], v[:]) == 1
}

// An id is the number behind an identity's or credential's id.
type id = nhi.Number

const (
	identityPrefix   = "nhi_"
	credentialPrefix = "crd_"
)
