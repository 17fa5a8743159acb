package learning

import (
	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// A Mind learns what is normal and finds what is not. It takes events one by
// one and keeps everything in memory; who feeds it stores what it found. The
// live server and the offline replay share it.
type Mind struct {
	Normal   *baseline.Learner
	Detector *detect.Detector
	seen     *activity.Seen
}

// seenEvents is how many ids of events are remembered to recognise repeats.
const seenEvents = 1 << 20

// NewMind returns a Mind that knows nothing yet. known answers from memory what
// the inventory knows; nil means that nothing is known.
func NewMind(s baseline.Settings, known detect.Inventory) *Mind {
	m := &Mind{seen: activity.NewSeen(seenEvents), Normal: baseline.New(s)}
	m.Detector = detect.New(detect.Settings{}, known, explainer{m.Normal})
	return m
}

type explainer struct{ normal *baseline.Learner }

// Explain implements detect.Explainer.
func (e explainer) Explain(ev *nhi.Event, score *surprise.Score) []nhi.Feature {
	return e.normal.Explain(ev.Identity, *score)
}

// Take learns from one event and adds the findings that it changed to found.
// The same event again changes nothing, and Take returns false.
func (m *Mind) Take(ev *nhi.Event, found map[string]nhi.Finding) bool {
	if !m.seen.Add(ev) {
		return false
	}
	score, judged := m.Normal.Observe(ev, true)
	if !judged {
		return true
	}
	for _, f := range m.Detector.Observe(ev, &score).Findings {
		found[f.ID] = f
	}
	return true
}

// Damaged returns how many identities lost what was saved about them since the
// start: a page, or what detections remember. It may be called at any time.
func (m *Mind) Damaged() int { return m.Normal.Damaged() + m.Detector.Damaged() }
