package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/world"
)

// A Report is how one story ended. Requests that succeeded are counted at the
// upstream, where they did their work or did not.
type Report struct {
	Story int    `json:"story"`
	Whose string `json:"whose"`
	Where string `json:"where"`
	Deed  string `json:"deed"`
	Drift string `json:"drift"`

	ThiefRequests       int `json:"thief_requests"`
	ThiefSucceeded      int `json:"thief_succeeded"`
	MimicRequests       int `json:"mimic_requests"`
	MimicSucceeded      int `json:"mimic_succeeded"`
	WorkloadRequests    int `json:"workload_requests"`
	WorkloadDenied      int `json:"workload_denied"`
	WorkloadDeniedAfter int `json:"workload_denied_after"`
	// RecoveredMS is the longest time from a refusal of the workload to its
	// success, its own exchange included; 0 when it was never refused.
	RecoveredMS float64 `json:"recovered_ms"`
	// LeakToContainmentMS is from the moment the proof of the leak was sent to
	// the moment its containment was acknowledged.
	LeakToContainmentMS float64 `json:"leak_to_containment_ms"`
	// FirstAlertMS is from the thief's first request (or the leak, when he never
	// acted) to the first finding about the key.
	FirstAlertMS float64 `json:"first_alert_ms"`

	// Pinned says that the key was bound to its workload from the beginning.
	Pinned bool `json:"pinned,omitempty"`
	// Problems are what went wrong besides, in words.
	Problems []string `json:"problems,omitempty"`

	// Credential is the leaked key, Generation that of its containment, and
	// Contained when the containment was acknowledged.
	Credential string    `json:"credential"`
	Generation uint64    `json:"generation"`
	Contained  time.Time `json:"contained"`

	alert time.Time
}

// Hindered says whether an acting thief got through or the workload was
// hindered.
func (r *Report) Hindered() bool {
	return r.ThiefSucceeded > 0 || r.WorkloadDenied > 0 || r.WorkloadDeniedAfter > 0 || len(r.Problems) > 0
}

// patience is how long a workload may take to get through again.
const patience = 2 * time.Second

// A play is one story being played.
type play struct {
	stage  *Stage
	story  world.Story
	caller *caller
	key    client.NewCredential
	rnd    *rand.Rand

	mu     sync.Mutex // guards what follows
	report Report
	began  time.Time // of the thief's first request, or of the leak
}

// Play plays story n and reports. It blocks until the story has ended.
func (s *Stage) Play(ctx context.Context, n int, pinned bool) (Report, error) {
	story := s.world.Story(n)
	p := &play{stage: s, story: story, rnd: rand.New(rand.NewPCG(story.Seed, 1))}
	p.report = Report{
		Story: n, Whose: story.Workload.Name, Where: string(story.Thief.Where), Deed: string(story.Thief.Deed), Drift: string(story.Drift), Pinned: pinned,
	}
	err := s.api.Send(ctx, http.MethodPost, "/v1/identities/"+string(story.Workload.Identity)+"/credentials", client.CreateCredential{}, &p.key)
	if err != nil {
		return p.report, fmt.Errorf("story %d: create the key: %w", n, err)
	}
	p.report.Credential = p.key.ID
	if pinned {
		err := s.api.Send(ctx, http.MethodPut, "/v1/credentials/"+p.key.ID+"/pin", client.PinCredential{Consumer: string(story.Workload.Identity)}, nil)
		if err != nil {
			return p.report, fmt.Errorf("story %d: pin the key: %w", n, err)
		}
	}
	p.caller = newCaller(fmt.Sprintf("workload-%d", n), story.Workload, s.world, s.cluster, s.server, p.key.Key)
	if err := p.run(ctx); err != nil {
		return p.report, fmt.Errorf("story %d: %w", n, err)
	}
	return p.report, nil
}

func (p *play) run(ctx context.Context) error {
	// Before: the workload does its work.
	if err := p.work(ctx, 6, &p.report.WorkloadDenied); err != nil {
		return err
	}
	folder, err := p.leak()
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	p.began = time.Now()
	watching, found := context.WithCancel(ctx)
	defer found()
	alerted := make(chan error, 1)
	go func() { alerted <- p.firstAlert(watching) }() // ends with the alert or with watching
	// The thief and the workload act at the same time; somebody finds the leak.
	if err := together(
		func() error { return p.thieve(ctx, p.story.Thief, p.story.Thief.Count) },
		func() error { return p.mimic(ctx) },
		func() error { return p.work(ctx, 5, &p.report.WorkloadDenied) },
	); err != nil {
		return err
	}
	if err := p.contain(ctx, folder); err != nil {
		return err
	}
	if err := <-alerted; err != nil {
		return err
	}
	// After: everybody tries again.
	err = together(
		func() error { return p.thieve(ctx, p.story.Thief, 4) },
		func() error { return p.mimicAfter(ctx) },
		func() error { return p.work(ctx, 6, &p.report.WorkloadDeniedAfter) },
	)
	p.count()
	return err
}

// together runs functions at the same time and waits for all of them.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, f := range all {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// count takes what came through from the upstream.
func (p *play) count() {
	p.report.ThiefSucceeded = p.stage.upstream.reached(p.actor("thief"))
	p.report.MimicSucceeded = p.stage.upstream.reached(p.actor("mimic"))
	p.stage.upstream.reached(p.caller.name)
}

func (p *play) actor(kind string) string { return fmt.Sprintf("%s-%d", kind, p.story.Number) }

// leak commits the key where anybody can read it.
func (p *play) leak() (string, error) {
	folder, err := os.MkdirTemp(p.stage.folder, "repository-")
	if err != nil {
		return "", fmt.Errorf("make the repository: %w", err)
	}
	text := fmt.Sprintf("# deploy settings of %s\nregion: eu-west-1\nretries: 3\napi_key: %s\n", p.story.Workload.Name, p.key.Key)
	if err := os.WriteFile(filepath.Join(folder, "settings.yaml"), []byte(text), 0o600); err != nil {
		return folder, fmt.Errorf("commit the key: %w", err)
	}
	return folder, nil
}

// work makes n requests as the rightful workload. denied counts those that did
// not get through within patience, exchange included.
func (p *play) work(ctx context.Context, n int, denied *int) error {
	rnd := rand.New(rand.NewPCG(p.story.Seed, uint64(n)+7))
	p.caller.agent = p.story.Agent
	for i := range n {
		from, route, target := p.story.Work(rnd, i)
		door, err := p.stage.edge.door(from)
		if err != nil {
			return err
		}
		res, err := p.caller.do(ctx, door, route, target)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.mu.Lock()
		p.report.WorkloadRequests++
		if !res.ok() || res.recovered > patience {
			*denied++
			if err != nil {
				p.report.Problems = append(p.report.Problems, err.Error())
			}
		}
		p.report.RecoveredMS = max(p.report.RecoveredMS, float64(res.recovered.Microseconds())/1000)
		p.mu.Unlock()
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) thieve(ctx context.Context, t world.Thief, n int) error {
	rnd := rand.New(rand.NewPCG(p.story.Seed, uint64(n)+99))
	kind, counter := "thief", &p.report.ThiefRequests
	if t.Mimic {
		kind, counter = "mimic", &p.report.MimicRequests
	}
	door, err := p.stage.edge.door(t.From)
	if err != nil {
		return err
	}
	c := &http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	for range n {
		route, target := t.Next(rnd)
		if _, err := steal(ctx, c, door, p.key.Key, p.actor(kind), t.Agent, route, target); err != nil {
			return err
		}
		p.mu.Lock()
		*counter++
		p.mu.Unlock()
		if err := pause(ctx, t.Pace); err != nil {
			return err
		}
	}
	return nil
}

// mimic acts from the workload's own host in every story, besides its thief.
func (p *play) mimic(ctx context.Context) error {
	return p.thieve(ctx, p.story.Mimic(), 4)
}

func (p *play) mimicAfter(ctx context.Context) error {
	before := p.stage.upstream.peek(p.actor("mimic"))
	if err := p.thieve(ctx, p.story.Mimic(), 4); err != nil {
		return err
	}
	if got := p.stage.upstream.peek(p.actor("mimic")) - before; got > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.report.Problems = append(p.report.Problems, fmt.Sprintf("%d requests with the contained key alone came through", got))
	}
	return nil
}

// contain finds the leak as a scanner does and reports the proof.
func (p *play) contain(ctx context.Context, folder string) error {
	started := time.Now()
	replies, err := p.stage.report(ctx, folder)
	took := time.Since(started)
	if err != nil {
		return fmt.Errorf("report the leak: %w", err)
	}
	p.report.LeakToContainmentMS = float64(took.Microseconds()) / 1000
	for _, r := range replies {
		if r.Credential == p.key.ID && r.Verdict == "confirmed" && r.Action != nil && r.Action.Status == "done" {
			p.report.Contained, p.report.Generation = started.Add(took), r.Action.Generation
			return nil
		}
	}
	return fmt.Errorf("the leak of %s was not contained: %d replies", p.key.ID, len(replies))
}

// firstAlert waits for the first finding about the key: what the thief shows,
// or the leak itself.
func (p *play) firstAlert(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		var page client.Page[client.Finding]
		if err := p.stage.api.Get(ctx, "/v1/findings", map[string][]string{"credential": {p.key.ID}, "limit": {"1"}}, &page); err != nil {
			return fmt.Errorf("look for the alert: %w", err)
		}
		if len(page.Items) > 0 {
			p.mu.Lock()
			p.report.alert = time.Now()
			p.report.FirstAlertMS = float64(p.report.alert.Sub(p.began).Microseconds()) / 1000
			p.mu.Unlock()
			return nil
		}
		if err := pause(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Problems = append(p.report.Problems, "no alert within half a minute of the thief's first request")
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
