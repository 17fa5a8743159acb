package surprise

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/geo"
)

func TestAPageIsTwoKilobytesAndEveryRegionFits(t *testing.T) {
	if size := unsafe.Sizeof(Page{}); size != 2048 || PageSize != 2048 {
		t.Errorf("a page is %d bytes, want 2048", size)
	}
	if atSlots+2*slotStart[categories] != atBloom || atBloom+bloomStart[categories] != words {
		t.Errorf("slots end at %d, filters begin at %d and end at %d, want %d", atSlots+2*slotStart[categories], atBloom, atBloom+bloomStart[categories], words)
	}
}

func TestHashesAreStableForEver(t *testing.T) {
	got := []uint64{Hash(""), Hash("IE"), HashPair("s3.amazonaws.com", "GetObject"), HashNumber("asn", 16509),
		HashPrefix(netip.MustParsePrefix("198.51.100.0/24")), HashPrefix(netip.Prefix{})}
	want := []uint64{
		2414115369415646414, 17124004361594639737, 3236089736339242644, 2664945622146141629, 5047695410959347509, 0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hashes changed, every stored page is void (-want +got):\n%s", diff)
	}
	if Hash("a b") != HashPair("a", "b") {
		t.Error("HashPair differs from the Hash of the joined text")
	}
	if HashNumber("asn", 1) == HashNumber("net", 1) {
		t.Error("two namespaces share a value")
	}
}

func TestACallBecomesTheSameObservationOnBothSides(t *testing.T) {
	c := Call{
		At: monday, Address: netip.MustParseAddr("52.95.110.1"), Place: geo.Place{Country: "IE", ASN: 16509},
		Agent: "boto3", Service: "s3.amazonaws.com", Operation: "GetObject", Class: "read", Region: "eu-west-1",
	}
	want := Observation{
		At: monday.UnixMicro(), Network: HashPrefix(netip.MustParsePrefix("52.95.110.0/24")), ASN: HashNumber("asn", 16509),
		Country: Hash("IE"), Agent: Hash("boto3"), Action: Hash("s3.amazonaws.com GetObject"), Class: Hash("read"), Region: Hash("eu-west-1"),
	}
	if diff := cmp.Diff(want, c.Observation()); diff != "" {
		t.Errorf("observation (-want +got):\n%s", diff)
	}
	if n := testing.AllocsPerRun(100, func() { c.Observation() }); n != 0 {
		t.Errorf("Observation allocates %v times, want 0", n)
	}
	if diff := cmp.Diff(Observation{At: monday.UnixMicro()}, (&Call{At: monday}).Observation()); diff != "" {
		t.Errorf("an empty call has features (-want +got):\n%s", diff)
	}
	inside, outside := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("9.9.9.9")
	if HashASN(inside, geo.Place{}) == HashASN(outside, geo.Place{}) {
		t.Error("a private address and an unannounced one are the same system")
	}
}

// settled is the page of a key that lives at one network.
func settled() (*Page, Observation) {
	p := &Page{}
	var o Observation
	for w := range 20 * 24 {
		o = call(monday.Add(time.Duration(w)*time.Hour), w%3)
		p.Learn(o)
	}
	o.At += int64(10 * time.Minute / time.Microsecond)
	return p, o
}

func TestPositiveFactsNameWhatIsNew(t *testing.T) {
	type facts struct{ Network, ASN, Country, Agent, Action, Class bool }
	p, usual := settled()
	for _, tt := range []struct {
		name   string
		change func(*Observation)
		want   facts
		top    Feature
	}{
		{"a usual call", func(o *Observation) {}, facts{}, Rate},
		{"a new network", func(o *Observation) { o.Network = 7 }, facts{Network: true}, Network},
		{"a new system", func(o *Observation) { o.Network, o.ASN = 7, 7 }, facts{Network: true, ASN: true}, ASN},
		{"a new country", func(o *Observation) { o.Network, o.ASN, o.Country = 7, 7, 7 }, facts{Network: true, ASN: true, Country: true}, Country},
		{"a new agent", func(o *Observation) { o.Agent = 7 }, facts{Agent: true}, Agent},
		{"a new action", func(o *Observation) { o.Action = 7 }, facts{Action: true}, Action},
		{"a new class", func(o *Observation) { o.Action, o.Class = 7, 7 }, facts{Action: true, Class: true}, Class},
		{"a source that tells little", func(o *Observation) { *o = Observation{At: o.At} }, facts{}, Rate},
	} {
		o := usual
		tt.change(&o)
		s := p.Score(o, nil)
		got := facts{s.NewNetwork, s.NewASN, s.NewCountry, s.NewAgent, s.NewAction, s.NewClass}
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		if top := s.Top(1); tt.want != (facts{}) && (len(top) != 1 || top[0] != tt.top) {
			t.Errorf("%s: the top feature is %v, want %v (%s)", tt.name, top, tt.top, shares(s))
		}
		sum := 0
		for _, f := range s.Features {
			sum += int(f.Tenths)
		}
		if sum != s.Tenths {
			t.Errorf("%s: shares add up to %d tenths, the score is %d", tt.name, sum, s.Tenths)
		}
	}
}

func TestStolenOneNetworkKeyIsNewAnywhereElse(t *testing.T) {
	p, o := settled()
	o.Network = HashPrefix(netip.MustParsePrefix("198.51.100.0/24")) // the same provider, somebody else's machine
	if s := p.Score(o, nil); !s.NewNetwork || s.Tenths < threshold-30 {
		t.Errorf("a new network of the same provider: NewNetwork %v, %s; want true and at least 10 bits", s.NewNetwork, shares(s))
	}
}

func TestARoamerIsAtHomeInItsSystemOnly(t *testing.T) {
	p := raise(scaling, rand.New(rand.NewPCG(1, 1)))
	o := lastCall(scaling, rand.New(rand.NewPCG(1, 1)))
	o.Network = value("net", 12345)
	if s := p.Score(o, nil); s.NewNetwork || s.Features[Network].Tenths > 40 {
		t.Errorf("one more network of the same system: NewNetwork %v, %s; want false and at most 4 bits", s.NewNetwork, shares(s))
	}
	o.ASN = value("asn", 666)
	if s := p.Score(o, nil); !s.NewNetwork || s.Tenths < threshold {
		t.Errorf("a network of another system: NewNetwork %v, %s; want true and at least 13 bits", s.NewNetwork, shares(s))
	}
	o.ASN = 0
	if s := p.Score(o, nil); !s.NewNetwork {
		t.Error("a new network in no known system is taken for roaming")
	}
}

func TestAnIdentityWithoutAPageHasNoNews(t *testing.T) {
	var b PriorBuilder
	for range 10 {
		p, _ := settled()
		b.Add(p)
	}
	prior := b.Build(nil)
	stranger := Observation{At: monday.UnixMicro(), Network: 1, ASN: 2, Country: 3, Agent: 4, Action: 5, Class: 6, Region: 7, Denied: true}
	for name, p := range map[string]*Page{"no page": nil, "an empty page": {}} {
		for _, prior := range []*Prior{nil, prior} {
			s := p.Score(stranger, prior)
			if s.Established || s.NewNetwork || s.NewASN || s.NewCountry || s.NewAgent || s.NewAction || s.NewClass || s.Tenths >= threshold {
				t.Errorf("%s: %+v, want no news and less than 13 bits", name, s)
			}
			if prior != nil && s.Tenths == 0 {
				t.Errorf("%s: unlike all its peers, yet no surprise", name)
			}
		}
	}
	young := &Page{}
	for i := range 29 {
		young.Learn(call(monday.Add(time.Duration(i)*time.Hour), 0))
	}
	stranger.At = monday.Add(30 * time.Hour).UnixMicro()
	if s := young.Score(stranger, nil); s.Established || s.NewCountry || s.Tenths >= threshold {
		t.Errorf("a page of 29 events: %+v, want no news and less than 13 bits", s)
	}
}

func TestSettingsSayWhenAPageIsEstablished(t *testing.T) {
	p := &Page{}
	p.Configure(Settings{MinEvents: 3, MinSpan: -1})
	for i := range 3 {
		if p.Established() {
			t.Errorf("established after %d events, want 3", i)
		}
		p.Learn(call(monday, 0))
	}
	if !p.Established() {
		t.Error("not established after 3 events")
	}
	p.Configure(Settings{MinEvents: 3, MinSpan: time.Minute})
	if p.Established() {
		t.Error("established within no time, want a minute")
	}
}

func TestPeersMakeANewValueLessSurprising(t *testing.T) {
	p, o := settled()
	var b PriorBuilder
	for i := range 40 {
		other, last := settled()
		if i%2 == 0 {
			last.Region = Hash("eu-central-1")
			other.Learn(last)
		}
		b.Add(other)
	}
	prior := b.Build(nil)
	o.Region = Hash("eu-central-1")
	alone, among := p.Score(o, nil), p.Score(o, prior)
	if among.Tenths >= alone.Tenths || among.Features[Region].Tenths > 80 {
		t.Errorf("among peers that use it %s, alone %s; want less, at most 8 bits", shares(among), shares(alone))
	}
	if got := prior.Share(Region, o.Region); got < 0.3 || got > 0.5 {
		t.Errorf("Share = %.2f, want the half of the peers, somewhat shrunk", got)
	}
	if got := b.Build(prior).Share(Region, o.Region); got <= prior.Share(Region, o.Region) {
		t.Errorf("under a parent that agrees the share is %.2f, want more", got)
	}
	if prior.Members() != 40 {
		t.Errorf("Members = %d, want 40", prior.Members())
	}
	var priors Priors
	if priors.For("x") != nil {
		t.Error("empty priors know a group")
	}
	priors.Swap(map[string]*Prior{"x": prior})
	if priors.For("x") != prior || priors.For("y") != nil {
		t.Error("For does not find the group it was given")
	}
}

func TestAFloodIsJudgedByRatioAtEveryScale(t *testing.T) {
	for _, mean := range []float64{5, 50, 500, 50_000} {
		if b := floodBits(mean, mean); b != 0 {
			t.Errorf("as many as expected (%v) are %.1f bits, want 0", mean, b)
		}
		if b := floodBits(3*mean, mean); b > 6 {
			t.Errorf("three times %v are %.1f bits, want at most 6", mean, b)
		}
		if b := floodBits(10*mean, mean); b < 13 {
			t.Errorf("ten times %v are %.1f bits, want at least 13", mean, b)
		}
	}
}

func TestWhoTouchesInsteadOfLearningKeepsTheFloodVisible(t *testing.T) {
	p, o := settled()
	for range 200 {
		p.Touch(o.At)
	}
	before, count := p.UsualRate(), p.Count()
	if s := p.Score(o, nil); s.Tenths < threshold || s.RatePerMinute < 20 {
		t.Errorf("after 200 calls withheld from learning: %s, %.1f a minute; want an alarm and over 20", shares(s), s.RatePerMinute)
	}
	if p.UsualRate() != before || p.Count() != count {
		t.Error("Touch taught the page")
	}
}

func TestSlowPoisoningOfTheRateIsBoundedByTheDay(t *testing.T) {
	p, o := settled()
	before := p.UsualRate()
	at := monday.Add(31 * 24 * time.Hour)
	for n := 1; at.Before(monday.Add(32 * 24 * time.Hour)); n++ { // ever faster, for a day
		o.At = at.UnixMicro()
		if p.Score(o, nil).Tenths < threshold {
			p.Learn(o)
		} else {
			p.Touch(o.At)
		}
		at = at.Add(max(5*time.Second, 10*time.Minute/time.Duration(n)))
	}
	if after := p.UsualRate(); after > 2*(riseFactor*before+riseFloor) {
		t.Errorf("pushed from %.1f to %.1f calls a minute within a day", before, after)
	}
}

func TestAWordOfOldNewsFades(t *testing.T) {
	p, o := settled()
	o.At = monday.Add(2 * 365 * 24 * time.Hour).UnixMicro()
	if s := p.Score(o, nil); s.NewNetwork || s.Tenths >= threshold {
		t.Errorf("back after two years: %s, want seen before and below the threshold", shares(s))
	}
	p.Learn(o) // moves the origin
	if top := p.Top(Country); len(top) != 1 || top[0].Hash != Hash("IE") || top[0].Share < 0.9 {
		t.Errorf("usual countries are %+v, want IE alone", top)
	}
	o.Country = Hash("FR")
	if s := p.Score(o, nil); !s.NewCountry || s.Tenths < threshold {
		t.Errorf("a new country after two years: %s, want at least 13 bits", shares(s))
	}
}

func TestTopListsTheUsualValues(t *testing.T) {
	p := &Page{}
	for w := range 1000 {
		p.Learn(call(monday.Add(time.Duration(w)*5*time.Minute), 0))
		if w%2 == 0 {
			p.Learn(call(monday.Add(time.Duration(w)*5*time.Minute), 1))
		}
		p.Learn(call(monday.Add(time.Duration(w)*5*time.Minute), 100+w)) // a long tail
	}
	top := p.Top(Action)
	if len(top) != 24 || top[0].Hash != value("action", 0) || top[1].Hash != value("action", 1) {
		t.Fatalf("Top lists %d values, the first %v; want 24 led by the two frequent ones", len(top), top[0])
	}
	if top[0].Share < 0.99 || top[1].Share < 0.45 || top[1].Share > 0.6 {
		t.Errorf("shares are %.2f and %.2f, want 1 and one half", top[0].Share, top[1].Share)
	}
	if want := monday.Add(999 * 5 * time.Minute); !top[0].LastSeen.Equal(want) {
		t.Errorf("last seen %s, want %s", top[0].LastSeen, want)
	}
	if p.Distinct(Action) < 900 {
		t.Errorf("Distinct = %d, want about 1,002", p.Distinct(Action))
	}
	if p.Top(Rate) != nil || p.Distinct(Hour) != 0 {
		t.Error("what is no category has values")
	}
	if hours := p.ActiveHours(); len(hours) != 84 || hours[0] != 0 {
		t.Errorf("active hours are %v, want the first 84 of the week", hours)
	}
}

func TestReplayMakesTheSamePage(t *testing.T) {
	first, second := raise(scaling, rand.New(rand.NewPCG(2, 2))), raise(scaling, rand.New(rand.NewPCG(2, 2)))
	a, _ := first.MarshalBinary()
	b, _ := second.MarshalBinary()
	if string(a) != string(b) {
		t.Error("two replays of the same events differ")
	}
}

func TestAPageSurvivesMarshalling(t *testing.T) {
	p, o := settled()
	data, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var back Page
	if err := back.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	o.Country = 1
	for name, q := range map[string]*Page{"unmarshalled": &back, "copied": p.Copy()} {
		if diff := cmp.Diff(p.Score(o, nil), q.Score(o, nil)); diff != "" {
			t.Errorf("%s page scores differently (-want +got):\n%s", name, diff)
		}
		if q.Count() != p.Count() || !q.FirstSeen().Equal(monday) || !q.LastSeen().Equal(p.LastSeen()) {
			t.Errorf("%s page: %d events from %s to %s", name, q.Count(), q.FirstSeen(), q.LastSeen())
		}
	}
	data[7]++
	if err := back.UnmarshalBinary(data); err == nil {
		t.Error("a page of another version was accepted")
	}
	if err := back.UnmarshalBinary(data[:100]); err == nil {
		t.Error("a cut page was accepted")
	}
	if !(&Page{}).FirstSeen().IsZero() {
		t.Error("an empty page was seen")
	}
}

func TestReadersNeedNoLock(t *testing.T) {
	p, o := settled()
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if s := p.Score(o, nil); s.NewCountry || s.Tenths >= threshold {
						t.Errorf("a usual call while learning: %s", shares(s))
						return
					}
					p.Top(Action)
				}
			}
		})
	}
	for i := range 1000 {
		l := o
		l.At += int64(i) * 5 * 60 * 1e6
		p.Learn(l)
	}
	close(stop)
	readers.Wait()
}

func TestScoringAllocatesNothing(t *testing.T) {
	p, o := settled()
	o.Country = 1
	if n := testing.AllocsPerRun(100, func() { p.Score(o, nil); p.Learn(o); p.Touch(o.At) }); n != 0 {
		t.Errorf("Score, Learn and Touch allocate %v times, want 0", n)
	}
}

func TestFastLogarithmsAreExact(t *testing.T) {
	for x := 1e-12; x < 1e12; x *= 1.01 {
		if diff := math.Abs(log2(x) - math.Log2(x)); diff > 1e-5 {
			t.Fatalf("log2(%g) is off by %g", x, diff)
		}
	}
	for x := -90.0; x < 90; x += 0.01 {
		if diff := math.Abs(exp2(x)/math.Exp2(x) - 1); diff > 1e-5 {
			t.Fatalf("exp2(%g) is off by %g", x, diff)
		}
	}
	if exp2(-1e9) != 0 {
		t.Error("what is long gone has not faded to nothing")
	}
}

// FuzzPage uses a page of any words: whatever is in the file, scoring and
// learning must neither fail nor leave their bounds.
func FuzzPage(f *testing.F) {
	p, _ := settled()
	good, _ := p.MarshalBinary()
	f.Add(good, int64(1<<50), uint64(5), true)
	f.Add([]byte("\xff\xff\xff\xff"), int64(-5), uint64(0), false)
	f.Fuzz(func(t *testing.T, data []byte, at int64, v uint64, denied bool) {
		full := append([]byte(pageMagic), make([]byte, PageSize-len(pageMagic))...)
		for i := len(pageMagic); i < PageSize && len(data) > 0; i++ {
			full[i] = data[i%len(data)]
		}
		var p Page
		if err := p.UnmarshalBinary(full); err != nil {
			t.Fatal(err)
		}
		o := Observation{At: at, Network: v, ASN: v, Country: v, Agent: v, Action: v, Class: v, Region: v, Denied: denied}
		for range 3 {
			s := p.Score(o, nil)
			if s.Tenths < 0 || s.Tenths > 10*3*featureCap || math.IsNaN(s.RatePerMinute) {
				t.Fatalf("score out of bounds: %+v", s)
			}
			for _, fs := range s.Features {
				if fs.Tenths < 0 || fs.Tenths > 20*featureCap {
					t.Fatalf("share out of bounds: %+v", s)
				}
			}
			p.Learn(o)
			p.Touch(at)
		}
		p.Top(Network)
		p.ActiveHours()
		var b PriorBuilder
		b.Add(&p)
		b.Build(nil).Share(Network, v)
	})
}

func ExamplePage() {
	p := &Page{}
	home := Observation{Network: Hash("198.51.100.0/24"), Country: Hash("IE"), Action: Hash("GetObject")}
	for h := range 24 * 30 {
		home.At = monday.Add(time.Duration(h) * time.Hour).UnixMicro()
		p.Learn(home)
	}
	thief := home
	thief.Network, thief.Country = Hash("203.0.113.0/24"), Hash("RO")
	usual, stolen := p.Score(home, nil), p.Score(thief, nil)
	fmt.Println(usual.Tenths < 60, usual.NewCountry)
	fmt.Println(stolen.Tenths >= 130, stolen.NewCountry, stolen.Top(1))
	// Output:
	// true false
	// true true [country]
}

func TestOldLogsReadInDuringABusyDayAreNoFloodAndMakeNone(t *testing.T) {
	p := &Page{}
	now := monday.Add(60 * 24 * time.Hour)
	for i := range 400 { // what happens today
		p.Learn(call(now.Add(time.Duration(i)*500*time.Millisecond), i%3))
	}
	today := now.Add(200 * time.Second)
	for i := range 1500 { // the month before, read in meanwhile
		o := call(monday.Add(time.Duration(i)*28*time.Minute), i%3)
		if s := p.Score(o, nil); s.Tenths >= threshold {
			t.Fatalf("the %dth event of the past: %s", i, shares(s))
		}
		p.Learn(o)
	}
	if got, want := p.Score(call(today, 1), nil).RatePerMinute, 400*perMinute; math.Abs(got-want) > want/3 {
		t.Errorf("after reading in the past, today's rate is %.0f calls a minute, want about %.0f", got, want)
	}
}

func TestAFloodThatIsReportedLateIsAFlood(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	p := raise(quiet, r)
	last := p.LastSeen().Add(time.Hour)
	p.Learn(call(last, 1)) // a newer event, from another source
	loudest := 0
	for i := range 400 {
		o := call(last.Add(-10*time.Minute+time.Duration(i)*100*time.Millisecond), 1)
		loudest = max(loudest, p.Score(o, nil).Tenths)
		p.Touch(o.At)
	}
	if loudest < threshold {
		t.Errorf("400 calls in a minute, reported ten minutes late, are %d tenths of a bit", loudest)
	}
}
