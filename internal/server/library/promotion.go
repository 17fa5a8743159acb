package library

import (
	"context"
	"slices"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/client/policies"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/nhi"
)

// Promotion returns the promotion under way, or the last one.
func (l *Library) Promotion(ctx context.Context) (client.Promotion, error) {
	if r := l.rollout.Load(); r != nil {
		return shown(r.tally, time.Now()), nil
	}
	p, found, err := l.c.Store.Promotion(ctx)
	if err != nil {
		return client.Promotion{}, err
	}
	return shown(promotion.New(p, found), time.Now()), nil
}

// Numbers are what metrics tell of promotions.
type Numbers struct {
	Gate        nhi.PromotionGate   // empty: none is under way
	Percent     int                 // of the principals that its policies decide for
	Unexplained int                 // times somebody is newly denied something that nobody explained
	Holds       []nhi.PromotionHold // what holds it up until a person does something
	// Opened and RolledBack count gates and roll-backs since the process started.
	Opened, RolledBack int64
}

// Numbers reads memory only.
func (l *Library) Numbers() Numbers {
	n := Numbers{Opened: l.opened.Load(), RolledBack: l.rolledBack.Load()}
	p, r := l.holder.Pair(), l.rollout.Load()
	if p.Rival.Set == nil || r == nil {
		return n // also when it was just taken back, and that is not stored yet
	}
	n.Gate, n.Percent, n.Unexplained = r.tally.Promotion().Gate, p.Share.Percent, r.tally.Unexplained()
	for _, h := range r.tally.Next(time.Now()).Holds {
		n.Holds = append(n.Holds, h.Why)
	}
	if p.Watching {
		n.Percent = 100
	}
	return n
}

func shown(t *promotion.Tally, now time.Time) client.Promotion {
	p, found, _ := t.Found(false)
	step := t.Next(now)
	out := client.Promotion{
		ID: p.ID, Running: p.Running(), Gate: string(p.Gate), Paused: p.Paused, Percent: p.Percent, Stages: append([]int{}, p.Plan.Stages...),
		Digest: p.Digest, Former: p.Former, Sequence: p.Sequence, Author: p.Author, Note: p.Note, Started: p.Started, Since: p.Since, Waits: frame.OrEmpty(step.Waits),
		Judged: p.Judged, Unanswered: p.Unanswered, Denied: p.Denied, StepUp: p.StepUp, Allowed: p.Allowed, Errors: p.Errors, Erred: p.Erred, ErrorsOther: p.ErrorsUnproven, Dropped: p.Dropped, Unlisted: p.Unlisted,
		Unexplained: t.Unexplained(), Threshold: p.Plan.Threshold, Why: p.Why, Ended: frame.When(p.Ended),
	}
	if p.Running() {
		out.Due = frame.When(step.Due.UTC())
	}
	each := slices.CompactFunc(found.Witnesses, func(a, b nhi.PromotionWitness) bool { return promotion.Who(&a) == promotion.Who(&b) })
	out.Witnesses = frame.Each(each, func(w nhi.PromotionWitness) policies.PromotionWitness {
		return policies.PromotionWitness{Identity: string(w.Identity), Action: string(w.Action), Resource: w.Resource, Decision: w.Decision, At: w.At, Erred: w.Erred}
	})
	out.Holds = frame.Each(step.Holds, func(h promotion.Hold) policies.PromotionHold {
		one := policies.PromotionHold{Why: string(h.Why), Waits: h.Text}
		for _, held := range p.Held {
			if held.Why == h.Why {
				one.Since = frame.When(held.Since.UTC())
			}
		}
		return one
	})
	out.Denials = frame.Each(found.Denials, func(d nhi.PromotionDenial) policies.PromotionDenial {
		one := policies.PromotionDenial{
			Identity: string(d.Identity), Action: string(d.Action), Resource: d.Resource, Policies: frame.OrEmpty(d.Policies), Reason: d.Reason,
			Count: d.Count, Decision: d.Decision, At: d.At, Decided: d.Decided, Reported: d.Reported,
		}
		if a := t.Explained(&d); a != nil {
			one.Explained = a.Reason
		}
		return one
	})
	out.Acknowledged = frame.Each(p.Acknowledged, func(a nhi.Acknowledgement) policies.PromotionExplained {
		return policies.PromotionExplained{By: a.By, At: a.At, Acknowledge: client.Acknowledge{
			Policy: a.Policy, Identity: string(a.Identity), Action: string(a.Action), Resource: a.Resource, Reason: a.Reason,
		}}
	})
	return out
}
