package detect

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// A Ledger fuses findings into risk, for each identity and each credential.
//
// A finding about one credential is that credential's risk and not its
// identity's: a stolen key must not turn against the owner, who may be proving
// himself by better means at the same time.
//
// Every finding is a term severity x confidence between 0 and 1 that fades
// with time; risk is 100 x (1 - the product of what each term leaves), so
// that terms add up but never past 100, and each can be shown to people. A
// Ledger is not for concurrent use.
type Ledger struct {
	halfLife   time.Duration
	identity   map[nhi.ID][]Term
	credential map[nhi.CredentialID][]Term
}

// A Term is the share of one finding in a risk.
type Term struct {
	Finding string    `json:"finding"`
	Rule    string    `json:"rule"`
	Weight  float64   `json:"weight"` // 0 to 1, when it was at its freshest
	At      time.Time `json:"at"`     // of the finding's latest event
}

// maxTerms bounds the terms of one identity; the weakest gives way.
const maxTerms = 16

// faint is the share below which a term is forgotten.
const faint = 0.01

// NewLedger returns an empty Ledger whose terms fade to half in halfLife (0:
// a day).
func NewLedger(halfLife time.Duration) *Ledger {
	orDefault(&halfLife, 24*time.Hour)
	return &Ledger{halfLife: halfLife, identity: map[nhi.ID][]Term{}, credential: map[nhi.CredentialID][]Term{}}
}

// severe is what a certain finding of a severity weighs. One behavioural
// finding, however surprising, stays below 80, the line at which policy
// denies: it takes two, or something that is certain.
var severe = map[nhi.Severity]float64{nhi.Info: 0.03, nhi.Low: 0.2, nhi.Medium: 0.45, nhi.High: 0.7, nhi.Critical: 0.95}

// Add takes a finding in, replacing what the same finding said before. A
// finding that was dismissed or resolved is taken out.
func (l *Ledger) Add(f *nhi.Finding) {
	t := Term{Finding: f.ID, Rule: f.Rule, Weight: severe[f.Severity] * confidence(f.Score), At: f.LastSeen}
	if f.Status == nhi.Dismissed || f.Status == nhi.Resolved {
		t.Weight = 0
	}
	switch {
	case f.Credential != "":
		put(l.credential, f.Credential, t, l.halfLife)
	case f.Identity != "":
		put(l.identity, f.Identity, t, l.halfLife)
	}
}

// confidence turns a score into a share: 43, which is 13 bits, is an even
// chance, and it takes certainty to be certain.
func confidence(score float64) float64 {
	return min(1, max(0.1, 0.5+(score-43)/80))
}

func put[K comparable](m map[K][]Term, key K, t Term, halfLife time.Duration) {
	terms := slices.DeleteFunc(m[key], func(old Term) bool {
		return old.Finding == t.Finding || old.now(t.At, halfLife) < faint
	})
	if t.Weight > 0 {
		terms = append(terms, t)
	}
	slices.SortFunc(terms, func(a, b Term) int {
		return cmp.Or(cmp.Compare(b.now(t.At, halfLife), a.now(t.At, halfLife)), cmp.Compare(a.Finding, b.Finding))
	})
	if terms = terms[:min(len(terms), maxTerms)]; len(terms) == 0 {
		delete(m, key)
		return
	}
	m[key] = terms
}

// now returns what is left of a term at a time.
func (t *Term) now(at time.Time, halfLife time.Duration) float64 {
	age := max(0, at.Sub(t.At))
	return t.Weight * math.Exp2(-float64(age)/float64(halfLife))
}

// HalfLife returns the time in which a term fades to half.
func (l *Ledger) HalfLife() time.Duration { return l.halfLife }

// Left returns what is left of a term at a time, 0 to 1.
func (l *Ledger) Left(t *Term, at time.Time) float64 { return t.now(at, l.halfLife) }

// Identity returns the risk of an identity at a time, 0 to 100, and its
// terms, the heaviest first. The terms must not be changed.
func (l *Ledger) Identity(id nhi.ID, at time.Time) (int, []Term) {
	return l.fuse(l.identity[id], at)
}

// Credential returns the risk of a credential at a time, 0 to 100, and its
// terms.
func (l *Ledger) Credential(id nhi.CredentialID, at time.Time) (int, []Term) {
	return l.fuse(l.credential[id], at)
}

func (l *Ledger) fuse(terms []Term, at time.Time) (int, []Term) {
	left := 1.0
	for i := range terms {
		left *= 1 - terms[i].now(at, l.halfLife)
	}
	return int(math.Round(100 * (1 - left))), terms
}

// Sweep forgets what has faded by a time. Call it now and then.
func (l *Ledger) Sweep(at time.Time) {
	sweep(l.identity, at, l.halfLife)
	sweep(l.credential, at, l.halfLife)
}

func sweep[K comparable](m map[K][]Term, at time.Time, halfLife time.Duration) {
	for key, terms := range m {
		terms = slices.DeleteFunc(terms, func(t Term) bool { return t.now(at, halfLife) < faint })
		if m[key] = terms; len(terms) == 0 {
			delete(m, key)
		}
	}
}
