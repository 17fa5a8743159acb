package bench

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// results is where the figures go; without it the servers are only compared.
var results = flag.String("results", "", "`file` for what was measured of the servers")

const (
	connections = 4
	rounds      = 3
	warm        = 1_500 // requests
	measured    = 4_000 // requests a round
	questioned  = 600   // requests of one kind, asked again and again
)

// A reading is what one server needs for one request.
type reading struct {
	cpu      time.Duration // of its process, the median of the rounds
	p50, p99 time.Duration // of the clock, over all rounds
	resident int           // MB
}

// TestServersSideBySide asks three servers the same questions about the same
// policies over HTTP. Their answers must agree; with -results it measures what
// an answer costs each of them.
func TestServersSideBySide(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two servers and starts three")
	}
	p := newPrograms(t)
	muster := newHome(t, p.muster)
	sizes := []int{100}
	if *results != "" {
		sizes = []int{10, 100, 1_000, 10_000}
	}
	var rows strings.Builder
	for _, n := range sizes {
		muster.apply(t, "policies.cedar", inCedar(muster.crowd, n))
		peers := []*peer{&muster.peer}
		opa, stopOPA := newOPA(t, p.opa, muster.crowd, n)
		peers = append(peers, opa)
		stopCerbos := func() {}
		if p.without == "" {
			var cerbos *peer
			cerbos, stopCerbos = newCerbos(t, p.cerbos, muster.crowd, n)
			peers = append(peers, cerbos)
		}
		asked := requests(muster.crowd, n, questioned)
		allowed := agree(t, peers, asked)
		if *results != "" {
			readings := race(t, peers, asked)
			for i, p := range peers {
				r := &readings[i]
				fmt.Fprintf(&rows, "| %d | %s | %.0f us | %v | %v | %d MB | %.1f |\n", n, p.name, float64(r.cpu.Nanoseconds())/1e3,
					r.p50.Round(10*time.Microsecond), r.p99.Round(10*time.Microsecond), r.resident, float64(r.cpu)/float64(readings[0].cpu))
			}
			t.Logf("%d policies, %d of %d requests allowed\n%s", n, allowed, len(asked), rows.String())
		}
		stopOPA()
		stopCerbos()
	}
	if *results != "" {
		report(t, &p, rows.String())
	}
}

// agree checks that all say the same to every question, and that the questions
// are not one-sided. It returns how many are allowed.
func agree(t *testing.T, peers []*peer, asked []request) (allowed int) {
	t.Helper()
	c := &http.Client{Timeout: time.Minute}
	answers := make([][]bool, len(peers))
	for i, p := range peers {
		for _, body := range p.encode(t, asked) {
			yes, err := p.ask(t.Context(), c, body)
			if err != nil {
				t.Fatal(err)
			}
			answers[i] = append(answers[i], yes)
		}
	}
	for j, yes := range answers[0] {
		if yes {
			allowed++
		}
		for i := 1; i < len(peers); i++ {
			if answers[i][j] != yes {
				t.Errorf("%+v: %s says %t, %s %t", asked[j], peers[0].name, yes, peers[i].name, answers[i][j])
			}
		}
	}
	if allowed < len(asked)/10 || allowed > len(asked)*9/10 {
		t.Errorf("%d of %d requests are allowed: that compares little", allowed, len(asked))
	}
	if t.Failed() {
		t.FailNow()
	}
	return allowed
}

// race measures the peers in turns, so that a busy minute hits all of them.
func race(t *testing.T, peers []*peer, asked []request) []reading {
	t.Helper()
	cpu, took := make([][]time.Duration, len(peers)), make([][]time.Duration, len(peers))
	bodies := make([][][]byte, len(peers))
	for i, p := range peers {
		bodies[i] = p.encode(t, asked)
		drive(t, p, bodies[i], warm)
	}
	for range rounds {
		for i, p := range peers {
			before := p.spent(t)
			walls := drive(t, p, bodies[i], measured)
			cpu[i] = append(cpu[i], (p.spent(t)-before)/time.Duration(len(walls)))
			took[i] = append(took[i], walls...)
		}
	}
	out := make([]reading, len(peers))
	for i, p := range peers {
		slices.Sort(cpu[i])
		slices.Sort(took[i])
		out[i] = reading{cpu: cpu[i][len(cpu[i])/2], p50: took[i][len(took[i])/2], p99: took[i][len(took[i])*99/100], resident: p.resident(t)}
	}
	return out
}

// drive sends n requests in all on every connection at once and returns how
// long each answer took.
func drive(t *testing.T, p *peer, bodies [][]byte, n int) []time.Duration {
	t.Helper()
	took := make([][]time.Duration, connections)
	var driving sync.WaitGroup
	for i := range connections {
		c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
		driving.Go(func() {
			defer c.CloseIdleConnections()
			for j := range n / connections {
				began := time.Now()
				if _, err := p.ask(t.Context(), c, bodies[(i+j*connections)%len(bodies)]); err != nil {
					t.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	driving.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return slices.Concat(took...)
}

// version is the first line in which a program says a version.
func version(t *testing.T, program string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, said)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "Version:"))
}

func report(t *testing.T, p *programs, rows string) {
	t.Helper()
	cerbos := "not measured: " + p.without
	if p.without == "" {
		cerbos = version(t, p.cerbos, "--version")
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`# Servers side by side

Made by `+"`make bench`"+` (the part of the servers alone: `+"`cd bench && go test -count=1 -run ServersSideBySide -timeout 2h -v . -args -results ../docs/results/peers.md`"+`)
on %s, commit %s, %s, %d CPUs, load %s at the end.

| server | version | asked by |
|---|---|---|
| Muster | the commit above | AuthZEN, `+"`POST /access/v1/evaluation`"+` |
| OPA, `+"`opa run --server`"+` | %s | `+"`POST /v1/data/muster/ruling`"+` |
| Cerbos | %s | `+"`POST /api/check/resources`"+` |

Each in a process of its own on loopback, %d connections over HTTP/1.1, %d rounds of %d requests in turns after %d to warm up. The guards
and the grants are the same by meaning, and to every one of %d questions for each number of policies all servers gave the same
answer (allow, or not) before anything was measured. Processor time is the server's whole process, the median of the rounds, in
ticks of 10 ms over a round; p50 and p99 are by the clock, over all rounds.

| policies beside the guards | server | processor time a request | p50 | p99 | resident | times Muster |
|---|---|---|---|---|---|---|
`, time.Now().UTC().Format(time.DateOnly), commit(t), runtime.Version(), runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "),
		version(t, p.opa, "version"), cerbos, connections, rounds, measured, warm, questioned) + rows + `
What is not the same:

- Muster looks up in its own inventory who asks and what is asked about; the others are told with each request, so their requests
  are larger and they have no inventory to keep.
- Muster writes every decision with its inputs into a hash-chained journal, and learns from decisions, while it answers; that is in
  its processor time. The others kept no decision log and learned nothing here.
- Muster has an index by principal and resource for exactly such grants. OPA evaluates a general language, with grants in the form
  its rule index can use. Cerbos got a policy for each resource, with identities and environments as roles, which is what it
  looks up by; its guards are rules that deny, in each of those policies. Cerbos is also asked by gRPC, which costs it less than
  HTTP; Muster by ext_authz and in batches of AuthZEN, see [performance](../performance.md).
- The caller is asserted, no credential is verified, and no allow here is at a sensitivity that waits for the disk.
`
	if err := os.WriteFile(*results, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(said))
}
