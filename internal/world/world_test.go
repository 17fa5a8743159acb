package world_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/activity/cloudtrail"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/connector/aws"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/strictyaml"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/useragent"
	"github.com/muster-id/muster/internal/world"
)

var now = time.Date(2026, time.November, 4, 10, 15, 0, 0, time.UTC)

func table(t *testing.T) *geo.Table {
	t.Helper()
	tab, err := geo.Default()
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func newWorld(t *testing.T, s world.Settings) *world.World {
	t.Helper()
	if s.Start.IsZero() {
		s.Start = now
	}
	w, err := world.New(s, table(t))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// everything is a digest of all that a world gives.
func everything(t *testing.T, w *world.World) [32]byte {
	t.Helper()
	h := sha256.New()
	for _, a := range w.Accounts {
		for _, write := range []func(io.Writer, string) error{w.Details, w.AccessKeys, w.Report} {
			if err := write(h, a.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Write(w.Routes())
	h.Write(w.Resources())
	h.Write(w.Trust("https://oidc.example", "https://oidc.example/jwks"))
	for line := range w.History(5000) {
		h.Write(line)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 10 {
		s := w.Story(n)
		from, route, target := s.Work(r, n)
		stolen, path := s.Thief.Next(r)
		if err := json.NewEncoder(h).Encode([]any{s.Drift, s.Agent, from.Address, route, target, s.Thief.Where, s.Thief.Deed, s.Thief.From.Address, stolen, path, w.Ask(r)}); err != nil {
			t.Fatal(err)
		}
	}
	return [32]byte(h.Sum(nil))
}

func TestTheSameSeedMakesTheSameWorld(t *testing.T) {
	first, second := everything(t, newWorld(t, world.Settings{Seed: 7})), everything(t, newWorld(t, world.Settings{Seed: 7}))
	if first != second {
		t.Error("two worlds of one seed differ")
	}
	if other := everything(t, newWorld(t, world.Settings{Seed: 8})); other == first {
		t.Error("worlds of different seeds are the same")
	}
}

// observe reads the export files of an account as the importer does.
func observe(t *testing.T, w *world.World, account string) nhi.Observation {
	t.Helper()
	in := connector.Input{At: now}
	for form, write := range map[string]func(io.Writer, string) error{
		aws.AuthorizationDetails: w.Details, aws.AccessKeys: w.AccessKeys, aws.CredentialReport: w.Report,
	} {
		var b bytes.Buffer
		if err := write(&b, account); err != nil {
			t.Fatal(err)
		}
		in.Files = append(in.Files, connector.File{Form: form, Name: form, Reader: &b})
	}
	report, err := aws.Connector.Read(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Problems) > 0 || report.More > 0 {
		t.Errorf("account %s: the importer has problems with %d objects: %v", account, len(report.Problems)+report.More, report.Problems[:min(3, len(report.Problems))])
	}
	return report.Observation
}

func TestTheImporterReadsEveryIdentityOfTheCompany(t *testing.T) {
	w := newWorld(t, world.Settings{Seed: 1})
	known := map[nhi.ID]nhi.Identity{}
	keys := map[string]string{} // key id -> account
	for _, a := range w.Accounts {
		seen := observe(t, w, a.ID)
		if seen.Account != a.ID {
			t.Errorf("the files of %s speak about %s", a.ID, seen.Account)
		}
		for _, i := range seen.Identities {
			known[i.ID] = i
		}
		for _, c := range seen.Credentials {
			if c.Kind == nhi.CredentialAWSAccessKey {
				keys[c.PublicID] = a.ID
			}
		}
	}
	if len(known) < 3000 {
		t.Errorf("the importer finds %d identities, want at least 3000", len(known))
	}
	for _, wl := range w.Workloads {
		if known[wl.Identity].Name != wl.Name {
			t.Errorf("workload %s is %q in the inventory", wl.Name, known[wl.Identity].Name)
		}
	}
	scanner, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	for id, account := range keys {
		told := ""
		scanner.Scan([]byte("aws_access_key_id = "+id+"\n"), func(m *leak.Match) bool {
			told = m.Account
			m.Wipe()
			return true
		})
		if told != account {
			t.Fatalf("the key id %s of account %s tells of account %q", id, account, told)
		}
	}
}

// decode reads records as the receiver of logs does.
func decode(t *testing.T, records io.Reader, each func(nhi.Event)) {
	t.Helper()
	attribute := activity.NewAttributor()
	_, err := cloudtrail.Format.Decode(context.Background(), records, activity.Options{Arrived: now, Link: attribute.Learn}, func(ev nhi.Event) error {
		attribute.Attribute(&ev)
		each(ev)
		return nil
	}, func(u activity.Unparsable) error {
		t.Errorf("line %d is no record: %s", u.Line, u.Reason)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHistoryIsReadWithoutLoss(t *testing.T) {
	w := newWorld(t, world.Settings{Seed: 3})
	for name, part := range map[string]func(func([]byte) bool){"all": w.History(20_000), "gateway": w.Gateway(20_000, nil), "cloud": w.Cloud(20_000)} {
		var b bytes.Buffer
		written := 0
		for line := range part {
			b.Write(append(line, '\n'))
			written++
		}
		var last time.Time
		ids, attributed := map[string]bool{}, 0
		decode(t, &b, func(ev nhi.Event) {
			ids[ev.ID] = true
			if ev.Identity != "" {
				attributed++
			}
			if ev.Time.Before(last) || ev.Time.After(now) {
				t.Fatalf("%s: a record of %s after one of %s", name, ev.Time, last)
			}
			last = ev.Time
		})
		if len(ids) != written || attributed != written {
			t.Errorf("%s: %d records, %d different ids, %d attributed", name, written, len(ids), attributed)
		}
	}
}

func TestTheFilesOfAnAdministratorAreAccepted(t *testing.T) {
	w := newWorld(t, world.Settings{Seed: 4})
	var routes []nhi.Route
	if err := strictyaml.Decode("routes.yaml", w.Routes(), &routes); err != nil {
		t.Fatal(err)
	}
	table, err := enforce.Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := oidc.Parse("trust.yaml", w.Trust("http://127.0.0.1:1", "http://127.0.0.1:1/jwks"))
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) != len(w.Workloads) {
		t.Errorf("trust.yaml has %d rules for %d workloads", len(rules), len(w.Workloads))
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 40 {
		s := w.Story(n)
		route, path := s.Thief.Next(r)
		m, err := table.Match(route.Method, route.Host, path)
		if err != nil {
			t.Fatalf("%s %s%s: %v", route.Method, route.Host, path, err)
		}
		got := []any{m.Resource, m.Operation, m.Action}
		if diff := cmp.Diff([]any{route.Resource, route.Operation(), route.Action}, got); diff != "" {
			t.Errorf("%s%s (-want +got):\n%s", route.Host, path, diff)
		}
	}
}

func TestPartsOfAHistoryAreTheWhole(t *testing.T) {
	w := newWorld(t, world.Settings{Seed: 3})
	whole, parts := map[string]int{}, map[string]int{}
	for line := range w.History(8000) {
		whole[string(line)]++
	}
	some, rest := w.Workloads[:5], w.Workloads[5:]
	for _, part := range []func(func([]byte) bool){w.Gateway(8000, some), w.Gateway(8000, rest), w.Cloud(8000)} {
		for line := range part {
			parts[string(line)]++
		}
	}
	if diff := cmp.Diff(len(whole), len(parts)); diff != "" || !maps.Equal(whole, parts) {
		t.Errorf("the parts of a history are not the whole of it: %s", diff)
	}
}

// A mindful is a world whose history somebody learned.
type mindful struct {
	*world.World
	learner *baseline.Learner
	table   *geo.Table
	found   map[string]nhi.Finding
	events  int
}

func learn(t *testing.T, w *world.World, history func(func([]byte) bool)) *mindful {
	t.Helper()
	m := &mindful{World: w, table: table(t), found: map[string]nhi.Finding{}}
	m.learner = baseline.New(baseline.Settings{Places: m.table})
	detector := detect.New(detect.Settings{}, nil, nil)
	pr, pw := io.Pipe()
	go func() {
		for line := range history {
			if _, err := pw.Write(append(line, '\n')); err != nil {
				return
			}
		}
		pw.Close()
	}()
	decode(t, pr, func(ev nhi.Event) {
		m.events++
		score, judged := m.learner.Observe(&ev, true)
		if !judged {
			return
		}
		for _, f := range detector.Observe(&ev, &score).Findings {
			m.found[f.ID] = f
		}
	})
	for _, f := range detector.Flush() {
		m.found[f.ID] = f
	}
	return m
}

// small is a company whose workloads have the past of the demonstration's.
func small(seed uint64) world.Settings {
	return world.Settings{Seed: seed, Users: 60, Roles: 60, Pipelines: 6, Workloads: 16}
}

const smallRecords = 100_000

// score is what a decision about a live request sees.
func (m *mindful) score(who nhi.ID, from world.Network, agent string, r world.Route) surprise.Score {
	c := surprise.Call{
		At: now, Address: from.Address, Place: m.table.Lookup(from.Address), Agent: useragent.Family(agent),
		Service: r.Resource, Operation: r.Operation(), Class: string(r.Action),
	}
	return m.learner.Page(who).Score(c.Observation(), m.learner.Prior(who))
}

const threshold = 130 // tenths of a bit

func TestWhatAWorkloadDoesEveryDayIsUsualAtTheGateway(t *testing.T) {
	w := newWorld(t, small(5))
	m := learn(t, w, w.Gateway(smallRecords, nil))
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 4 * len(w.Workloads) {
		s := w.Story(n)
		for i := range 6 {
			from, route, _ := s.Work(r, i)
			score := m.score(s.Workload.Identity, from, s.Agent, route)
			if !score.Established {
				t.Fatalf("the page of %s is not established", s.Workload.Name)
			}
			if from == s.Workload.Home && (score.Tenths >= threshold/2 || score.NewAction || score.NewAgent || score.NewNetwork) {
				t.Errorf("story %d (%s): %s by %s is worth %.1f bits: %+v", n, s.Drift, route.Operation(), s.Workload.Name, score.Bits(), score.Features)
			}
		}
	}
}

func TestEveryThiefWhoIsNoMimicShowsSomethingNew(t *testing.T) {
	w := newWorld(t, small(6))
	m := learn(t, w, w.Gateway(smallRecords, nil))
	r := rand.New(rand.NewPCG(1, 1))
	mimics := 0
	for n := range 100 {
		s := w.Story(n)
		route, _ := s.Thief.Next(r)
		score := m.score(s.Workload.Identity, s.Thief.From, s.Thief.Agent, route)
		seen := score.NewNetwork || score.NewCountry || score.NewAction || score.Tenths >= threshold
		switch {
		case s.Thief.Mimic:
			mimics++
		case !seen:
			t.Errorf("story %d: a thief %s doing %s (%s) shows nothing: %+v", n, s.Thief.Where, s.Thief.Deed, route.Operation(), score)
		}
	}
	if mimics == 0 || mimics > 20 {
		t.Errorf("%d of 100 thieves are mimics", mimics)
	}
}

func TestABenignMonthRaisesFewAlarms(t *testing.T) {
	// A sixth of the demonstration, with the same work for each identity; the
	// whole of it is measured by test/scale.
	w := newWorld(t, world.Settings{Seed: 9, Users: 115, Roles: 385, Pipelines: 6, Workloads: 8})
	m := learn(t, w, w.History(50_000))
	people := m.learner.Stats().Pages
	t.Logf("%d findings in %d events of %d identities in %s: %.4f an identity and month", len(m.found), m.events, people, w.Past, float64(len(m.found))/float64(people))
	if len(m.found) > people/100 {
		for _, f := range m.found {
			t.Logf("%s %s %s", f.Rule, f.Severity, f.Sentence)
		}
		t.Errorf("%d findings about %d identities that did nothing wrong", len(m.found), people)
	}
}

func TestAThiefNeverCallsFromTheWorkloadsOwnAddress(t *testing.T) {
	w := newWorld(t, small(2))
	wheres, deeds, drifts := map[world.Whence]int{}, map[world.Deed]int{}, map[world.Drift]int{}
	for n := range 120 {
		s := w.Story(n)
		wheres[s.Thief.Where]++
		deeds[s.Thief.Deed]++
		drifts[s.Drift]++
		home, thief := geo.Family(s.Workload.Home.Address), geo.Family(s.Thief.From.Address)
		if s.Thief.From.Address == s.Workload.Home.Address || (home == thief) != (s.Thief.Where == world.OwnNetwork) {
			t.Errorf("story %d: a thief on %q calls from %s, the workload from %s", n, s.Thief.Where, s.Thief.From.Address, s.Workload.Home.Address)
		}
	}
	if len(wheres) != 5 || len(deeds) != 3 || len(drifts) != 4 {
		t.Errorf("drawn: %v %v %v", wheres, deeds, drifts)
	}
}

func TestMostQuestionsOfTheCompanyAreOrdinary(t *testing.T) {
	w := newWorld(t, world.Settings{Seed: 2})
	r := rand.New(rand.NewPCG(1, 1))
	odd := 0
	for range 3000 {
		a := w.Ask(r)
		if !a.Identity.Valid() || !a.Address.IsValid() || !a.Class.Valid() {
			t.Fatalf("a question that cannot be asked: %+v", a)
		}
		if !strings.HasSuffix(a.Resource, ".amazonaws.com") {
			odd++
		}
	}
	if odd < 30 || odd > 200 {
		t.Errorf("%d of 3000 questions are odd", odd)
	}
}
