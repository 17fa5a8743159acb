package facts

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// A State is everything that Facts holds, as a store returns it.
type State struct {
	Identities  []nhi.Identity
	Credentials []nhi.Credential
	Resources   []nhi.Resource
	Points      []nhi.Point
	Sources     []nhi.Source
	Routes      []nhi.Route
	Revocations []nhi.Revocation
}

// Load replaces the facts by state, which is that of generation gen, and
// makes them current.
func (f *Facts) Load(gen nhi.Generation, state State) error {
	l := f.Begin()
	defer l.Abandon()
	for i := range state.Identities {
		l.Identity(&state.Identities[i])
	}
	for i := range state.Credentials {
		l.Credential(&state.Credentials[i])
	}
	for i := range state.Resources {
		l.Resource(&state.Resources[i])
	}
	for i := range state.Points {
		l.Point(&state.Points[i])
	}
	for i := range state.Sources {
		l.Source(&state.Sources[i])
	}
	for i := range state.Revocations {
		l.Revocation(&state.Revocations[i])
	}
	l.Routes(state.Routes, gen)
	return l.Commit(gen)
}

// A Loading fills Facts row by row, so that a store with millions of rows need
// not be in memory twice. Deciding goes on with the old facts until Commit;
// other writers wait. Use it from one goroutine and end it by Commit or
// Abandon.
type Loading struct {
	batch    *batch
	interned map[string]word // to go back to
	done     bool
}

// Begin starts to load the facts anew.
func (f *Facts) Begin() *Loading {
	f.mu.Lock()
	l := &Loading{interned: f.interned}
	next := f.empty()
	l.batch = &batch{facts: f, next: next, bulk: true, ownsShards: true, ownsPoints: true, ownsSources: true}
	return l
}

// Identity adds an identity. Of two with one id the later one stays.
func (l *Loading) Identity(v *nhi.Identity) { l.batch.putIdentity(v) }

// Credential adds a credential. Of two with one id the later one stays.
func (l *Loading) Credential(v *nhi.Credential) { l.batch.putCredential(v) }

// Resource adds a resource.
func (l *Loading) Resource(v *nhi.Resource) { l.batch.putResource(v) }

// Point adds an enforcement point.
func (l *Loading) Point(v *nhi.Point) { l.batch.putPoint(v) }

// Source adds a source.
func (l *Loading) Source(v *nhi.Source) { l.batch.putSource(v) }

// Revocation adds a revocation.
func (l *Loading) Revocation(v *nhi.Revocation) { l.batch.putRevocation(v) }

// Routes sets the route table and the generation that set it.
func (l *Loading) Routes(routes []nhi.Route, since nhi.Generation) { l.batch.putRoutes(routes, since) }

// Abandon gives up: the old facts stay. After Commit it does nothing.
func (l *Loading) Abandon() {
	if l.done {
		return
	}
	l.done = true
	f := l.batch.facts
	f.interned = l.interned
	f.mu.Unlock()
}

// Commit puts what was added in force as generation gen. Facts never go back:
// a generation below the current one is an error, and the old facts stay.
func (l *Loading) Commit(gen nhi.Generation) error {
	if l.done {
		return nhi.Invalidf("load facts: already ended")
	}
	f := l.batch.facts
	old := f.root.Load()
	if gen < old.generation {
		l.Abandon()
		return fmt.Errorf("load facts: generation %d is older than %d: %w", gen, old.generation, nhi.ErrConflict)
	}
	l.done = true
	defer f.mu.Unlock()
	b := l.batch
	b.next.generation = gen
	b.finish()
	f.stale.Store(nil)
	b.commit()
	return nil
}

// finish sorts what a bulk load appended and builds the links.
func (b *batch) finish() {
	for i := range shards {
		sh := b.next.shards[i]
		if !b.sorted {
			sh.identities = sortUnique(sh.identities, func(r *identityRecord) id { return r.key })
			sh.credentials = sortUnique(sh.credentials, func(r *credentialRecord) id { return r.key })
		}
		b.next.counts.Identities += len(sh.identities)
		b.next.counts.Credentials += len(sh.credentials)
	}
	b.link()
	b.bulk = false
	b.inherit()
}

// link builds the links of all credentials. It goes over them twice, so that
// each table is made once and in its size.
func (b *batch) link() {
	var publics, verifiers [shards]int
	b.eachLinked(func(_ *credentialRecord, k keys) {
		if k.hasPublic {
			publics[shardOf(k.public)]++
		}
		if k.hasVerifier {
			verifiers[shardOf(k.verifier)]++
		}
	})
	for i := range shards {
		if publics[i]+verifiers[i] > 0 {
			sh := b.shard(i, partPublics|partVerifiers)
			sh.publics, sh.verifiers = make([]link, 0, publics[i]), make([]link, 0, verifiers[i])
		}
	}
	b.eachLinked(func(r *credentialRecord, k keys) {
		if k.hasPublic {
			to := b.next.shards[shardOf(k.public)]
			to.publics = append(to.publics, link{k.public, r.key})
		}
		if k.hasVerifier {
			to := b.next.shards[shardOf(k.verifier)]
			to.verifiers = append(to.verifiers, link{k.verifier, r.key})
		}
	})
	for i := range shards {
		sh := b.next.shards[i]
		slices.SortFunc(sh.publics, link.compare)
		slices.SortFunc(sh.verifiers, link.compare)
	}
}

func (b *batch) eachLinked(visit func(*credentialRecord, keys)) {
	for i := range shards {
		sh := b.next.shards[i]
		for j := range sh.credentials {
			visit(&sh.credentials[j], b.keysOf(sh, &sh.credentials[j]))
		}
	}
}

// sortUnique orders records by key, keeps the last of equal ones, and returns
// them without spare room.
func sortUnique[T any](records []T, key func(*T) id) []T {
	slices.SortStableFunc(records, func(a, b T) int {
		ka, kb := key(&a), key(&b)
		if c := cmp.Compare(ka.Hi, kb.Hi); c != 0 {
			return c
		}
		return cmp.Compare(ka.Lo, kb.Lo)
	})
	out := records[:0]
	for i := range records {
		if i+1 < len(records) && key(&records[i]) == key(&records[i+1]) {
			continue
		}
		out = append(out, records[i])
	}
	return slices.Clip(slices.Clone(out))
}
