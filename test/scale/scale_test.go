//go:build scale

package scale

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/demo"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/server/offline"
	"github.com/muster-id/muster/internal/world"
)

const (
	seed  = 20261102
	lives = 10 * time.Minute
)

// write writes a result file.
func write(t *testing.T, name, title, text string) {
	t.Helper()
	commit, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("# %s\n\nMade by `go test -tags scale ./test/scale` on %s, commit %s, seed %d, %s, %d CPUs.\n\n", title, time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), seed, runtime.Version(), runtime.NumCPU())
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "results", name), []byte(head+text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Log(text)
}

func TestAMonthOfTheCompanyIsReplayed(t *testing.T) {
	table, err := geo.Default()
	if err != nil {
		t.Fatal(err)
	}
	w, err := world.New(world.Settings{Seed: seed, Start: time.Now().UTC()}, table)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("Nobody did anything wrong in these months: every finding is a false alarm.\n\n| events | identities | seconds | events a second | findings | findings an identity and month |\n|---|---|---|---|---|---|\n")
	for _, records := range []int{300_000, 1_000_000} {
		file, err := os.Create(filepath.Join(t.TempDir(), "history.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range w.History(records) {
			if _, err := file.Write(append(line, '\n')); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		r, err := offline.Replay(t.Context(), offline.ReplaySettings{Format: "cloudtrail"}, []offline.ReplayFile{{Name: "history", Reader: file}})
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		if r.Unparsable > 0 || r.Events < records*99/100 {
			t.Errorf("of about %d records %d were read and %d not understood", records, r.Events, r.Unparsable)
		}
		if len(r.Findings) > r.Identities/100 {
			t.Errorf("%d findings about %d identities that did nothing wrong", len(r.Findings), r.Identities)
		}
		fmt.Fprintf(&text, "| %d | %d | %.1f | %.0f | %d | %.4f |\n", r.Events, r.Identities, r.Seconds, float64(r.Events)/r.Seconds, len(r.Findings), float64(len(r.Findings))/float64(r.Identities))
	}
	write(t, "replay.md", "A benign month", text.String())
}

func TestTheCompanyLives(t *testing.T) {
	began := time.Now()
	stage, err := demo.Open(t.Context(), demo.StageSettings{World: world.Settings{Seed: seed}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, step := range []func(context.Context) error{stage.Import, func(ctx context.Context) error { return stage.Remember(ctx, nil) }, stage.RememberCloud} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	loaded := time.Since(began)
	ctx, cancel := context.WithTimeout(t.Context(), lives)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := stage.Busy(ctx); err != nil {
			t.Error(err)
		}
	})
	var reports []demo.Report
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		r, err := stage.Play(t.Context(), n, n%5 == 4)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	wg.Wait()
	tell(t, stage, reports, loaded)
}

// tell writes how the company fared.
func tell(t *testing.T, stage *demo.Stage, reports []demo.Report, loaded time.Duration) {
	t.Helper()
	var o client.Overview
	if err := stage.API().Get(t.Context(), "/v1/overview", nil, &o); err != nil {
		t.Fatal(err)
	}
	var allow, stepUp, deny int
	for _, r := range o.Rates {
		allow, stepUp, deny = allow+r.Allow, stepUp+r.StepUp, deny+r.Deny
	}
	leaked := map[string]bool{}
	var text strings.Builder
	good := 0
	for _, r := range reports {
		leaked[r.Credential] = true
		if !r.Hindered() {
			good++
		} else {
			t.Errorf("story %d: %+v", r.Story, r)
		}
	}
	alarms := falseAlarms(t, stage, leaked)
	fmt.Fprintf(&text, "The company of %d identities and %d events was loaded in %s and lived for %s with %d stories of thieves.\n\n", o.Identities, o.Events, loaded.Round(100*time.Millisecond), lives, len(reports))
	fmt.Fprintf(&text, "- decisions: %d allowed, %d stepped up, %d denied; %d not on record\n", allow, stepUp, deny, o.Unlogged)
	fmt.Fprintf(&text, "- stories in which the thief got nothing and the workload lost nothing: %d of %d\n", good, len(reports))
	fmt.Fprintf(&text, "- findings about anything but leaked keys and identities that are in no inventory: %d\n", len(alarms))
	for _, a := range alarms {
		fmt.Fprintf(&text, "  - %s\n", a)
	}
	if total := allow + stepUp + deny; allow*10 < total*8 {
		t.Errorf("only %d of %d requests of a healthy company were allowed", allow, total)
	}
	if o.Unlogged > 0 {
		t.Errorf("%d decisions are not on record", o.Unlogged)
	}
	write(t, "company.md", "The company for "+lives.String(), text.String())
}

// falseAlarms lists the findings that no story explains.
func falseAlarms(t *testing.T, stage *demo.Stage, leaked map[string]bool) []string {
	t.Helper()
	var out []string
	query := url.Values{"limit": {"500"}}
	for {
		var page client.Page[client.Finding]
		if err := stage.API().Get(t.Context(), "/v1/findings", query, &page); err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Items {
			if !leaked[f.Credential] && f.Rule != "DET-23" && f.Rule != "first-administrator-token" {
				out = append(out, fmt.Sprintf("%s %s: %s", f.Rule, f.Severity, f.Sentence))
			}
		}
		if page.Next == "" {
			slices.Sort(out)
			return out
		}
		query.Set("page_token", page.Next)
	}
}
