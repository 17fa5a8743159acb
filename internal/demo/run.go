package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/world"
)

// everyStory is the pause from the beginning of one story to the next.
const everyStory = 20 * time.Second

// Run shows the whole company until ctx ends, then stops the server and removes
// everything. It writes to Out where the console is, a one-time link to sign
// in, and what happens. Ports 8700 and 8701 are used if they are free.
func Run(ctx context.Context, s Settings) (err error) {
	if s.Out == nil {
		s.Out = io.Discard
	}
	began := time.Now()
	s.company.Seed = s.Seed
	set := StageSettings{
		World: s.company, Records: s.records, Version: s.Version, Listen: freeOr(ctx, "127.0.0.1:8700"), Ops: freeOr(ctx, "127.0.0.1:8701"),
	}
	stage, err := Open(ctx, set)
	if errors.Is(err, syscall.EADDRINUSE) { // somebody was faster
		set.Listen, set.Ops = "127.0.0.1:0", "127.0.0.1:0"
		stage, err = Open(ctx, set)
	}
	if err != nil {
		return orDone(ctx, err)
	}
	defer func() {
		err = errors.Join(err, stage.Close())
		if err == nil {
			fmt.Fprintln(s.Out, "\nEverything was removed.")
		}
	}()
	link, err := stage.welcome(ctx, s.Out)
	if err != nil {
		return orDone(ctx, err)
	}
	if !s.NoOpen {
		browse(ctx, link)
	}
	return orDone(ctx, stage.live(ctx, s.Out, began))
}

// orDone makes being told to stop no error.
func orDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// welcome prints what a newcomer needs and returns the sign-in link.
func (s *Stage) welcome(ctx context.Context, out io.Writer) (string, error) {
	var link client.Link
	if err := s.api.Send(ctx, http.MethodPost, "/v1/links", nil, &link); err != nil {
		return "", fmt.Errorf("make a sign-in link: %w", err)
	}
	_, err := fmt.Fprintf(out, `Muster is watching over %s, a fictional company.

  Console   %s
  Sign in   %s
            (works once, for ten minutes)

What to try next
  Activity  shows each decision as it is made; open one to read why
  Findings  every twenty seconds a key leaks and a thief tries it: see what was done, and undo it
  Terminal  export MUSTER_SERVER=%s
            export MUSTER_TOKEN="$(cat %s)"
            muster finding list
            muster decide --help

This is demo data, in a temporary folder; Ctrl-C removes everything.

`, world.Company, s.server, link.URL, s.server, s.TokenFile())
	return link.URL, err
}

// browse opens the link if there is a screen. It is a convenience: the link is
// printed anyway.
func browse(ctx context.Context, link string) {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "xdg-open", link)
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // ends with the opener, which hands over to the browser
	}
}

// live brings the company in and lets it live. What the first story needs
// comes first, so that something is to be seen within seconds; the rest of the
// past follows while the present already happens.
func (s *Stage) live(ctx context.Context, out io.Writer, began time.Time) error {
	if err := s.Import(ctx); err != nil {
		return err
	}
	first := []*world.Workload{s.world.Story(0).Workload}
	if err := s.Remember(ctx, first); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := newBackground(s)
	var wg sync.WaitGroup
	defer wg.Wait()
	var failed [2]error
	wg.Go(func() { b.run(ctx) })
	wg.Go(func() { defer cancel(); failed[0] = s.stories(ctx, out, began) })
	wg.Go(func() {
		if failed[1] = s.past(ctx, out, b); failed[1] != nil {
			cancel()
		}
	})
	select {
	case <-ctx.Done():
	case err := <-s.ended:
		s.ended <- err
		return fmt.Errorf("the server ended by itself: %w", err)
	}
	wg.Wait()
	return errors.Join(failed[:]...)
}

// past brings in the history of everybody, workloads first: a workload joins
// the traffic when its past is known.
func (s *Stage) past(ctx context.Context, out io.Writer, b *background) error {
	const together = 8
	all := s.world.Workloads
	if err := b.join(ctx, all[:1]); err != nil {
		return err
	}
	for i := 1; i < len(all); i += together {
		some := all[i:min(i+together, len(all))]
		if err := s.Remember(ctx, some); err != nil {
			return err
		}
		if err := b.join(ctx, some); err != nil {
			return err
		}
	}
	if err := s.RememberCloud(ctx); err != nil {
		return err
	}
	var o client.Overview
	if err := s.api.Get(ctx, "/v1/overview", nil, &o); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s  the whole past is in: %d identities, %d credentials, %d events\n", time.Now().Format(time.TimeOnly), o.Identities, o.Credentials, o.Events)
	return err
}

// stories plays one story after the other until ctx ends.
func (s *Stage) stories(ctx context.Context, out io.Writer, began time.Time) error {
	tick := time.NewTicker(everyStory)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		r, err := s.Play(ctx, n, n%5 == 4)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintf(out, "%s  story %d could not be played: %v\n", time.Now().Format(time.TimeOnly), n, err)
		default:
			fmt.Fprintln(out, time.Now().Format(time.TimeOnly)+"  "+r.sentence())
		}
		if n == 0 && err == nil {
			fmt.Fprintf(out, "%s  the first alert came %.1f s after the start\n", time.Now().Format(time.TimeOnly), r.alert.Sub(began).Seconds())
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// sentence tells a story in one line.
func (r *Report) sentence() string {
	mimic := ""
	if r.MimicSucceeded > 0 {
		mimic = fmt.Sprintf(" (besides, %d of %d by one on the workload's own host)", r.MimicSucceeded, r.MimicRequests)
	}
	return fmt.Sprintf("a key of %s leaked; a thief (%s, %s operations) got %d of %d requests through%s; contained in %.0f ms; the workload lost %d of %d",
		r.Whose, r.Where, r.Deed, r.ThiefSucceeded, r.ThiefRequests, mimic, r.LeakToContainmentMS, r.WorkloadDenied+r.WorkloadDeniedAfter, r.WorkloadRequests)
}

// Story plays one story of a small company and returns how it ended. It
// blocks for some seconds.
func Story(ctx context.Context, s Settings) (r Report, err error) {
	stage, err := Open(ctx, StageSettings{World: Small(s.Seed), Records: SmallRecords, Version: s.Version})
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	n := int(s.Seed % 1000)
	if err := stage.Import(ctx); err != nil {
		return Report{}, err
	}
	if err := stage.Remember(ctx, []*world.Workload{stage.world.Story(n).Workload}); err != nil {
		return Report{}, err
	}
	return stage.Play(ctx, n, false)
}

// SmallRecords is the history of a small company: as long for each of its
// workloads as that of a large one.
const SmallRecords = 48_000

// Small is a company of some hundred identities, for stories that shall begin
// at once.
func Small(seed uint64) world.Settings {
	return world.Settings{Seed: seed, Users: 150, Roles: 150, Pipelines: 10, Workloads: 8}
}
