// Package facts keeps what decisions read, in memory: identities, credentials,
// resources, points, sources, routes and revocations.
//
// [Facts] follows the one sequence of changes. Readers take a [Snapshot],
// which is one generation of everything and never changes, and wait for
// nobody. [Facts.Apply] copies the few of the 4,096 shards that a batch of
// changes touches, and the array of shards, and swaps one pointer; so a
// decision sees all of a batch or nothing of it, and when Apply has returned
// every later decision sees it.
//
// Records hold no pointers where there are many of them: ids are 16 bytes,
// words that repeat are numbers, and what is of unusual shape is kept aside.
// A million identities with three million credentials are some 500 MB that
// the garbage collector does not look through.
//
// What was learned about an identity is not here: see decision.Pages.
package facts

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// payloadVersion is the newest format of a change's payload that is
// understood.
const payloadVersion = 1

// Facts is what decisions read, versioned by generation.
//
// Facts keeps only what decisions need. Names, paths, labels and dates of the
// identities it returns are empty: the store has them.
type Facts struct {
	seed  maphash.Seed
	root  atomic.Pointer[Snapshot]
	beat  atomic.Pointer[time.Time] // of the last change or heartbeat, nil: never
	stale atomic.Pointer[string]    // why a change could not be applied; nil: current

	mu       sync.Mutex      // serialises writers; guards what follows
	interned map[string]word // into root.words
}

// A Snapshot is Facts at one generation. It never changes and may be used by
// any number of goroutines.
type Snapshot struct {
	seed        maphash.Seed
	generation  nhi.Generation
	shards      *[shards]*shard
	words       []string
	points      map[nhi.ID]nhi.Point
	pointKeys   map[string]nhi.ID // by key id
	sources     map[nhi.ID]nhi.Source
	sourceKeys  map[string]nhi.ID
	routes      []nhi.Route
	routesSince nhi.Generation
	counts      Counts
}

// Counts says how much a Snapshot holds.
type Counts struct {
	Identities  int `json:"identities"`
	Credentials int `json:"credentials"`
	Resources   int `json:"resources"`
	Points      int `json:"points"`
	Sources     int `json:"sources"`
	Routes      int `json:"routes"`
	Revocations int `json:"revocations"`
}

// New returns empty Facts at generation 0. They are stale until Load,
// Apply or Heartbeat.
func New() *Facts {
	f := &Facts{seed: maphash.MakeSeed()}
	f.root.Store(f.empty())
	return f
}

// empty returns a Snapshot of nothing and forgets the interned words.
func (f *Facts) empty() *Snapshot {
	f.interned = map[string]word{"": 0}
	s := &Snapshot{
		seed: f.seed, shards: new([shards]*shard), words: []string{""},
		points: map[nhi.ID]nhi.Point{}, pointKeys: map[string]nhi.ID{},
		sources: map[nhi.ID]nhi.Source{}, sourceKeys: map[string]nhi.ID{},
	}
	nothing := &shard{}
	for i := range s.shards {
		s.shards[i] = nothing
	}
	return s
}

// Snapshot returns the facts as they stand now.
func (f *Facts) Snapshot() *Snapshot { return f.root.Load() }

// Generation returns the number of the last change applied.
func (f *Facts) Generation() nhi.Generation { return f.root.Load().generation }

// Heartbeat tells that the facts were current at now although nothing changed,
// and forgets revocations that ended before now.
func (f *Facts) Heartbeat(now time.Time) {
	if f.stale.Load() == nil {
		f.beat.Store(&now)
	}
	f.prune(now)
}

// Age returns how long ago the facts were last known to be current. It is the
// longest possible duration when they never were, or when a change could not
// be applied. Of the clock that only goes forward and the time of day, the one
// counts that says more: the former may stand still while a machine sleeps, and
// the latter may be set back, which makes nothing young again.
func (f *Facts) Age(now time.Time) time.Duration {
	beat := f.beat.Load()
	if beat == nil || f.stale.Load() != nil {
		return math.MaxInt64
	}
	return max(0, now.Sub(*beat), now.Round(0).Sub(beat.Round(0)))
}

// Stale returns why the facts do not follow the changes any more, empty while
// they do. Only Load makes them current again.
func (f *Facts) Stale() string {
	if why := f.stale.Load(); why != nil {
		return *why
	}
	return ""
}

// Generation returns the number of the last change in the snapshot.
func (s *Snapshot) Generation() nhi.Generation { return s.generation }

// Counts returns how much the snapshot holds.
func (s *Snapshot) Counts() Counts { return s.counts }

// lookIdentity returns the shard and the record of an identity.
func (s *Snapshot) lookIdentity(name nhi.ID) (*shard, *identityRecord) {
	key, isOdd := nhi.NumberOf(string(name), identityPrefix)
	sh := s.shards[shardOf(key.Hi)]
	i, ok := sh.findIdentity(key)
	if !ok {
		return nil, nil
	}
	r := &sh.identities[i]
	if isOdd != (r.flags&flagOdd != 0) || isOdd && sh.oddIdentities[key].id != string(name) {
		return nil, nil
	}
	return sh, r
}

func (s *Snapshot) lookCredential(name nhi.CredentialID) (*shard, *credentialRecord) {
	key, isOdd := nhi.NumberOf(string(name), credentialPrefix)
	sh := s.shards[shardOf(key.Hi)]
	i, ok := sh.findCredential(key)
	if !ok {
		return nil, nil
	}
	r := &sh.credentials[i]
	if isOdd != (r.flags&flagOdd != 0) || isOdd && sh.oddCredentials[key].id != string(name) {
		return nil, nil
	}
	return sh, r
}

// Identity returns an identity by its id. A merged identity is returned as it
// is, with Alias set.
func (s *Snapshot) Identity(name nhi.ID) (nhi.Identity, bool) {
	sh, r := s.lookIdentity(name)
	if r == nil {
		return nhi.Identity{}, false
	}
	return s.identity(sh, r, name), true
}

// Credential returns a credential by its id.
func (s *Snapshot) Credential(name nhi.CredentialID) (nhi.Credential, bool) {
	sh, r := s.lookCredential(name)
	if r == nil {
		return nhi.Credential{}, false
	}
	return s.credential(sh, r), true
}

// CredentialByKeyID returns the credential with a public id. Should several
// claim it, one that can be verified comes first, then one that is dead: a
// stranger's record must neither hide ours nor revive it.
func (s *Snapshot) CredentialByKeyID(public string) (nhi.Credential, bool) {
	if public == "" {
		return nhi.Credential{}, false
	}
	hash := maphash.String(s.seed, public)
	return s.best(linked(s.shards[shardOf(hash)].publics, hash), func(sh *shard, r *credentialRecord) bool {
		return sh.hasPublic(r, public)
	})
}

// CredentialByVerifier returns the credential whose value has this SHA-256.
func (s *Snapshot) CredentialByVerifier(verifier [32]byte) (nhi.Credential, bool) {
	hash := maphash.Bytes(s.seed, verifier[:])
	return s.best(linked(s.shards[shardOf(hash)].verifiers, hash), func(_ *shard, r *credentialRecord) bool {
		return r.hasVerifier(verifier)
	})
}

// best returns the foremost of the linked credentials that match.
func (s *Snapshot) best(links []link, match func(*shard, *credentialRecord) bool) (nhi.Credential, bool) {
	var bestShard *shard
	var best *credentialRecord
	bestRank := -1
	for _, l := range links {
		sh := s.shards[shardOf(l.key.Hi)]
		i, ok := sh.findCredential(l.key)
		if !ok || !match(sh, &sh.credentials[i]) {
			continue
		}
		r := &sh.credentials[i]
		rank := 0
		if r.flags&flagVerifier != 0 {
			rank += 2
		}
		if nhi.CredentialState(s.words[r.state]).Dead() {
			rank++
		}
		if rank > bestRank {
			bestShard, best, bestRank = sh, r, rank
		}
	}
	if best == nil {
		return nhi.Credential{}, false
	}
	return s.credential(bestShard, best), true
}

// Resource returns a resource by the name people write.
func (s *Snapshot) Resource(name string) (nhi.Resource, bool) {
	r, ok := s.shards[shardOf(maphash.String(s.seed, name))].resources[name]
	return r, ok
}

// Point returns an enforcement point by its id.
func (s *Snapshot) Point(name nhi.ID) (nhi.Point, bool) {
	p, ok := s.points[name]
	return p, ok
}

// PointNamed returns the enforcement point of a name. It looks at each: there
// are few, and who asks often keeps the answer.
func (s *Snapshot) PointNamed(name string) (nhi.Point, bool) {
	for _, p := range s.points {
		if p.Name == name {
			return p, true
		}
	}
	return nhi.Point{}, false
}

// PointByKeyID returns the enforcement point with a key.
func (s *Snapshot) PointByKeyID(keyID string) (nhi.Point, bool) {
	p, ok := s.points[s.pointKeys[keyID]]
	return p, ok && keyID != ""
}

// SourceByKeyID returns the enrolled source with a key.
func (s *Snapshot) SourceByKeyID(keyID string) (nhi.Source, bool) {
	src, ok := s.sources[s.sourceKeys[keyID]]
	return src, ok && keyID != ""
}

// Routes returns the route table and the generation that set it. The caller
// must not change it.
func (s *Snapshot) Routes() ([]nhi.Route, nhi.Generation) { return s.routes, s.routesSince }

// Revoked reports whether a token was revoked: by itself, by the key it is
// bound to, or with all tokens of its identity. Stored credentials are not
// revoked here but by their state.
func (s *Snapshot) Revoked(att nhi.Attested) bool {
	if att.Credential != "" {
		return false
	}
	if att.KeyID != "" {
		if _, hit := s.shards[shardOf(maphash.String(s.seed, att.KeyID))].tokens[att.KeyID]; hit {
			return true
		}
	}
	issued := micros(att.IssuedAt) // 0 is before everything: fail closed
	if att.Thumbprint != "" {
		r, hit := s.shards[shardOf(maphash.String(s.seed, att.Thumbprint))].keys[att.Thumbprint]
		if hit && issued <= r.at {
			return true
		}
	}
	// A merged identity is the one that it was merged into, and its old name may
	// stand in the token.
	who := att.Identity
	for range maxAliases {
		if r, hit := s.cutOffOf(who); hit && issued <= r.at {
			return true
		}
		sh, rec := s.lookIdentity(who)
		if rec == nil {
			return false
		}
		if rec.notBefore != 0 && issued < rec.notBefore {
			return true
		}
		if rec.flags&flagAliased == 0 {
			return false
		}
		who = sh.oddIdentities[rec.key].alias
	}
	return true // a chain that leads nowhere
}

// cutOffOf returns what was noted of all tokens of an identity under this name.
func (s *Snapshot) cutOffOf(who nhi.ID) (revoked, bool) {
	r, hit := s.shards[shardOf(maphash.String(s.seed, string(who)))].sessions[string(who)]
	return r, hit
}

// Living returns the name that an identity goes by since it was merged, its own if
// it was not or is not known.
func (s *Snapshot) Living(who nhi.ID) nhi.ID {
	s.follow(&who)
	return who
}

// The lookups of Facts are those of the current snapshot. Use a Snapshot to
// ask several questions of one generation.

// Identity is [Snapshot.Identity] of now.
func (f *Facts) Identity(name nhi.ID) (nhi.Identity, bool) { return f.Snapshot().Identity(name) }

// Credential is [Snapshot.Credential] of now.
func (f *Facts) Credential(name nhi.CredentialID) (nhi.Credential, bool) {
	return f.Snapshot().Credential(name)
}

// CredentialByKeyID is [Snapshot.CredentialByKeyID] of now.
func (f *Facts) CredentialByKeyID(public string) (nhi.Credential, bool) {
	return f.Snapshot().CredentialByKeyID(public)
}

// CredentialByVerifier is [Snapshot.CredentialByVerifier] of now.
func (f *Facts) CredentialByVerifier(verifier [32]byte) (nhi.Credential, bool) {
	return f.Snapshot().CredentialByVerifier(verifier)
}

// PointNamed is [Snapshot.PointNamed] of now.
func (f *Facts) PointNamed(name string) (nhi.Point, bool) { return f.Snapshot().PointNamed(name) }

// PointByKeyID is [Snapshot.PointByKeyID] of now.
func (f *Facts) PointByKeyID(keyID string) (nhi.Point, bool) { return f.Snapshot().PointByKeyID(keyID) }

// SourceByKeyID is [Snapshot.SourceByKeyID] of now.
func (f *Facts) SourceByKeyID(keyID string) (nhi.Source, bool) {
	return f.Snapshot().SourceByKeyID(keyID)
}

// Resource is [Snapshot.Resource] of now.
func (f *Facts) Resource(name string) (nhi.Resource, bool) { return f.Snapshot().Resource(name) }

// Routes is [Snapshot.Routes] of now.
func (f *Facts) Routes() ([]nhi.Route, nhi.Generation) { return f.Snapshot().Routes() }

// Revoked is [Snapshot.Revoked] of now.
func (f *Facts) Revoked(att nhi.Attested) bool { return f.Snapshot().Revoked(att) }

// Counts is [Snapshot.Counts] of now.
func (f *Facts) Counts() Counts { return f.Snapshot().Counts() }

// fail marks the facts stale and returns err.
func (f *Facts) fail(err error) error {
	why := err.Error()
	f.stale.Store(&why)
	return fmt.Errorf("apply changes to facts: %w", err)
}
