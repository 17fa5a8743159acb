package inventory

import (
	"cmp"
	"math"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/muster-id/muster/internal/nhi"
)

// The sources of owner evidence. A tag's source is TagSource and its key.
const (
	SourceHand     = "hand"     // a person said so here
	SourceCreator  = "creator"  // who made the identity
	SourcePipeline = "pipeline" // whose run made the identity
	TagSource      = "tag:"     // the provider's tag of this key
)

// A prior says how far evidence of a source is to be trusted when fresh, and
// after how long half of that is left.
type prior struct {
	reliability float64
	halfLife    time.Duration
	group       string // evidence of one group counts once: it has one cause
}

const day = 24 * time.Hour

// priorOf gives the weights. Those of a person fade so slowly that only years
// of silence open the question again.
func priorOf(source string) prior {
	switch {
	case source == SourceHand:
		return prior{0.98, 730 * day, "hand"}
	case source == SourceCreator:
		return prior{0.6, 365 * day, "creator"}
	case source == SourcePipeline:
		return prior{0.5, 365 * day, "creator"}
	case strings.HasPrefix(source, TagSource):
		return prior{0.5, 180 * day, "tag"}
	default:
		return prior{0.4, 180 * day, source}
	}
}

// minConfidence is what a candidate needs at least; below it nobody owns.
const minConfidence = 0.25

// Decide returns the owner that the evidence supports best at a time, or the
// zero Owner.
//
// A person's newest word beats everything. Otherwise the score of a candidate
// is 1 - prod(1 - r*decay) over its evidence, where evidence of one group
// (several tags, say) counts once, by its best. A tag names one owner at a
// time: of one tag only the newest value counts. Equal scores are decided by
// the order of the tags in tags, then by name, so that the answer does not
// depend on the order of evidence.
func Decide(evidence []nhi.OwnerEvidence, at time.Time, tags []string) nhi.Owner {
	current := newestOfEachSource(evidence)
	type candidate struct {
		nhi.Owner
		best   float64            // single strongest piece, whose source is named
		rank   int                // of that source among the tags
		groups map[string]float64 // group -> best weight
	}
	candidates := make(map[string]*candidate)
	for _, e := range current {
		p := priorOf(e.Source)
		age := max(0, at.Sub(e.At))
		w := p.reliability * math.Exp2(-float64(age)/float64(p.halfLife))
		c := candidates[e.Owner]
		if c == nil {
			c = &candidate{Owner: nhi.Owner{Ref: e.Owner}, rank: math.MaxInt, groups: make(map[string]float64)}
			candidates[e.Owner] = c
		}
		c.groups[p.group] = max(c.groups[p.group], w)
		rank := rankOf(e.Source, tags)
		if w > c.best || (w == c.best && rank < c.rank) {
			c.best, c.Source, c.rank = w, e.Source, rank
		}
	}
	var ranked []*candidate
	for _, c := range candidates {
		miss := 1.0
		groups := make([]float64, 0, len(c.groups))
		for _, w := range c.groups {
			groups = append(groups, w)
		}
		slices.Sort(groups) // so that rounding is the same each time
		for _, w := range groups {
			miss *= 1 - w
		}
		c.Confidence = math.Round((1-miss)*1e4) / 1e4
		if c.Confidence >= minConfidence {
			ranked = append(ranked, c)
		}
	}
	if len(ranked) == 0 {
		return nhi.Owner{}
	}
	return slices.MinFunc(ranked, func(a, b *candidate) int {
		return cmp.Or(
			cmp.Compare(byHand(b.Source), byHand(a.Source)),
			cmp.Compare(b.Confidence, a.Confidence),
			cmp.Compare(a.rank, b.rank),
			cmp.Compare(a.Ref, b.Ref),
		)
	}).Owner
}

func byHand(source string) int {
	if source == SourceHand {
		return 1
	}
	return 0
}

func rankOf(source string, tags []string) int {
	if i := slices.Index(tags, strings.TrimPrefix(source, TagSource)); i >= 0 {
		return i
	}
	return len(tags)
}

// newestOfEachSource keeps of each source that states one owner at a time (a
// tag, a person) what it said last. Other sources may name several.
func newestOfEachSource(evidence []nhi.OwnerEvidence) []nhi.OwnerEvidence {
	last := make(map[string]nhi.OwnerEvidence)
	var out []nhi.OwnerEvidence
	for _, e := range evidence {
		if e.Source != SourceHand && !strings.HasPrefix(e.Source, TagSource) {
			out = append(out, e)
			continue
		}
		l, ok := last[e.Source]
		if !ok || e.At.After(l.At) || (e.At.Equal(l.At) && e.Owner < l.Owner) {
			last[e.Source] = e
		}
	}
	for _, e := range last {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b nhi.OwnerEvidence) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Owner, b.Owner), a.At.Compare(b.At))
	})
	return out
}

const maxOwner = 254 // the longest address that mail can carry (RFC 5321, section 4.5.3.1.3)

// ParseOwner returns an owner in its one form, a lower-case e-mail address or
// "team:x", and whether value is one.
func ParseOwner(value string) (string, bool) {
	value = strings.ToLower(strings.TrimSpace(value))
	if len(value) > maxOwner || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", false
	}
	if team, ok := strings.CutPrefix(value, "team:"); ok {
		team = strings.TrimSpace(team)
		return "team:" + team, team != ""
	}
	a, err := mail.ParseAddress(value)
	if err != nil || a.Name != "" || a.Address != value {
		return "", false
	}
	return value, true
}

// tagEvidence reads owners from the labels of an identity. The value of a tag
// whose name ends in "team" may be the bare name of a team. The keys of labels
// are compared without regard to case, because people do not regard it.
func (s *Settings) tagEvidence(i *nhi.Identity, at time.Time) []nhi.OwnerEvidence {
	var out []nhi.OwnerEvidence
	for _, tag := range s.OwnerTags {
		for _, key := range sortedKeys(i.Labels) {
			if !strings.EqualFold(key, tag) {
				continue
			}
			value := i.Labels[key]
			owner, ok := ParseOwner(value)
			if !ok && strings.HasSuffix(strings.ToLower(tag), "team") && !strings.Contains(value, "@") {
				owner, ok = ParseOwner("team:" + value)
			}
			if ok {
				out = append(out, nhi.OwnerEvidence{Identity: i.ID, Owner: owner, Source: TagSource + tag, Detail: key, At: at})
			}
		}
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
