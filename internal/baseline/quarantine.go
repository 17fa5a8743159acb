package baseline

import (
	"slices"

	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/surprise/pages"
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

// withheld are the suspended events of all identities. It is bounded: when it is
// full, those that came back the longest ago are forgotten.
type withheld struct {
	of map[pages.Slot][]suspended
}

// maxWithheld bounds the identities with suspended events.
const maxWithheld = 1 << 18

// add withholds an event. It returns true when the same kind of event has now
// come on the given number of different days: it is normal.
func (w *withheld) add(slot pages.Slot, obs *surprise.Observation, score *surprise.Score, days int) bool {
	signature, day := signatureOf(score), obs.At/microsPerDay
	list := w.of[slot]
	i := slices.IndexFunc(list, func(s suspended) bool { return s.Signature == signature })
	if i < 0 {
		if len(list) == maxSuspended { // the one that waits the longest gives way
			oldest := 0
			for j, s := range list {
				if s.LastDay < list[oldest].LastDay {
					oldest = j
				}
			}
			list = slices.Delete(list, oldest, oldest+1)
		}
		w.set(slot, append(list, suspended{Signature: signature, Observation: *obs, Days: 1, LastDay: day}))
		return false
	}
	s := &list[i]
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
	w.set(slot, slices.Delete(list, i, i+1))
	return true
}

func (w *withheld) set(slot pages.Slot, list []suspended) {
	if len(list) == 0 {
		delete(w.of, slot)
		return
	}
	if w.of == nil {
		w.of = map[pages.Slot][]suspended{}
	}
	if _, known := w.of[slot]; !known && len(w.of) >= maxWithheld {
		w.forget()
	}
	w.of[slot] = list
}

func (w *withheld) drop(slot pages.Slot) { delete(w.of, slot) }

// forget forgets an eighth of all identities: those that came back the longest
// ago.
func (w *withheld) forget() {
	latest := func(list []suspended) (day int64) {
		for _, s := range list {
			day = max(day, s.LastDay)
		}
		return day
	}
	var days []int64
	for _, list := range w.of {
		days = append(days, latest(list))
	}
	slices.Sort(days)
	limit, most := days[len(days)/8], len(days)/8+1
	for slot, list := range w.of {
		if most > 0 && latest(list) <= limit {
			delete(w.of, slot)
			most--
		}
	}
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
