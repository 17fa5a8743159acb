package proxies

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// A Prober signs what a probe sends to an application: an assertion of a point that
// is over. It implements frame.Probes. All fields are required.
type Prober struct {
	Points   func(ctx context.Context) ([]nhi.Point, error)
	Asserter *enforce.Asserter
	// Record puts an act into the audit log.
	Record func(ctx context.Context, a nhi.Act) error
}

// Probe implements frame.Probes. It is on record before it is answered.
func (p *Prober) Probe(ctx context.Context, by frame.Caller, ref string, about client.ProbePoint) (client.PointProbe, error) {
	points, err := p.Points(ctx)
	if err != nil {
		return client.PointProbe{}, err
	}
	for i := range points {
		if string(points[i].ID) == ref || points[i].Name == ref {
			return p.over(ctx, by, &points[i], about)
		}
	}
	return client.PointProbe{}, frame.NotFound("point", ref)
}

func (p *Prober) over(ctx context.Context, by frame.Caller, point *nhi.Point, about client.ProbePoint) (client.PointProbe, error) {
	if !enforce.Plain(about.Host, 300) || !enforce.Plain(about.Target, 2048) {
		return client.PointProbe{}, nhi.Invalidf("the host or the target holds a control character, or is too long")
	}
	over, err := p.Asserter.Over(point, &enforce.Original{Method: "GET", Host: about.Host, Target: about.Target})
	if err != nil {
		return client.PointProbe{}, err
	}
	detail, err := json.Marshal(map[string]string{"point": point.Name, "host": about.Host})
	if err != nil {
		return client.PointProbe{}, err
	}
	err = p.Record(ctx, nhi.Act{
		At: time.Now(), Actor: by.Actor(), Act: "point.probe", Target: string(point.ID), Outcome: "done", Detail: detail,
		Reason: fmt.Sprintf("an assertion of point %s that is over, to probe an application with", point.Name),
	})
	if err != nil {
		return client.PointProbe{}, err
	}
	return client.PointProbe{Assertion: over}, nil
}
