package facts

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Apply makes changes part of the facts, all or none of them. They must
// follow the current generation without a gap; those already applied are
// passed over, so a batch may be delivered twice. A gap, a payload of a newer
// format or one that cannot be read is an error: the facts stay as they are
// and count as stale until they are loaded anew. Subjects that decisions do
// not read only advance the generation.
func (f *Facts) Apply(changes []nhi.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.begin()
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Seq <= b.next.generation:
			continue
		case c.Seq != b.next.generation+1:
			return f.fail(nhi.Invalidf("change %d follows %d: gap", c.Seq, b.next.generation))
		}
		if err := b.apply(c); err != nil {
			return f.fail(fmt.Errorf("change %d of %s: %w", c.Seq, c.Subject, err))
		}
		b.next.generation = c.Seq
	}
	b.commit()
	return nil
}

// A batch is a snapshot under construction. It belongs to the writer until it
// is committed.
type batch struct {
	facts *Facts
	next  *Snapshot
	owned [shards]part // what of each shard is a copy already
	// What else has been copied.
	ownsShards, ownsPoints, ownsSources bool
	bulk, sorted                        bool // see Loading
}

func (f *Facts) begin() *batch {
	next := *f.root.Load()
	return &batch{facts: f, next: &next}
}

// commit puts the batch in force.
func (b *batch) commit() {
	b.facts.root.Store(b.next)
	if b.facts.stale.Load() == nil {
		now := time.Now()
		b.facts.beat.Store(&now)
	}
}

// shard returns shard i with parts of it ready for writing.
func (b *batch) shard(i int, parts part) *shard {
	if !b.ownsShards {
		array := *b.next.shards
		b.next.shards = &array
		b.ownsShards = true
	}
	if b.owned[i]&partShard == 0 {
		fresh := *b.next.shards[i]
		b.next.shards[i] = &fresh
	}
	sh := b.next.shards[i]
	sh.clone(parts &^ b.owned[i])
	b.owned[i] |= parts | partShard
	return sh
}

func (b *batch) shardOfText(s string, parts part) *shard {
	return b.shard(shardOf(maphash.String(b.facts.seed, s)), parts)
}

// word interns s. Readers see only the words their snapshot was made with, so
// the table may grow behind them.
func (b *batch) word(s string) word {
	if w, ok := b.facts.interned[s]; ok {
		return w
	}
	s = strings.Clone(s) // not a piece of some large payload
	w := word(len(b.next.words))
	b.next.words = append(b.next.words, s)
	b.facts.interned[s] = w
	return w
}

// apply makes one change. An empty payload removes the object.
func (b *batch) apply(c *nhi.Change) error {
	if c.Version > payloadVersion {
		return nhi.Invalidf("payload has format %d, newer than %d", c.Version, payloadVersion)
	}
	switch c.Subject {
	case nhi.SubjectIdentity:
		return put(c, b.removeIdentity, func(v *nhi.Identity) { b.putIdentity(v) })
	case nhi.SubjectCredential:
		return put(c, b.removeCredential, func(v *nhi.Credential) { b.putCredential(v) })
	case nhi.SubjectResource:
		return put(c, b.removeResource, func(v *nhi.Resource) { b.putResource(v) })
	case nhi.SubjectPoint:
		return put(c, b.removePoint, func(v *nhi.Point) { b.putPoint(v) })
	case nhi.SubjectSource:
		return put(c, b.removeSource, func(v *nhi.Source) { b.putSource(v) })
	case nhi.SubjectRoutes:
		return put(c, func(string) { b.putRoutes(nil, c.Seq) }, func(v *[]nhi.Route) { b.putRoutes(*v, c.Seq) })
	case nhi.SubjectRevocation:
		return put(c, func(string) {}, func(v *nhi.Revocation) { b.putRevocation(v) })
	}
	return nil // of no interest to decisions
}

// put decodes the payload and stores it, or removes what the key names.
func put[T any](c *nhi.Change, remove func(key string), store func(*T)) error {
	if len(c.Payload) == 0 || string(c.Payload) == "null" {
		remove(c.Key)
		return nil
	}
	var v T
	if err := json.Unmarshal(c.Payload, &v); err != nil {
		return fmt.Errorf("read payload: %w", err)
	}
	store(&v)
	return nil
}

func (b *batch) putIdentity(v *nhi.Identity) {
	key, isOdd := nhi.NumberOf(string(v.ID), identityPrefix)
	sh := b.shard(shardOf(key.Hi), partIdentities)
	r := identityRecord{
		key: key, notBefore: micros(v.NotBefore), risk: int8(min(max(v.Risk, 0), 100)),
		kind: b.word(string(v.Kind)), state: b.word(string(v.State)),
		environment: b.word(v.Environment.Name), class: b.word(string(v.Environment.Class)), owner: b.word(v.Owner.Ref),
	}
	r.flags = flag(isOdd, flagOdd) | flag(v.Shadow, flagShadow) | flag(v.Attestable, flagAttestable) | flag(v.Alias != "", flagAliased)
	o := odd{alias: v.Alias}
	if isOdd {
		o.id = string(v.ID)
	}
	sh.oddIdentities = setOdd(sh.oddIdentities, key, o)
	if b.bulk {
		sh.identities = append(sh.identities, r)
		return
	}
	at, found := sh.findIdentity(key)
	if found {
		sh.identities[at] = r
	} else {
		sh.identities = slices.Insert(sh.identities, at, r)
		b.next.counts.Identities++
	}
	if v.Alias == "" {
		return
	}
	if cut, some := b.next.cutOffOf(v.ID); some {
		b.cutOff(v.ID, cut)
	}
}

func (b *batch) removeIdentity(name string) {
	if _, r := b.next.lookIdentity(nhi.ID(name)); r == nil {
		return
	}
	key, _ := nhi.NumberOf(name, identityPrefix)
	sh := b.shard(shardOf(key.Hi), partIdentities)
	at, _ := sh.findIdentity(key)
	sh.identities = slices.Delete(sh.identities, at, at+1)
	delete(sh.oddIdentities, key)
	b.next.counts.Identities--
}

func (b *batch) putCredential(v *nhi.Credential) {
	key, isOdd := nhi.NumberOf(string(v.ID), credentialPrefix)
	identity, oddIdentity := nhi.NumberOf(string(v.Identity), identityPrefix)
	r := credentialRecord{
		key: key, identity: identity, expires: micros(v.Expires), risk: int8(min(max(v.Risk, 0), 100)),
		kind: b.word(string(v.Kind)), state: b.word(string(v.State)),
	}
	r.flags = flag(isOdd, flagOdd) | flag(oddIdentity, flagOddIdentity) | flag(v.Consumer != "", flagConsumer) |
		flag(len(v.PublicID) > len(r.public), flagLongPublic) | flag(len(v.Verifier) == len(r.verifier), flagVerifier)
	o := odd{consumer: v.Consumer}
	if isOdd {
		o.id = string(v.ID)
	}
	if oddIdentity {
		o.identity = v.Identity
	}
	if r.flags&flagLongPublic != 0 {
		o.public = v.PublicID
	} else {
		r.length = uint8(copy(r.public[:], v.PublicID))
	}
	if r.flags&flagVerifier != 0 {
		copy(r.verifier[:], v.Verifier)
	}
	sh := b.shard(shardOf(key.Hi), partCredentials)
	if b.bulk {
		sh.oddCredentials = setOdd(sh.oddCredentials, key, o)
		sh.credentials = append(sh.credentials, r)
		return
	}
	at, found := sh.findCredential(key)
	var before keys
	if found {
		before = b.keysOf(sh, &sh.credentials[at])
		sh.credentials[at] = r
	} else {
		sh.credentials = slices.Insert(sh.credentials, at, r)
		b.next.counts.Credentials++
	}
	sh.oddCredentials = setOdd(sh.oddCredentials, key, o)
	b.relink(key, before, b.keysOf(sh, &r))
}

func (b *batch) removeCredential(name string) {
	if _, r := b.next.lookCredential(nhi.CredentialID(name)); r == nil {
		return
	}
	key, _ := nhi.NumberOf(name, credentialPrefix)
	sh := b.shard(shardOf(key.Hi), partCredentials)
	at, _ := sh.findCredential(key)
	b.relink(key, b.keysOf(sh, &sh.credentials[at]), keys{})
	sh.credentials = slices.Delete(sh.credentials, at, at+1)
	delete(sh.oddCredentials, key)
	b.next.counts.Credentials--
}

// keys are the hashes that a credential is found by.
type keys struct {
	public, verifier       uint64
	hasPublic, hasVerifier bool
}

func (b *batch) keysOf(sh *shard, r *credentialRecord) (k keys) {
	if r.flags&flagLongPublic != 0 {
		k.public, k.hasPublic = maphash.String(b.facts.seed, sh.oddCredentials[r.key].public), true
	} else if r.length > 0 {
		k.public, k.hasPublic = maphash.Bytes(b.facts.seed, r.public[:r.length]), true
	}
	if r.flags&flagVerifier != 0 {
		k.verifier, k.hasVerifier = maphash.Bytes(b.facts.seed, r.verifier[:]), true
	}
	return k
}

// relink makes a credential found by other keys than before. Most changes are
// of its state and leave them alone, so no other shard is copied.
func (b *batch) relink(key id, before, after keys) {
	if before == after {
		return
	}
	if before.hasPublic {
		from := b.shard(shardOf(before.public), partPublics)
		from.publics = removeLink(from.publics, link{before.public, key})
	}
	if before.hasVerifier {
		from := b.shard(shardOf(before.verifier), partVerifiers)
		from.verifiers = removeLink(from.verifiers, link{before.verifier, key})
	}
	if after.hasPublic {
		to := b.shard(shardOf(after.public), partPublics)
		to.publics = addLink(to.publics, link{after.public, key})
	}
	if after.hasVerifier {
		to := b.shard(shardOf(after.verifier), partVerifiers)
		to.verifiers = addLink(to.verifiers, link{after.verifier, key})
	}
}

func (b *batch) putResource(v *nhi.Resource) {
	sh := b.shardOfText(v.Name, partResources)
	if sh.resources == nil {
		sh.resources = map[string]nhi.Resource{}
	}
	if _, known := sh.resources[v.Name]; !known {
		b.next.counts.Resources++
	}
	sh.resources[v.Name] = *v
}

// removeResource removes a resource by name, which is what a change's key
// holds, or by id.
func (b *batch) removeResource(key string) {
	name := key
	if nhi.ResourceID(key).Valid() {
		for i := range b.next.shards {
			for n, r := range b.next.shards[i].resources {
				if string(r.ID) == key {
					name = n
				}
			}
		}
	}
	sh := b.shardOfText(name, partResources)
	if _, known := sh.resources[name]; known {
		delete(sh.resources, name)
		b.next.counts.Resources--
	}
}

func (b *batch) putPoint(v *nhi.Point) {
	b.removePoint(string(v.ID))
	b.next.points[v.ID] = *v
	if v.KeyID != "" {
		b.next.pointKeys[v.KeyID] = v.ID
	}
	b.next.counts.Points = len(b.next.points)
}

func (b *batch) removePoint(key string) {
	if !b.ownsPoints {
		b.next.points, b.next.pointKeys = maps.Clone(b.next.points), maps.Clone(b.next.pointKeys)
		b.ownsPoints = true
	}
	old := b.next.points[nhi.ID(key)]
	if b.next.pointKeys[old.KeyID] == nhi.ID(key) {
		delete(b.next.pointKeys, old.KeyID)
	}
	delete(b.next.points, nhi.ID(key))
	b.next.counts.Points = len(b.next.points)
}

func (b *batch) putSource(v *nhi.Source) {
	b.removeSource(string(v.ID))
	b.next.sources[v.ID] = *v
	if v.KeyID != "" {
		b.next.sourceKeys[v.KeyID] = v.ID
	}
	b.next.counts.Sources = len(b.next.sources)
}

func (b *batch) removeSource(key string) {
	if !b.ownsSources {
		b.next.sources, b.next.sourceKeys = maps.Clone(b.next.sources), maps.Clone(b.next.sourceKeys)
		b.ownsSources = true
	}
	old := b.next.sources[nhi.ID(key)]
	if b.next.sourceKeys[old.KeyID] == nhi.ID(key) {
		delete(b.next.sourceKeys, old.KeyID)
	}
	delete(b.next.sources, nhi.ID(key))
	b.next.counts.Sources = len(b.next.sources)
}

func (b *batch) putRoutes(routes []nhi.Route, since nhi.Generation) {
	b.next.routes, b.next.routesSince = routes, since
	b.next.counts.Routes = len(routes)
}

func flag(set bool, f uint8) uint8 {
	if set {
		return f
	}
	return 0
}

// setOdd keeps o for key, or forgets what was there if o says nothing.
func setOdd(m map[id]odd, key id, o odd) map[id]odd {
	if o == (odd{}) {
		delete(m, key)
		return m
	}
	if m == nil {
		m = map[id]odd{}
	}
	m[key] = o
	return m
}
