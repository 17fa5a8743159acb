package logbook

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

// full is a decision with every field set.
func full() nhi.Decision {
	return nhi.Decision{
		ID: "01900000-0000-7000-8000-000000000001", At: time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC), Outcome: nhi.StepUp, WouldRefuse: true, Glass: "01900000-0000-7000-8000-000000000009",
		Obligations: []nhi.Obligation{{Kind: nhi.StepBind}, {Kind: nhi.StepApprove, Value: "x"}},
		Reasons:     []nhi.Reason{{Policy: "p", Position: "f:1", Text: "t", Effect: "forbid"}, {Policy: "q", Effect: "error"}},
		Generation:  1 << 60, Policy: "digest", Point: "nhi_p", Identity: "nhi_i", Credential: "crd_c", KeyID: "k", Method: "api-key",
		Assurance: 2, SenderBound: true, Asserted: true, Consumer: true, Reported: true, Action: nhi.Read, Operation: "GET \"/\\\n\x7f\u2028<é", Resource: "r", Sensitivity: 3,
		Address: netip.MustParseAddr("2001:db8::1"), Country: "DE", ASN: 1 << 31, Network: "n", Agent: "a", Risk: 7, Surprise: 130,
		Features: []nhi.Feature{{Name: "f", Usual: "u", Seen: "s", Bits: 13.25}}, Latency: time.Microsecond,
		Inputs: &nhi.Inputs{
			Known: true, Kind: nhi.KindWorkload, State: nhi.Active, Owned: true, Environment: "e", Class: nhi.Production,
			Stored: true, CredentialState: nhi.CredentialActive, Pinned: true, Expired: true, Revoked: true, Purpose: "p", Actors: []nhi.ID{"nhi_a", "nhi_b"},
			Attestation: &nhi.Attestation{
				Method: "oidc", At: time.Date(2026, 5, 4, 3, 1, 0, 5, time.UTC), Level: 2, Selectors: []string{"a:b", "c:\""},
				Location: nhi.Location{Provider: "p", Account: "a", Region: "r", VPC: "v", Cluster: "c", Namespace: "n", Node: "o"},
				Device:   nhi.Device{ID: "i", Attested: true, SecureBoot: true, Image: "m"},
			},
			Approval: &nhi.InputApproval{ID: "apr_1", By: []string{"x", "y"}, Expires: time.Date(2026, 5, 4, 4, 0, 0, 0, time.UTC)},
			Labelled: true, ResourceEnvironment: "f", ResourceClass: nhi.Nonproduction, Service: "s", Region: "r", Jurisdiction: "j",
			Interactive: true, NewNetwork: true, NewCountry: true, NewAction: true, NewAgent: true, Rate: 8, Lag: -9, FactsAge: 10,
		},
	}
}

// nowhere is a Journal that forgets.
type nowhere struct{}

func (nowhere) Append([]byte) error      { return nil }
func (nowhere) AppendAsync([]byte) error { return nil }

var exact = cmp.Options{cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func TestARecordIsWhatEncodingJSONReads(t *testing.T) {
	for _, d := range []nhi.Decision{full(), {Outcome: nhi.Deny}, {Outcome: nhi.Deny, Inputs: &nhi.Inputs{}}, {Outcome: nhi.Deny, Inputs: &nhi.Inputs{
		Attestation: &nhi.Attestation{Device: nhi.Device{SecureBoot: true}, Location: nhi.Location{Node: "n"}}, Approval: &nhi.InputApproval{},
	}}} {
		record := Append(nil, &d)
		if strings.ContainsAny(string(record), "\n\x7f") {
			t.Errorf("not one line: %s", record)
		}
		got, err := Decode(record)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, got, exact); diff != "" {
			t.Errorf("decoded (-want +got):\n%s", diff)
		}
		slow, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var a, b map[string]any
		if err := errors.Join(json.Unmarshal(record, &a), json.Unmarshal(slow, &b)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Errorf("fields (-encoding/json +ours):\n%s", diff)
		}
	}
}

func TestARecordOfTheReleaseBeforeIsRead(t *testing.T) {
	d, err := Decode([]byte(`{"id":"x","at":"2026-05-04T03:02:01Z","outcome":"deny","reasons":null,"generation":1,"policy":"p","point":"q","assurance":0,"sensitivity":3,"risk":0,"surprise":0,"latency":5}`))
	if err != nil || d.Sensitivity != 3 {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, ok := d.Question(); ok {
		t.Error("a question out of a record that does not hold one")
	}
}

func TestHostileTextStaysInsideItsField(t *testing.T) {
	d := full()
	d.Operation = `x","outcome":"allow","y":"` + "\x00\xff\r\n"
	d.Outcome = nhi.Deny
	got, err := Decode(Append(nil, &d))
	if err != nil {
		t.Fatal(err)
	}
	if want := `x","outcome":"allow","y":"` + "\x00\ufffd\r\n"; got.Outcome != nhi.Deny || got.Operation != want {
		t.Errorf("outcome %s, operation %q", got.Outcome, got.Operation)
	}
}

func TestDecodeRefusesWhatIsNoDecision(t *testing.T) {
	for _, s := range []string{"", "{", `[]`, `{"outcome":"perhaps"}`, `{}`, `{"outcome":"allow","at":"yesterday"}`} {
		if _, err := Decode([]byte(s)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("Decode(%q) error = %v", s, err)
		}
	}
	if _, err := Decode(make([]byte, maxRecord+1)); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("a huge record: %v", err)
	}
}

// outlined is what Outline promises of d.
func outlined(d nhi.Decision) nhi.Decision {
	var reasons []nhi.Reason
	for _, r := range d.Reasons {
		reasons = append(reasons, nhi.Reason{Policy: r.Policy})
	}
	return nhi.Decision{
		ID: d.ID, At: d.At, Outcome: d.Outcome, WouldRefuse: d.WouldRefuse, Glass: d.Glass, Reasons: reasons, Point: d.Point, Identity: d.Identity, Credential: d.Credential,
		KeyID: d.KeyID, Asserted: d.Asserted, Consumer: d.Consumer, Action: d.Action, Operation: d.Operation, Resource: d.Resource, Address: d.Address, Agent: d.Agent,
		Risk: d.Risk, Surprise: d.Surprise,
	}
}

func TestAnOutlineIsThePartOfTheRecordThatItPromises(t *testing.T) {
	hostile := full()
	hostile.Operation, hostile.Agent = `x","outcome":"allow","y":"`+"\x00\ufffd\r\n", "\u2028é\\"
	for _, d := range []nhi.Decision{full(), hostile, {Outcome: nhi.Deny}, {Outcome: nhi.Allow, Reasons: []nhi.Reason{{Policy: "p"}}, Inputs: &nhi.Inputs{}}} {
		got, err := Outline(Append(nil, &d))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(outlined(d), got, exact); diff != "" {
			t.Errorf("outline (-want +got):\n%s", diff)
		}
	}
	for _, s := range []string{"", "{", `[]`, `{"outcome":"perhaps"}`, `{}`, `{"outcome":"allow","at":"yesterday"}`, `{"outcome":"allow"}x`, `{"outcome":"allow","address":"here"}`} {
		if _, err := Outline([]byte(s)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("Outline(%q) error = %v", s, err)
		}
	}
	if _, err := Outline(make([]byte, maxRecord+1)); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("a huge record: %v", err)
	}
}

// FuzzOutline holds Outline against Decode, of which it is a part.
func FuzzOutline(f *testing.F) {
	d := full()
	f.Add(Append(nil, &d))
	f.Add([]byte(`{"outcome":"deny","reasons":[{"policy":"p","text":5},7,null],"id":null}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		d, err := Decode(record)
		if err != nil || !bytes.Equal(record, Append(nil, &d)) {
			_, _ = Outline(record) // no record of ours: it must only survive
			return
		}
		got, err := Outline(record)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(outlined(d), got, exact); diff != "" {
			t.Errorf("outline (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	d := full()
	record := Append(nil, &d)
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			_, _ = Decode(record)
		}
	})
	b.Run("outline", func(b *testing.B) {
		for b.Loop() {
			_, _ = Outline(record)
		}
	})
}

func FuzzDecode(f *testing.F) {
	d := full()
	f.Add(Append(nil, &d))
	f.Add([]byte(`{"outcome":"deny","reasons":null,"unknown":{"a":[1]}}`))
	f.Fuzz(func(t *testing.T, record []byte) {
		d, err := Decode(record)
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, &d))
		if err != nil {
			t.Fatalf("own record of %+v: %v", d, err)
		}
		if diff := cmp.Diff(Append(nil, &d), Append(nil, &again)); diff != "" {
			t.Fatalf("not stable:\n%s", diff)
		}
	})
}

func TestAppendingARecordAllocatesNothing(t *testing.T) {
	d := full()
	buffer := Append(nil, &d)
	if got := testing.AllocsPerRun(100, func() { buffer = Append(buffer[:0], &d) }); got > 1 { // the address
		t.Errorf("%v allocations", got)
	}
}

func TestTheRingKeepsTheNewest(t *testing.T) {
	l := New(nowhere{}, 10)
	for i := range 25 {
		d := full()
		d.Risk, d.Outcome = i, nhi.Allow
		if i%2 == 1 {
			d.Outcome = nhi.Deny
		}
		l.Add(&d)
	}
	var risks []int
	for _, d := range l.Recent(Filter{Outcome: nhi.Deny}, 3) {
		risks = append(risks, d.Risk)
	}
	if diff := cmp.Diff([]int{23, 21, 19}, risks); diff != "" {
		t.Errorf("newest denials (-want +got):\n%s", diff)
	}
	if got := len(l.Recent(Filter{}, 100)); got != 10 {
		t.Errorf("%d decisions in a ring of 10", got)
	}
	if _, ok := l.Get("no such id"); ok {
		t.Error("found what is not there")
	}
}

func TestASlowSubscriberMissesDecisionsAndSlowsNobody(t *testing.T) {
	l := New(nowhere{}, 4)
	decisions, cancel := l.Subscribe()
	for range subscription + 5 {
		d := full()
		l.Add(&d)
	}
	if l.Dropped() != 5 || len(decisions) != subscription {
		t.Errorf("dropped %d, waiting %d", l.Dropped(), len(decisions))
	}
	cancel()
	d := full()
	l.Add(&d)
	if l.Dropped() != 5 {
		t.Error("still subscribed after cancel")
	}
}

func TestRatesCountByMinute(t *testing.T) {
	l := New(nowhere{}, 4)
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	add := func(at time.Time, o nhi.Outcome, would bool) {
		d := nhi.Decision{At: at, Outcome: o, WouldRefuse: would}
		l.Add(&d)
	}
	add(at.Add(-24*time.Hour), nhi.Allow, false)                      // its place is taken a day later
	add(time.Date(1960, 1, 1, 0, 0, 1, 0, time.UTC), nhi.Deny, false) // by a clock that is far behind
	add(at, nhi.Allow, false)
	add(at, nhi.Deny, false)
	add(at.Add(time.Minute), nhi.StepUp, false)
	add(at.Add(time.Minute), nhi.Allow, true)
	want := []Rate{
		{Minute: at.Truncate(time.Minute), Allow: 1, Deny: 1},
		{Minute: at.Add(time.Minute).Truncate(time.Minute), StepUp: 1, WouldRefuse: 1},
	}
	if diff := cmp.Diff(want, l.Rates(at.Add(5*time.Minute))); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	if got := l.Rates(at.Add(25 * time.Hour)); got != nil {
		t.Errorf("rates a day later = %v", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	d := full()
	var buffer []byte
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buffer = Append(buffer[:0], &d)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buffer, _ = json.Marshal(d)
		}
	})
}
