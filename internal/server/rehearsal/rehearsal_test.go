package rehearsal

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/force"
)

// folder is a data folder with n decisions, of which one in a hundred writes.
func folder(t testing.TB, n int) string {
	t.Helper()
	data := t.TempDir()
	j, err := journal.Open(filepath.Join(data, "decisions"), journal.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range n {
		d := nhi.Decision{
			ID: fmt.Sprintf("01900000-0000-7000-8000-%012x", i), At: now, Outcome: nhi.Allow, Generation: 7, Policy: "0123456789abcdef", Point: "nhi_p",
			Identity: nhi.ID(fmt.Sprintf("nhi_%022d", i%500)), Credential: "crd_v6w2kopezgzwfpmsgulnrizwq4", KeyID: "key", Method: "token", Assurance: nhi.AssuranceShort,
			Action: nhi.Read, Operation: "GET /payments/{id}", Resource: fmt.Sprintf("payments/%d", i%40), Sensitivity: 1, Address: netip.MustParseAddr("192.0.2.7"),
			Country: "DE", ASN: 3320, Network: "Deutsche Telekom AG", Agent: "aws-sdk-go", Reasons: []nhi.Reason{{Policy: "base-permit", Text: "No guard forbids it.", Effect: "permit"}},
			Inputs: &nhi.Inputs{Known: true, Kind: nhi.KindWorkload, State: nhi.Active, Owned: true, Environment: "prod", Class: nhi.Production, Labelled: true, ResourceClass: nhi.Production},
		}
		if i%100 == 99 {
			d.Action = nhi.Write
		}
		if err := j.AppendAsync(logbook.Append(nil, &d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

func load(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load(policy.DefaultSettings(), map[string]string{"x.cedar": text})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const noWrites = `@id("no-writes") forbid (principal, action == Action::"write", resource);`

func TestADataFolderIsEnoughToSimulate(t *testing.T) {
	data := folder(t, 1000)
	got, err := Offline(t.Context(), data, load(t, noWrites), nil, time.Time{}, func(client.Simulation) {})
	if err != nil || got.Decisions != 1000 || got.Judged != 1000 || got.Changed != 10 || got.Denied != 10 || len(got.Resources) == 0 || len(got.Owners) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	same, err := Offline(t.Context(), data, load(t, noWrites), load(t, noWrites), time.Time{}, func(client.Simulation) {})
	if err != nil || same.Changed != 0 || same.Judged != 1000 {
		t.Errorf("against itself: %+v, %v", same, err)
	}
}

func TestACandidateThatIsTooLargeIsNotTried(t *testing.T) {
	s := NewStage(Deps{Policies: &force.Holder{}, Log: logbook.New(nil, 1)})
	if _, err := s.load(map[string]string{"x.cedar": string(make([]byte, maxBytes+1))}); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// BenchmarkSimulate reports how many decisions on record are tried in a second
// of one core, reading and decoding the journal included.
func BenchmarkSimulate(b *testing.B) {
	const n = 20_000
	data := folder(b, n)
	set := load(b, noWrites)
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	}
	before := cpu()
	for b.Loop() {
		if got, err := Offline(b.Context(), data, set, nil, time.Time{}, func(client.Simulation) {}); err != nil || got.Judged != n {
			b.Fatalf("%+v, %v", got, err)
		}
	}
	b.ReportMetric(float64(b.N)*n/(cpu()-before), "decisions/cpu-s")
}
