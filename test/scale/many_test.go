//go:build scale

package scale

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const identities = 1_000_000

// The load: calls a second, and what changes meanwhile.
const (
	loadTime        = time.Minute
	loadReload      = time.Second
	loadCredentials = 2_000
	loadPolicies    = 1_000
	loadBatches     = 96
	loadForward     = 300
	loadEnvoy       = 200
)

func (l *load) measure(t *testing.T) measurement {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.pid))
	if err != nil {
		t.Fatal(err)
	}
	var kb float64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if kb, err = strconv.ParseFloat(strings.Fields(rest)[0], 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := wired{pid: l.pid}
	return measurement{cpu: s.spent(t), resident: kb / 1024, heap: l.metric(t, "go_memstats_heap_inuse_bytes") / (1 << 20)}
}

// middle is the median and the 99th percentile of how long something took.
func middle(took []time.Duration) string {
	slices.Sort(took)
	return fmt.Sprintf("%v | %v", took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond))
}

func (l *load) report(t *testing.T, lasted time.Duration, before, after measurement, behind float64, v *verdict) {
	t.Helper()
	var text strings.Builder
	average, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&text, `The real program in a process of its own; the callers share its two processors, with whatever else ran (load %s at the end).
A request here is a decided question. One server in Go that only says yes manages some 12,000 requests a second on this machine, so
most questions came in AuthZEN batches of %d, and the others one by one from points of two other kinds. Meanwhile %d policies were
replaced as a whole, every %v where the server came to it, and one in a hundred of %d API keys was reported as leaked while it was
being used. The goal is 10,000 questions and one set of policies a second; where less was reached, look at how much of a processor
the server got.

| asked by | connections | questions a second | questions | p50 of a call | p99 of a call |
|---|---|---|---|---|---|
`, strings.Join(strings.Fields(string(average))[:3], " "), loadBatch, loadPolicies+1, loadReload, loadCredentials)
	total := 0
	for _, way := range []struct {
		name     string
		from, to int
		each     int
	}{
		{"AuthZEN evaluations", 1, 1 + batchCallers, loadBatch},
		{"forward-auth", 1 + batchCallers, 1 + batchCallers + proxyCallers, 1},
		{"ext_authz by gRPC", 1 + batchCallers + proxyCallers, 1 + batchCallers + proxyCallers + envoyCallers, 1},
	} {
		var took []time.Duration
		n := 0
		for _, of := range l.answers[way.from:way.to] {
			n += len(of)
			for i := 0; i < len(of); i += way.each {
				took = append(took, of[i].ended.Sub(of[i].began))
			}
		}
		total += n
		fmt.Fprintf(&text, "| %s | %d | %.0f | %d | %s |\n", way.name, way.to-way.from, float64(n)/lasted.Seconds(), n, middle(took))
	}
	fmt.Fprintf(&text, "| **together** | | **%.0f** | %d | | |\n\n| what | measured |\n|---|---|\n", float64(total)/lasted.Seconds(), total)
	row := func(what, format string, values ...any) {
		fmt.Fprintf(&text, "| %s | %s |\n", what, fmt.Sprintf(format, values...))
	}
	var applied, contained []time.Duration
	for _, c := range l.applied {
		applied = append(applied, c.acked.Sub(c.began))
	}
	for _, c := range l.contains {
		contained = append(contained, c.acked.Sub(c.began))
	}
	spent := after.cpu - before.cpu
	row("time", "%v", lasted.Round(10*time.Millisecond))
	row("errors", "0")
	row("sets of policies acknowledged, p50 and p99 of applying one", "%d, %s", len(l.applied), strings.Replace(middle(applied), " | ", " and ", 1))
	row("sets by which decisions were made", "%d", v.digests)
	row("decisions with reasons of another set than their own, or of a set that was not in force", "0")
	row("batches that were answered from two generations or by two sets", "0")
	row("keys contained, p50 and p99 from the report to the acknowledgement", "%d, %s", len(l.contains), strings.Replace(middle(contained), " | ", " and ", 1))
	row("requests with a key while it was being contained, or under way then", "%d", v.underFire)
	row("requests with a contained key after the acknowledgement", "%d, of them allowed 0", v.afterwards)
	row("decisions at a generation below a containment acknowledged before they were asked", "0")
	row("answers that are not in the journal, or say something else there", "0 of %d", v.records)
	row("`unlogged`, panics, policies that erred", "0, 0, 0")
	row("decisions that learning had not come to at the end", "%.0f", behind)
	row("processor time of the server, all that ran in it included", "%v: %.1f us a question, %.0f %% of one processor", spent, float64(spent.Microseconds())/float64(total), 100*spent.Seconds()/lasted.Seconds())
	row("resident, before and after", "%.0f MB, %.0f MB", before.resident, after.resident)
	row("Go heap in use, before and after", "%.0f MB, %.0f MB", before.heap, after.heap)
	text.WriteString("\nEvery answer was held against the journal afterwards. Each id of a policy carries the number of its set, and every second set\nforbids what the next permits. A call's time is from sending it; a caller that falls behind its pace does not make up for it.\n")
	write(t, "load.md", "Under load", text.String())
}
