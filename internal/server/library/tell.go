package library

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
)

// rolledBack are what people are told of a promotion that was rolled back by itself.
func rolledBack(p *nhi.Promotion) []nhi.Notice {
	data, err := json.Marshal(map[string]any{
		"title":    "New policies were rolled back",
		"sentence": fmt.Sprintf("The policies that %s sent are withdrawn, and the former ones are in force for everybody. Look at muster policy promotion for who was denied what.", p.Author),
		"reason":   p.Why,
	})
	if err != nil {
		return nil // these always encode
	}
	return []nhi.Notice{{ID: "promotion:" + p.ID, Topic: notify.TopicRolledBack, Severity: nhi.High, At: p.Ended, Data: data}}
}

// held are what people are told of a promotion that does not go on without them, a
// notice for each thing that holds it up.
func held(t *promotion.Tally, tell []nhi.PromotionHeld, now time.Time) []nhi.Notice {
	if len(tell) == 0 {
		return nil
	}
	p, step := t.Promotion(), t.Next(now)
	var out []nhi.Notice
	for _, h := range tell {
		for _, hold := range step.Holds {
			if hold.Why != h.Why {
				continue
			}
			data, err := json.Marshal(map[string]any{
				"title": "Policies on their way into force wait for a person",
				"sentence": fmt.Sprintf("The policies that %s sent stand at %s and go no further by themselves, since %s. Look at muster policy promotion status, or at Policies in the console.",
					p.Author, standing(&p), h.Since.UTC().Format("2006-01-02 15:04 UTC")),
				"reason": hold.Text,
			})
			if err != nil {
				continue // these always encode
			}
			id := fmt.Sprintf("promotion:%s:%s:%d", p.ID, h.Why, h.Since.UnixMicro())
			out = append(out, nhi.Notice{ID: id, Topic: notify.TopicHeld, Severity: nhi.Medium, At: now, Data: data})
		}
	}
	return out
}

// standing says at which gate a promotion stands, and what that means.
func standing(p *nhi.Promotion) string {
	switch p.Gate {
	case nhi.PromotionStaged:
		return fmt.Sprintf("%d percent, where two sets of policies decide", p.Percent)
	case nhi.PromotionWatching:
		return "the last gate, where they decide for everybody and can still be taken back"
	}
	return "the shadow, where they decide nothing"
}
