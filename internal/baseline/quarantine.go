package baseline

import (
	"slices"

	"github.com/muster-id/muster/internal/surprise"
)

const (
	maxSuspended = 16
	microsPerDay = 24 * 3600 * 1e6
	// forgotten is the number of days after which a suspended event that did
	// not come back starts anew.
	forgotten = 30
)

// A suspended is one kind of event that scored above the threshold, waiting to
// become normal.
type suspended struct {
	Signature   uint64               `json:"signature"`   // what was surprising about it
	Observation surprise.Observation `json:"observation"` // the latest one
	Days        int                  `json:"days"`        // on which it came
	LastDay     int64                `json:"last_day"`
}

// suspend withholds an event. It returns true when the same kind of event has
// now come on the given number of different days: it is normal.
func (w *life) suspend(obs *surprise.Observation, score *surprise.Score, days int) bool {
	signature, day := signatureOf(score), obs.At/microsPerDay
	i := slices.IndexFunc(w.suspended, func(s suspended) bool { return s.Signature == signature })
	if i < 0 {
		if len(w.suspended) == maxSuspended { // the one that waits the longest gives way
			oldest := 0
			for j, s := range w.suspended {
				if s.LastDay < w.suspended[oldest].LastDay {
					oldest = j
				}
			}
			w.suspended = slices.Delete(w.suspended, oldest, oldest+1)
		}
		w.suspended = append(w.suspended, suspended{Signature: signature, Observation: *obs, Days: 1, LastDay: day})
		return false
	}
	s := &w.suspended[i]
	switch {
	case day > s.LastDay+forgotten:
		s.Days, s.LastDay = 1, day
	case day > s.LastDay:
		s.Days, s.LastDay = s.Days+1, day
	}
	s.Observation = *obs
	if days < 0 || s.Days < days {
		return false
	}
	w.suspended = slices.Delete(w.suspended, i, i+1)
	return true
}

// signatureOf names what is surprising about an event: the features that
// weigh, and their values. Floods and odd hours have no value: one flood is
// like another. And one new network is like another of the same system, or a
// service that begins to scale out would never get over it.
func signatureOf(score *surprise.Score) uint64 {
	const weighs = 30
	signature := surprise.Hash("suspended")
	for f, fs := range score.Features {
		if fs.Tenths < weighs && !fs.New {
			continue
		}
		value := score.Seen.Value(surprise.Feature(f))
		if surprise.Feature(f) == surprise.Network {
			value = score.Seen.ASN
		}
		signature ^= surprise.HashNumber(surprise.Feature(f).String(), value)
	}
	return signature
}
