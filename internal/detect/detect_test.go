package detect

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
)

// odd returns an event and a score in which some features surprise.
func odd(at time.Time, bits map[surprise.Feature]float64) (*nhi.Event, *surprise.Score) {
	ev := &nhi.Event{
		ID: "e" + at.Format("150405"), Time: at, Provider: "aws", Account: "1", Service: "s3.amazonaws.com", Operation: "GetObject", Class: nhi.Read,
		Address: netip.MustParseAddr("198.51.100.7"), Status: nhi.Success, Identity: "nhi_a", Credential: "crd_a",
		Principal: nhi.Principal{Type: "IAMUser", Native: "AIDAX", Name: "billing", KeyID: "AKIAX"},
	}
	s := &surprise.Score{Established: true}
	for f, b := range bits {
		s.Features[f] = surprise.FeatureScore{Tenths: int16(10 * b), New: true}
		s.Tenths += int(10 * b)
	}
	s.NewASN = s.Features[surprise.ASN].New
	s.NewAgent = s.Features[surprise.Agent].New
	s.NewAction = s.Features[surprise.Action].New
	return ev, s
}

var alive = known{identity: IdentityFacts{Name: "billing", Owner: "team:pay", Production: true, Admin: true, Reach: []string{"payments/db"}}, credential: CredentialFacts{State: nhi.CredentialActive}}

func TestAFindingIsOneStoryThatGrows(t *testing.T) {
	words := ExplainFunc(func(*nhi.Event, *surprise.Score) []nhi.Feature {
		return []nhi.Feature{{Name: "asn", Usual: "AS16509 Amazon", Seen: "AS9009 M247"}, {Name: "agent", Usual: "boto3", Seen: "curl"}}
	})
	d := New(Settings{}, alive, words)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.ASN: 14})
	first := d.Observe(ev, score).Findings
	if len(first) != 1 {
		t.Fatalf("%d findings, want 1", len(first))
	}
	want := nhi.Finding{
		ID: nhi.FindingID("behaviour", "nhi_a", "crd_a", fmt.Sprint(spring.UnixMicro()/window)), Rule: "DET-07", Title: "Used from a new place",
		Severity: nhi.Low, Score: 50.4, Status: nhi.Open, Identity: "nhi_a", Credential: "crd_a",
		FirstSeen: spring, LastSeen: spring, DetectedAt: spring, Events: []string{"e100000"}, Count: 1,
		Features: []nhi.Feature{{Name: "asn", Usual: "AS16509 Amazon", Seen: "AS9009 M247", Bits: 14}},
		Sentence: "billing (administrator, production) was used from asn AS9009 M247, usually AS16509 Amazon (1 unusual call). A stolen credential shows first by where it is used from.",
		Owner:    "team:pay", Reach: []string{"payments/db"},
	}
	if diff := cmp.Diff(want, first[0]); diff != "" {
		t.Error(diff)
	}
	later := spring.Add(20 * time.Minute)
	ev, score = odd(later, map[surprise.Feature]float64{surprise.ASN: 14, surprise.Agent: 8})
	second := d.Observe(ev, score).Findings
	if len(second) != 1 || second[0].ID != want.ID || second[0].Count != 2 || !second[0].LastSeen.Equal(later) || len(second[0].Features) != 2 || second[0].Severity != nhi.High {
		t.Errorf("the story goes on as %+v", second)
	}
	if !strings.Contains(second[0].Sentence, "and called with curl instead of boto3 (2 unusual calls within 20m0s)") {
		t.Errorf("sentence %q", second[0].Sentence)
	}
}

func TestTheSameStreamTellsTheSameStories(t *testing.T) {
	run := func(cut int) []nhi.Finding {
		d := New(Settings{}, alive, nil)
		var all []nhi.Finding
		for i := range 300 {
			if i == cut { // a restart
				image, err := d.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				d = New(Settings{}, alive, nil)
				if err := d.UnmarshalBinary(image); err != nil {
					t.Fatal(err)
				}
			}
			ev, score := odd(spring.Add(time.Duration(i)*5*time.Minute), map[surprise.Feature]float64{surprise.ASN: float64(i % 17), surprise.Agent: float64(i % 5)})
			ev.Identity = nhi.ID(fmt.Sprint("nhi_", i%7))
			all = append(all, d.Observe(ev, score).Findings...)
		}
		return append(all, d.Flush()...)
	}
	want := run(-1)
	if len(want) == 0 {
		t.Fatal("nothing was found")
	}
	if diff := cmp.Diff(want, run(-1)); diff != "" {
		t.Errorf("a second run differs: %s", diff)
	}
	if diff := cmp.Diff(want, run(150), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a run with a restart differs: %s", diff)
	}
}

func TestAFailedLoginThatNamesAnIdentityChangesNothing(t *testing.T) {
	d := New(Settings{}, known{credential: CredentialFacts{State: nhi.CredentialRevoked, Leaked: true}}, nil)
	for i := range 100 {
		ev, score := odd(spring.Add(time.Duration(i)*time.Second), map[surprise.Feature]float64{surprise.Country: 20})
		ev.Operation, ev.Status, ev.Error = "ConsoleLogin", nhi.Failure, "Failed authentication"
		if i%2 == 0 {
			ev.Operation, ev.Error = "GetObject", "SignatureDoesNotMatch"
		}
		if v := d.Observe(ev, score); len(v.Findings) > 0 || v.Bits != 0 {
			t.Fatalf("got %+v", v)
		}
	}
	if risk, _ := d.Ledger().Identity("nhi_a", spring); risk != 0 || len(d.Flush()) > 0 || d.actors.Len() > 0 {
		t.Errorf("risk %d, %d identities remembered", risk, d.actors.Len())
	}
}

func TestAnAssertedSubjectChangesNothing(t *testing.T) {
	d := New(Settings{}, alive, nil)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.Country: 20})
	ev.Asserted = true
	if v := d.Observe(ev, score); len(v.Findings) > 0 || d.actors.Len() > 0 {
		t.Errorf("got %+v", v)
	}
}

func TestAClockThatRunsAheadDoesNotEndStories(t *testing.T) {
	d := New(Settings{}, alive, nil)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.ASN: 14})
	id := d.Observe(ev, score).Findings[0].ID
	ahead, calm := odd(spring.AddDate(70, 0, 0), nil)
	ahead.Arrived = spring.Add(time.Second)
	d.Observe(ahead, calm)
	ev, score = odd(spring.Add(10*time.Minute), map[surprise.Feature]float64{surprise.ASN: 14, surprise.Agent: 9})
	if found := d.Observe(ev, score).Findings; len(found) != 1 || found[0].ID != id {
		t.Errorf("the story was torn apart: %+v", found)
	}
}

func TestWhatAThiefDoesWithOneKeyIsNotHeldAgainstAnother(t *testing.T) {
	d := New(Settings{}, alive, nil)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.ASN: 18})
	d.Observe(ev, score)
	ev, score = odd(spring.Add(time.Second), map[surprise.Feature]float64{surprise.Action: 5})
	ev.Credential = "crd_b"
	if v := d.Observe(ev, score); len(v.Findings) > 0 {
		t.Errorf("the other key is accused: %+v", v.Findings)
	}
}

func TestFilesReadOneAfterTheOtherAreNoFlood(t *testing.T) {
	d := New(Settings{}, alive, nil)
	for file := range 3 {
		for i := range 2000 {
			ev, score := odd(spring.Add(time.Duration(i)*7*time.Minute), nil)
			ev.Operation, ev.Resource = fmt.Sprint("Get", file*2000+i), fmt.Sprint("r", i)
			if file > 0 {
				score.Features[surprise.Rate].Tenths, score.Tenths = 200, 200 // as a page sees it
			}
			if found := d.Observe(ev, score).Findings; len(found) > 0 {
				t.Fatalf("file %d, event %d: %+v", file, i, found)
			}
		}
	}
}

func TestANewIdentityCannotAlarmBySurpriseAlone(t *testing.T) {
	d := New(Settings{}, alive, nil)
	for i := range 500 {
		ev, score := odd(spring.Add(time.Duration(i)*time.Minute), map[surprise.Feature]float64{surprise.ASN: 12, surprise.Agent: 12, surprise.Action: 12})
		score.Established = false
		if found := d.Observe(ev, score).Findings; len(found) > 0 {
			t.Fatalf("got %+v", found)
		}
	}
}

func TestManySmallOdditiesOfOneWindowAddUp(t *testing.T) {
	d := New(Settings{}, alive, nil)
	var found []nhi.Finding
	for i, f := range []surprise.Feature{surprise.ASN, surprise.Agent, surprise.Action} {
		ev, score := odd(spring.Add(time.Duration(i)*time.Minute), map[surprise.Feature]float64{f: 5})
		found = append(found, d.Observe(ev, score).Findings...)
	}
	if len(found) != 1 || found[0].Count != 3 || !found[0].FirstSeen.Equal(spring) {
		t.Errorf("got %+v", found)
	}
}

func TestRiskFadesAndNeverPasses100(t *testing.T) {
	l := NewLedger(24 * time.Hour)
	f := nhi.Finding{ID: "1", Severity: nhi.High, Score: 90, Identity: "nhi_a", Credential: "crd_a", LastSeen: spring}
	l.Add(&f)
	one, _ := l.Credential("crd_a", spring)
	l.Add(&f) // the same finding again is no second one
	again, _ := l.Credential("crd_a", spring)
	if one != 70 || again != one {
		t.Errorf("risk %d, then %d, want 70", one, again)
	}
	if half, _ := l.Credential("crd_a", spring.Add(24*time.Hour)); half != 35 {
		t.Errorf("risk %d after a day, want 35", half)
	}
	for i := range 40 {
		f.ID = fmt.Sprint(i)
		l.Add(&f)
	}
	if risk, terms := l.Credential("crd_a", spring); risk != 100 || len(terms) > maxTerms {
		t.Errorf("risk %d of %d terms", risk, len(terms))
	}
	l.Sweep(spring.AddDate(0, 1, 0))
	if risk, terms := l.Credential("crd_a", spring.AddDate(0, 1, 0)); risk != 0 || len(terms) != 0 || len(l.credential) != 0 {
		t.Errorf("risk %d of %d terms after a month", risk, len(terms))
	}
}

func TestAStolenKeyDoesNotTurnAgainstItsOwner(t *testing.T) {
	l := NewLedger(0)
	l.Add(&nhi.Finding{ID: "1", Severity: nhi.Critical, Score: 100, Identity: "nhi_a", Credential: "crd_a", LastSeen: spring})
	if risk, _ := l.Identity("nhi_a", spring); risk != 0 {
		t.Errorf("what was done with one key makes the identity's risk %d", risk)
	}
	if risk, _ := l.Credential("crd_a", spring); risk < 80 {
		t.Errorf("the key's own risk is %d", risk)
	}
}

func TestADismissedFindingIsNoRisk(t *testing.T) {
	l := NewLedger(0)
	f := nhi.Finding{ID: "1", Severity: nhi.Critical, Score: 90, Identity: "nhi_a", LastSeen: spring}
	l.Add(&f)
	f.Status = nhi.Dismissed
	if l.Add(&f); len(l.identity) != 0 {
		t.Error("the risk stayed")
	}
}

func TestOneBehaviouralFindingDoesNotCrossTheLineOfDenial(t *testing.T) {
	d := New(Settings{}, known{identity: IdentityFacts{Name: "x"}, credential: CredentialFacts{State: nhi.CredentialActive}}, nil)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.ASN: 20, surprise.Agent: 20})
	d.Observe(ev, score)
	ofIdentity, _ := d.Ledger().Identity("nhi_a", spring)
	ofCredential, _ := d.Ledger().Credential(ev.Credential, spring)
	if risk := max(ofIdentity, ofCredential); risk == 0 || risk > 80 {
		t.Errorf("risk %d", risk)
	}
}

func TestAShadowIsReportedOnce(t *testing.T) {
	d := New(Settings{}, known{unknown: true, credential: CredentialFacts{State: nhi.CredentialActive}}, nil)
	ev, score := odd(spring, nil)
	first, second := d.Observe(ev, score).Findings, len(d.Observe(ev, score).Findings)
	if len(first) != 1 || first[0].Rule != "DET-23" || second != 0 {
		t.Errorf("got %+v, then %d", first, second)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	d := New(Settings{Actors: 1000}, alive, nil)
	for i := range 20000 {
		ev, score := odd(spring.Add(time.Duration(i)*time.Minute), map[surprise.Feature]float64{surprise.ASN: 14})
		ev.Identity = nhi.ID(fmt.Sprint("nhi_", i))
		d.Observe(ev, score)
	}
	if n := d.actors.Len(); n > 1000 {
		t.Errorf("%d identities remembered", n)
	}
	open := 0
	for place := range int32(d.actors.Count()) {
		if a := d.actors.In(place); a != nil && a.win.open {
			open++
		}
	}
	if len(d.telling) > 200 || open > 200 {
		t.Errorf("%d stories and %d windows are open, and one identity a minute acts", len(d.telling), open)
	}
}

func TestABadImageChangesNothing(t *testing.T) {
	d := New(Settings{}, alive, nil)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.ASN: 14})
	d.Observe(ev, score)
	image, err := d.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, image[:5], image[:len(image)-1], append([]byte{9}, image[1:]...)} {
		if d.UnmarshalBinary(bad) == nil {
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
	if d.actors.Len() != 1 {
		t.Error("a bad image changed what is remembered")
	}
}

func FuzzImage(f *testing.F) {
	d := New(Settings{}, alive, nil)
	ev, score := odd(spring, map[surprise.Feature]float64{surprise.ASN: 14})
	d.Observe(ev, score)
	image, _ := d.MarshalBinary()
	f.Add(image)
	f.Fuzz(func(t *testing.T, in []byte) {
		d := New(Settings{}, alive, nil)
		if d.UnmarshalBinary(in) == nil {
			ev, score := odd(spring.Add(time.Hour), map[surprise.Feature]float64{surprise.ASN: 14})
			d.Observe(ev, score)
			d.Flush()
		}
	})
}

// BenchmarkDetect measures scoring, detection and learning of an ordinary
// event; decoding comes before it and is measured with its format.
func BenchmarkDetect(b *testing.B) {
	inv := known{identity: IdentityFacts{Name: "service"}, credential: CredentialFacts{State: nhi.CredentialActive}}
	f := newFleet(inv)
	const identities = 1000
	events := make([]nhi.Event, identities)
	for i := range events {
		p := player{id: nhi.ID(fmt.Sprint("nhi_", i)), cred: nhi.CredentialID(fmt.Sprint("crd_", i)), home: netip.AddrFrom4([4]byte{54, 1, byte(i), 1})}
		events[i] = p.event(spring, fmt.Sprint("Get", i%7), nhi.Read)
	}
	for i := range 60 * identities {
		ev := events[i%identities]
		ev.Time = spring.Add(time.Duration(i) * time.Second)
		f.observe(&ev)
	}
	at := spring.Add(60 * identities * time.Second)
	b.Run("score, detect and learn", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			ev := &events[i%identities]
			ev.Time = at.Add(time.Duration(i) * 100 * time.Millisecond)
			call := surprise.Call{At: ev.Time, Address: ev.Address, Place: placeOf(ev.Address), Agent: "aws-sdk-go-v2", Service: ev.Service, Operation: ev.Operation, Class: string(ev.Class), Region: ev.Region}
			o := call.Observation()
			page := f.pages[ev.Identity]
			score := page.Score(o, nil)
			f.d.Observe(ev, &score)
			page.Learn(o)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("detect", func(b *testing.B) {
		b.ReportAllocs()
		score := surprise.Score{Established: true}
		for i := 0; b.Loop(); i++ {
			ev := &events[i%identities]
			ev.Time = at.Add(time.Duration(i) * 100 * time.Millisecond)
			f.d.Observe(ev, &score)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
