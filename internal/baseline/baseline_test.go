package baseline

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

const key = nhi.ID("nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa")

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// atlas places a few addresses.
type atlas map[string]geo.Place

func (a atlas) Lookup(addr netip.Addr) geo.Place { return a[addr.String()] }

var world = atlas{
	"52.95.110.1": {Country: "IE", ASN: 16509, Organization: "Amazon.com, Inc."},
	"52.95.111.9": {Country: "IE", ASN: 16509, Organization: "Amazon.com, Inc."},
	"5.2.128.7":   {Country: "RO", ASN: 8708, Organization: "Digi"},
}

// usual is what the workload does in the n-th hour.
func usual(n int) *nhi.Event {
	at := start.Add(time.Duration(n) * time.Hour)
	return &nhi.Event{
		Time: at, Arrived: at.Add(time.Minute), Format: "cloudtrail", Provider: "aws", Account: "111122223333", Region: "eu-west-1",
		Service: "s3.amazonaws.com", Operation: []string{"GetObject", "ListBucket"}[n%2], Class: nhi.Read,
		Address: netip.MustParseAddr("52.95.110.1"), Agent: fmt.Sprintf("Boto3/1.%d.0", n/24), Status: nhi.Success,
		Principal: nhi.Principal{Type: "IAMUser"}, Identity: key,
	}
}

// thief is what somebody else does with the same key.
func thief(n int) *nhi.Event {
	ev := usual(n)
	ev.Address, ev.Agent = netip.MustParseAddr("5.2.128.7"), "curl/8.5.0"
	return ev
}

const history = 24 * 14

// taught is a learner that has seen two weeks of one key.
func taught(t testing.TB, s Settings) *Learner {
	t.Helper()
	if s.Places == nil {
		s.Places = world
	}
	l := New(s)
	for n := range history {
		if score, _ := l.Observe(usual(n), true); score.Tenths >= 130 {
			t.Fatalf("hour %d of a quiet life: %.1f bits", n, score.Bits())
		}
	}
	return l
}

func page(t testing.TB, l *Learner) string {
	t.Helper()
	data, err := l.Page(key).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnEventIsScoredBeforeItIsLearned(t *testing.T) {
	l := taught(t, Settings{})
	score, judged := l.Observe(usual(history), true)
	if !judged || !score.Established || score.Tenths > 60 {
		t.Errorf("a usual event: judged %v, %.1f bits; want at most 6", judged, score.Bits())
	}
	score, judged = l.Observe(thief(history), true)
	if !judged || score.Tenths < 130 || !score.NewCountry || !score.NewASN || !score.NewNetwork || !score.NewAgent {
		t.Errorf("a thief: judged %v, %+v; want over 13 bits and everything new", judged, score)
	}
	if stats := l.Stats(); stats.Quarantined != 1 || stats.Learned != history+1 || stats.Pages != 1 {
		t.Errorf("stats %+v, want 1 quarantined and %d learned", stats, history+1)
	}
}

func TestTheFirstUseOfAStolenKeyIsNoAlibiForTheSecond(t *testing.T) {
	l := taught(t, Settings{})
	for i := range 50 {
		ev := thief(history)
		ev.Time = ev.Time.Add(time.Duration(i) * time.Minute)
		if score, _ := l.Observe(ev, true); score.Tenths < 130 || !score.NewCountry {
			t.Fatalf("use %d by the thief: %.1f bits, NewCountry %v; want it as loud as the first", i+1, score.Bits(), score.NewCountry)
		}
	}
}

func TestWhatComesBackOnThreeDaysBecomesNormal(t *testing.T) {
	l := taught(t, Settings{})
	for day := range 3 {
		if score, _ := l.Observe(thief(history+24*day), true); !score.NewCountry {
			t.Errorf("day %d: known already", day+1)
		}
	}
	if score, _ := l.Observe(thief(history+24*3), true); score.NewCountry || score.Tenths >= 130 {
		t.Errorf("on the fourth day %.1f bits, want normal", score.Bits())
	}
	never := taught(t, Settings{Days: -1})
	for day := range 10 {
		if score, _ := never.Observe(thief(history+24*day), true); !score.NewCountry {
			t.Errorf("day %d: became normal although that is switched off", day+1)
		}
	}
}

func TestConfirmLearnsWhatWasWithheld(t *testing.T) {
	l := taught(t, Settings{})
	l.Observe(thief(history), true)
	if n := l.Confirm(key); n != 1 {
		t.Errorf("Confirm learned %d things, want 1", n)
	}
	if score, _ := l.Observe(thief(history+1), true); score.NewCountry || score.Tenths >= 130 {
		t.Errorf("after confirmation %.1f bits, want normal", score.Bits())
	}
	if n := l.Confirm("nhi_nobody"); n != 0 {
		t.Errorf("Confirm of nobody learned %d things", n)
	}
}

func TestAServiceThatBeginsToScaleOutCalmsDown(t *testing.T) {
	l := New(Settings{Places: anywhere{}})
	calls := func(hour int, scaled bool) (alarms int) {
		for i := range 12 { // busy all day
			ev := usual(hour)
			ev.Time = ev.Time.Add(time.Duration(i) * 5 * time.Minute)
			if scaled {
				ev.Address = netip.AddrFrom4([4]byte{52, 96, byte(hour / 2), 1})
			}
			if score, _ := l.Observe(ev, true); score.Tenths >= 130 {
				alarms++
			}
		}
		return alarms
	}
	for hour := range 24 * 12 {
		calls(hour, false)
	}
	for hour := 24 * 12; hour < 24*24; hour++ {
		if n := calls(hour, true); n > 0 && hour >= 24*22 {
			t.Fatalf("still %d alarms in an hour after ten days", n)
		}
	}
}

// anywhere puts every address into one system.
type anywhere struct{}

func (anywhere) Lookup(netip.Addr) geo.Place { return geo.Place{Country: "IE", ASN: 16509} }

func TestOnlyWhatMayTeachIsLearned(t *testing.T) {
	for name, change := range map[string]func(*nhi.Event){
		"a failed call":             func(ev *nhi.Event) { ev.Status, ev.Error = nhi.Failure, "AccessDenied" },
		"a failed authentication":   func(ev *nhi.Event) { ev.Status, ev.Error = nhi.Failure, "SignatureDoesNotMatch" },
		"a subject only asserted":   func(ev *nhi.Event) { ev.Asserted = true },
		"a request that was denied": func(ev *nhi.Event) { ev.Format, ev.Outcome = "decision", nhi.Deny },
		"a request stepped up":      func(ev *nhi.Event) { ev.Format, ev.Outcome = "decision", nhi.StepUp },
		"a decision with no answer": func(ev *nhi.Event) { ev.Format = "decision" },
		"the platform itself":       func(ev *nhi.Event) { ev.Principal.Platform = true },
		"nobody known":              func(ev *nhi.Event) { ev.Identity = "" },
		"a source without standing": func(ev *nhi.Event) { ev.Account = "999999999999" },
	} {
		l := taught(t, Settings{MayTestify: func(ev *nhi.Event) bool { return ev.Account == "111122223333" }})
		before := page(t, l)
		for i := range 300 {
			ev := usual(history + i/60)
			change(ev)
			l.Observe(ev, i%2 == 0)
		}
		if page(t, l) != before {
			t.Errorf("%s taught the page", name)
		}
	}
}

func TestAFailedLoginNamingAnIdentityIsNotJudged(t *testing.T) {
	l := taught(t, Settings{})
	ev := thief(history)
	ev.Status, ev.Error = nhi.Failure, "InvalidClientTokenId"
	if score, judged := l.Observe(ev, true); judged || score.Tenths != 0 {
		t.Errorf("judged %v with %.1f bits, want not at all", judged, score.Bits())
	}
}

func TestARefusedFloodDoesNotWearOutTheWorkload(t *testing.T) {
	l := taught(t, Settings{})
	for range 5000 {
		ev := thief(history)
		ev.Format, ev.Outcome = "decision", nhi.Deny
		l.Observe(ev, true)
	}
	if score, _ := l.Observe(usual(history), true); score.Tenths >= 60 {
		t.Errorf("the workload's next call after the thief's flood: %.1f bits, want at most 6", score.Bits())
	}
}

func TestPatientPoisoningIsBoundedByTheDay(t *testing.T) {
	l := taught(t, Settings{NewPerDay: 5})
	for i := range 40 {
		ev := usual(history)
		ev.Operation = fmt.Sprintf("Action%d", i)
		l.Observe(ev, true)
	}
	if got := l.Page(key).Distinct(surprise.Action); got > 2+5 {
		t.Errorf("%d different actions after a day of poisoning, want at most 7", got)
	}
	if l.Stats().Capped == 0 {
		t.Error("nothing was capped")
	}
}

func TestAClockThatRunsAheadIsClamped(t *testing.T) {
	l := taught(t, Settings{})
	ev := usual(history)
	ev.Time = ev.Time.AddDate(50, 0, 0)
	l.Observe(ev, true)
	if last, limit := l.Page(key).LastSeen(), ev.Arrived.Add(maxSkew); last.After(limit) {
		t.Errorf("last seen %s, want no later than %s", last, limit)
	}
}

func TestTrustedHistoryIsLearnedWithoutScoring(t *testing.T) {
	l := taught(t, Settings{})
	if score, judged := l.Observe(thief(history), false); judged || score.Tenths != 0 {
		t.Errorf("judged %v", judged)
	}
	if score, _ := l.Observe(thief(history+1), true); score.NewCountry {
		t.Error("what trusted history showed is new")
	}
}

func TestARequestAtAPointIsKnownByResourceAndRoute(t *testing.T) {
	l := New(Settings{Established: surprise.Settings{MinEvents: 10, MinSpan: -1}})
	request := func(n int) *nhi.Event {
		ev := usual(n)
		ev.Format, ev.Outcome, ev.Service, ev.Resource = "decision", nhi.Allow, "", "payments/api"
		ev.Operation = []string{"GET /payments/{id}", ""}[n%2] // an empty one counts as its class
		return ev
	}
	for n := range 50 {
		l.Observe(request(n), true)
	}
	if score, _ := l.Observe(request(51), true); score.NewAction {
		t.Error("a usual request is a new action")
	}
	for name, change := range map[string]func(*nhi.Event){
		"another resource": func(ev *nhi.Event) { ev.Resource = "vault/admin" },
		"another route":    func(ev *nhi.Event) { ev.Operation = "DELETE /payments/{id}" },
	} {
		other := request(52)
		change(other)
		if score, _ := l.Observe(other, true); !score.NewAction {
			t.Errorf("%s is no new action", name)
		}
	}
}

func TestExplainNamesWhatChanged(t *testing.T) {
	l := taught(t, Settings{})
	score, _ := l.Observe(thief(history), true)
	got := l.Explain(key, score)
	want := []nhi.Feature{
		{Name: "country", Usual: "IE", Seen: "RO", Bits: got[0].Bits},
		{Name: "agent", Usual: "boto3", Seen: "curl", Bits: got[1].Bits},
	}
	if diff := cmp.Diff(want, got[:2]); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
	if got := l.Explain("nhi_nobody", score); len(got) == 0 || got[0].Usual != "nothing known yet" {
		t.Errorf("explanation for nobody: %+v", got)
	}
}

func flipped(b []byte, i int) []byte {
	out := append([]byte(nil), b...)
	out[i] ^= 0x10
	return out
}

func TestReadersNeverWaitForTheLearner(t *testing.T) {
	l := taught(t, Settings{})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				call := surprise.Call{At: start.Add(history * time.Hour), Address: netip.MustParseAddr("5.2.128.7"), Agent: "curl"}
				score := l.Page(key).Score(call.Observation(), l.Prior(key))
				l.ExplainCall(key, score, &call)
				l.Stats()
			}
		})
	}
	for n := history; n < history+300; n++ {
		ev := usual(n)
		if n%3 == 0 {
			ev.Identity = nhi.ID(fmt.Sprintf("nhi_%d", n))
		}
		l.Observe(ev, true)
	}
	l.Confirm(key)
	close(stop)
	readers.Wait()
}

func TestPeersShapeWhatIsExpectedOfANewIdentity(t *testing.T) {
	l := New(Settings{Places: world})
	for n := range 100 {
		for i := range 5 {
			ev := usual(n)
			ev.Identity = nhi.ID(fmt.Sprintf("nhi_%d", i))
			l.Observe(ev, true)
		}
	}
	like, unlike := usual(100), thief(100)
	like.Identity, unlike.Identity = "nhi_like", "nhi_unlike"
	a, _ := l.Observe(like, true)
	b, _ := l.Observe(unlike, true)
	if a.Tenths >= b.Tenths || b.Tenths >= 130 || b.NewCountry {
		t.Errorf("a newcomer like its peers %.1f bits, unlike them %.1f; want less, and below 13", a.Bits(), b.Bits())
	}
}

func TestTheDictionaryIsBounded(t *testing.T) {
	var n names
	n.count.Store(maxNames)
	n.add(1, "one too many")
	if n.Name(1) != "" {
		t.Error("a full dictionary took another word")
	}
	n.count.Store(0)
	n.add(2, string(make([]byte, 1000))+"\xff")
	if got := n.Name(2); len(got) > maxNameSize {
		t.Errorf("a word has %d bytes, want at most %d", len(got), maxNameSize)
	}
}

func BenchmarkObserve(b *testing.B) {
	table, err := geo.Default()
	if err != nil {
		b.Fatal(err)
	}
	l := New(Settings{Places: table})
	events := make([]*nhi.Event, 1000)
	for i := range events {
		events[i] = usual(i)
		events[i].Identity = nhi.ID(fmt.Sprintf("nhi_%d", i%100))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		l.Observe(events[i%len(events)], true)
		i++
	}
}
