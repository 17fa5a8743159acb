package facts

import (
	"math"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// putRevocation notes a revocation under whichever of token, key and identity
// it names. A later one for the same thing never weakens an earlier one.
func (b *batch) putRevocation(v *nhi.Revocation) {
	r := revoked{at: v.At.UnixMicro(), expires: micros(v.Expires)}
	if r.expires == 0 {
		r.expires = math.MaxInt64 // never forgotten
	}
	if v.Token != "" {
		b.revoke(v.Token, r, func(sh *shard) *map[string]revoked { return &sh.tokens })
	}
	if v.Key != "" {
		b.revoke(v.Key, r, func(sh *shard) *map[string]revoked { return &sh.keys })
	}
	if v.Identity != "" {
		b.cutOff(v.Identity, r)
	}
}

// maxMerged bounds how many merges in a row a cut-off follows. It is far more than
// decisions follow, so that it comes to the same whichever was told first, and ends
// where names stand for each other in a circle.
const maxMerged = 256

// cutOff notes that the tokens of an identity are refused that were issued until
// then. It is noted under whatever the identity was merged into, too: that is the
// same one, and decisions ask about it by the name that lives on.
func (b *batch) cutOff(name nhi.ID, r revoked) {
	for range maxMerged {
		b.revoke(string(name), r, func(sh *shard) *map[string]revoked { return &sh.sessions })
		if b.bulk {
			return // inherit does the rest, when there is something to look up in
		}
		sh, rec := b.next.lookIdentity(name)
		if rec == nil || rec.flags&flagAliased == 0 {
			return
		}
		name = sh.oddIdentities[rec.key].alias
	}
}

// inherit hands the cut-offs of merged identities on to those that live on.
func (b *batch) inherit() {
	cut := map[nhi.ID]revoked{}
	for _, sh := range b.next.shards {
		for name, r := range sh.sessions {
			if _, rec := b.next.lookIdentity(nhi.ID(name)); rec != nil && rec.flags&flagAliased != 0 {
				cut[nhi.ID(name)] = r
			}
		}
	}
	for name, r := range cut {
		b.cutOff(name, r)
	}
}

func (b *batch) revoke(name string, r revoked, list func(*shard) *map[string]revoked) {
	sh := b.shardOfText(name, partRevocations)
	m := list(sh)
	if *m == nil {
		*m = map[string]revoked{}
	}
	if old, known := (*m)[name]; known {
		r.at, r.expires = max(r.at, old.at), max(r.expires, old.expires)
	} else {
		b.next.counts.Revocations++
	}
	(*m)[name] = r
	if sh.firstExpires == 0 || r.expires < sh.firstExpires {
		sh.firstExpires = r.expires
	}
}

// Pruned is for how long after its end a revocation is kept: a clock that was ahead
// by less, and is put right, finds the tokens refused that are good again by it.
const Pruned = time.Hour

// prune forgets the revocations that ended long before now: no token they speak of
// can still be valid. The generation stays, because nothing that a decision
// could see has changed.
func (f *Facts) prune(now time.Time) {
	limit := now.Add(-Pruned).UnixMicro()
	f.mu.Lock()
	defer f.mu.Unlock()
	var b *batch
	for i, sh := range f.root.Load().shards {
		if sh.firstExpires == 0 || sh.firstExpires >= limit {
			continue
		}
		if b == nil {
			b = f.begin()
		}
		own := b.shard(i, partRevocations)
		own.firstExpires = 0
		for _, m := range []map[string]revoked{own.tokens, own.keys, own.sessions} {
			b.next.counts.Revocations -= own.forget(m, limit)
		}
	}
	if b != nil {
		f.root.Store(b.next)
	}
}

// forget removes from m what ended before limit and returns how much that was.
func (sh *shard) forget(m map[string]revoked, limit int64) int {
	n := 0
	for name, r := range m {
		switch {
		case r.expires < limit:
			delete(m, name)
			n++
		case sh.firstExpires == 0 || r.expires < sh.firstExpires:
			sh.firstExpires = r.expires
		}
	}
	return n
}
