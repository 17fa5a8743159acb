package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/world"
)

// Background is the company at work: workloads that call its interfaces
// through the edge, and a service that asks about cloud identities by AuthZEN.
type background struct {
	stage *Stage
	ask   *http.Client

	mu      sync.Mutex // guards callers
	callers []*caller
}

// perSecond is how many decisions a second the company asks for.
const perSecond = 50

// gatewayShare is how many of those, of a hundred, are requests at the edge.
// Workloads are few; more would be a flood compared with their past.
const gatewayShare = 24

func newBackground(s *Stage) *background {
	return &background{stage: s, ask: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
}

// Busy keeps the whole company at work until ctx ends: some fifty decisions a
// second. The history of its workloads must have been learned (see Remember).
func (s *Stage) Busy(ctx context.Context) error {
	b := newBackground(s)
	if err := b.join(ctx, s.world.Workloads); err != nil {
		return err
	}
	b.run(ctx)
	return nil
}

// join lets workloads take part, each with a key of its own.
func (b *background) join(ctx context.Context, of []*world.Workload) error {
	for _, wl := range of {
		var key client.NewCredential
		if err := b.stage.api.Send(ctx, http.MethodPost, "/v1/identities/"+string(wl.Identity)+"/credentials", client.CreateCredential{}, &key); err != nil {
			return fmt.Errorf("create a key of %s: %w", wl.Name, err)
		}
		c := newCaller("", wl, b.stage.world, b.stage.cluster, b.stage.server, key.Key)
		b.mu.Lock()
		b.callers = append(b.callers, c)
		b.mu.Unlock()
	}
	return nil
}

func (b *background) some(r *rand.Rand) *caller {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.callers) == 0 {
		return nil
	}
	return b.callers[r.IntN(len(b.callers))]
}

// joined is the share of the company's workloads that take part.
func (b *background) joined() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(len(b.callers)) / float64(len(b.stage.world.Workloads))
}

// run keeps the company busy until ctx ends. A request that fails is no
// reason to stop: a company's day goes on.
func (b *background) run(ctx context.Context) {
	const hands = 8
	work := make(chan uint64)
	var wg sync.WaitGroup
	for range hands {
		wg.Go(func() {
			for seed := range work {
				b.one(ctx, rand.New(rand.NewPCG(b.stage.world.Seed, seed)))
			}
		})
	}
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for n := uint64(0); ctx.Err() == nil; n++ {
		select {
		case <-ctx.Done():
		case <-tick.C:
			select {
			case work <- n:
			default: // everybody is waiting; this one is left out
			}
		}
	}
	close(work)
	wg.Wait()
	b.ask.CloseIdleConnections()
}

// one makes one request.
func (b *background) one(ctx context.Context, r *rand.Rand) {
	if r.Float64()*100 < gatewayShare*b.joined() {
		if c := b.some(r); c != nil {
			door, err := b.stage.edge.door(c.who.Home)
			if err != nil {
				return
			}
			route, target := c.who.Usual(r)
			_, _ = c.do(ctx, door, route, target) // how it ended is in the decision log
			return
		}
	}
	_ = b.evaluate(ctx, b.stage.world.Ask(r))
}

// evaluate asks by AuthZEN 1.0.
func (b *background) evaluate(ctx context.Context, a world.Ask) error {
	question, err := json.Marshal(map[string]any{
		"subject":  map[string]any{"type": "identity", "id": a.Identity},
		"action":   map[string]any{"name": a.Action, "properties": map[string]any{"class": a.Class}},
		"resource": map[string]any{"type": "service", "id": a.Resource},
		"context":  map[string]any{"ip": a.Address.String(), "user_agent": a.Agent},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.stage.server+"/access/v1/evaluation", bytes.NewReader(question))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+b.stage.asking)
	res, err := b.ask.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return err
}
