package frame

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/nhi"
)

func NotFound(what, id string) error { return fmt.Errorf("%s %.64q: %w", what, id, nhi.ErrNotFound) }

// A Namer puts names beside ids, asking the inventory once for each. It
// belongs to one request or stream.
type Namer struct {
	Frame  *Frame
	ctx    context.Context
	names  map[nhi.ID]string
	points map[nhi.ID]string
}

func (s *Frame) Namer(ctx context.Context) *Namer {
	return &Namer{Frame: s, ctx: ctx, names: map[nhi.ID]string{}}
}

// maxNames bounds what a long stream remembers.
const maxNames = 10_000

func (n *Namer) Identity(id nhi.ID) string {
	if id == "" {
		return ""
	}
	if name, ok := n.names[id]; ok {
		return name
	}
	if len(n.names) > maxNames {
		clear(n.names)
	}
	i, err := n.Frame.Inventory.Identity(n.ctx, id)
	if err != nil {
		return ""
	}
	n.names[id] = i.Name
	return i.Name
}

func (n *Namer) Point(id nhi.ID) string {
	if id == "" {
		return ""
	}
	if name, ok := n.points[id]; ok {
		return name
	}
	points, err := n.Frame.Access.Points(n.ctx)
	if err != nil {
		return ""
	}
	n.points = make(map[nhi.ID]string, len(points))
	for _, p := range points {
		n.points[p.ID] = p.Name
	}
	if _, ok := n.points[id]; !ok {
		n.points[id] = "" // ask once for a point that is gone
	}
	return n.points[id]
}

func (n *Namer) Decision(d nhi.Decision) client.Decision {
	out := ToDecision(d)
	out.Name, out.PointName = n.Identity(d.Identity), n.Point(d.Point)
	return out
}

// Approval writes an approval as it stands now.
func (n *Namer) Approval(a nhi.Approval) client.Approval {
	return client.Approval{
		ID: a.ID, State: string(a.At(time.Now())), Decision: a.Decision, Identity: string(a.Identity), Name: n.Identity(a.Identity), Point: string(a.Point), PointName: n.Point(a.Point),
		Action: string(a.Action), Operation: a.Operation, Resource: a.Resource, Sensitivity: a.Sensitivity, Purpose: a.Purpose, Address: a.Address, Country: a.Country,
		Network: a.Network, Agent: a.Agent, Needed: a.Needed, Asked: a.Asked.UTC(), Expires: a.Expires.UTC(), Settled: When(a.Settled), Used: a.Used, CancelledBy: a.CancelledBy,
		Reasons: Each(a.Reasons, toReason),
		Votes: Each(a.Votes, func(v nhi.Vote) client.Vote {
			return client.Vote{Person: v.Person, Name: v.Name, Yes: v.Yes, Comment: v.Comment, At: v.At.UTC()}
		}),
	}
}

func (n *Namer) Action(a nhi.Action) client.Action {
	out := ToAction(a)
	out.Name = n.Identity(a.Identity)
	return out
}
