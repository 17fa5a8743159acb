package oidc

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	rememberFor = time.Minute
	rememberMax = 8192
)

// A memory remembers what tokens proved under one set of rules. The zero
// memory is empty.
type memory struct {
	mu    sync.Mutex // guards the rest
	set   *ruleSet
	known map[[sha256.Size]byte]remembered
}

type remembered struct {
	subject Subject
	until   time.Time
}

func (m *memory) get(name [sha256.Size]byte, set *ruleSet, now time.Time) (Subject, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[name]
	return r.subject, ok && m.set == set && now.Before(r.until)
}

// put remembers a subject for rememberFor, or until its token expires. A full
// memory starts anew: what it forgets is verified again.
func (m *memory) put(name [sha256.Size]byte, set *ruleSet, s Subject, now time.Time) {
	until := now.Add(rememberFor)
	if s.Attested.Expires.Before(until) {
		until = s.Attested.Expires
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.set != set || len(m.known) >= rememberMax {
		m.set, m.known = set, make(map[[sha256.Size]byte]remembered)
	}
	m.known[name] = remembered{s, until}
}
