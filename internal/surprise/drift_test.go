package surprise

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// threshold is the surprise at which Muster steps up, in tenths of a bit.
const threshold = 130

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// A script is a simulated identity: what it does in one five-minute window of
// its life. Calls may carry any time within the window.
type script struct {
	name string
	days int // of history before judgement
	play func(r *rand.Rand, window int, at time.Time) []Observation
}

func value(kind string, i int) uint64 { return HashNumber(kind, uint64(i)) }

// call is an ordinary call of a workload at home.
func call(at time.Time, action int) Observation {
	return Observation{
		At: at.UnixMicro(), Network: value("net", 1), ASN: value("asn", 1), Country: Hash("IE"),
		Agent: Hash("boto3"), Action: value("action", action), Class: Hash("read"), Region: Hash("eu-west-1"),
	}
}

func repeat(r *rand.Rand, at time.Time, n, actions int) []Observation {
	out := make([]Observation, n)
	for i := range out {
		out[i] = call(at.Add(time.Duration(i)*299*time.Second/time.Duration(n)), r.IntN(actions))
		if out[i].Action == value("action", 2) {
			out[i].Class = Hash("write")
		}
	}
	return out
}

// busy calls some times a minute, all week.
var busy = script{"a busy service", 14, func(r *rand.Rand, w int, at time.Time) []Observation {
	return repeat(r, at, 8+r.IntN(8), 6)
}}

// quiet is an API key that is used a few times a day, in office hours.
var quiet = script{"a key used now and then", 30, func(r *rand.Rand, w int, at time.Time) []Observation {
	if h := at.Hour(); h < 8 || h > 18 || at.Weekday() == time.Saturday || at.Weekday() == time.Sunday || r.IntN(30) > 0 {
		return nil
	}
	return repeat(r, at, 1+r.IntN(3), 4)
}}

// deploying is a service that ships twice a week: new actions, and for half
// an hour three times the calls.
var deploying = script{"a service that deploys", 21, func(r *rand.Rand, w int, at time.Time) []Observation {
	n, since := 6+r.IntN(4), w%(288*7/2)
	if since < 6 {
		n *= 3
	}
	obs := repeat(r, at, n, 6)
	if version := w / (288 * 7 / 2); version > 0 {
		obs[r.IntN(n)].Action = value("feature", version-r.IntN(min(version, 3)))
	}
	return obs
}}

// scaling runs on machines that come and go: new networks of one provider,
// several every hour.
var scaling = script{"a service that scales out", 14, func(r *rand.Rand, w int, at time.Time) []Observation {
	obs := repeat(r, at, 5+r.IntN(5), 6)
	for i := range obs {
		obs[i].Network = value("pool", w/12*2+r.IntN(5))
	}
	return obs
}}

// weekly is a job that runs on Sunday at three and hardly at any other time.
var weekly = script{"a weekly job", 56, func(r *rand.Rand, w int, at time.Time) []Observation {
	if at.Weekday() == time.Sunday && at.Hour() == 3 && at.Minute() < 30 {
		return repeat(r, at.Add(time.Duration(r.IntN(60))*time.Second), 150+r.IntN(60), 8)
	}
	if at.Hour() == 12 && at.Minute() == 0 {
		return repeat(r, at, 2, 2)
	}
	return nil
}}

// batch sleeps all day and works for an hour at night.
var batch = script{"a nightly batch", 21, func(r *rand.Rand, w int, at time.Time) []Observation {
	if at.Hour() != 2 {
		return nil
	}
	return repeat(r, at, 100+r.IntN(50), 5)
}}

var scripts = []script{busy, quiet, deploying, scaling, weekly, batch}

// raise lets an identity live through its history, learning everything. It
// works on the image alone: without the atomic words the race detector lets
// these long lives pass in seconds.
func raise(s script, r *rand.Rand) *Page {
	var m image
	for w := range s.days * 288 {
		for _, o := range s.play(r, w, monday.Add(time.Duration(w)*5*time.Minute)) {
			m.learn(&o)
		}
	}
	p := &Page{}
	p.write(&m)
	return p
}

// live goes on for some days and learns what scores normal. It returns the
// loudest score.
func live(s script, r *rand.Rand, p *Page, days int, prior *Prior) (loudest Score, when time.Time, over int) {
	var m image
	p.read(&m)
	defer p.write(&m)
	for w := s.days * 288; w < (s.days+days)*288; w++ {
		for _, o := range s.play(r, w, monday.Add(time.Duration(w)*5*time.Minute)) {
			score := scoreUnknown(&o, prior)
			if m[atEvents] > 0 {
				score = m.score(&o, prior)
			}
			if score.Tenths > loudest.Tenths {
				loudest, when = score, time.UnixMicro(o.At).UTC()
			}
			if score.Tenths >= threshold {
				over++
				m.tick(o.At, false)
				continue
			}
			m.learn(&o)
		}
	}
	return loudest, when, over
}

func shares(s Score) string {
	out := fmt.Sprintf("%.1f bits:", s.Bits())
	for _, f := range s.Top(5) {
		out += fmt.Sprintf(" %v %.1f", f, float64(s.Features[f].Tenths)/10)
	}
	return out
}

const seeds = 2

func TestNormalLifeStaysQuiet(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(seeds) {
				r := rand.New(rand.NewPCG(seed, 1))
				p := raise(s, r)
				score, when, over := live(s, r, p, 14, nil)
				if over > 0 {
					t.Errorf("seed %d: %d events over the threshold, the loudest at %s: %s", seed, over, when, shares(score))
				}
			}
		})
	}
}

func TestAUsualRequestEarnsFewBits(t *testing.T) {
	for _, s := range scripts {
		r := rand.New(rand.NewPCG(9, 1))
		p := raise(s, r)
		var m image
		p.read(&m)
		sum, n := 0, 0
		for w := s.days * 288; w < (s.days+7)*288; w++ {
			for _, o := range s.play(r, w, monday.Add(time.Duration(w)*5*time.Minute)) {
				sum += m.score(&o, nil).Tenths
				n++
				m.learn(&o)
			}
		}
		if mean := float64(sum) / float64(n) / 10; mean > 2 {
			t.Errorf("%s: a usual request earns %.1f bits on average, want at most 2", s.name, mean)
		}
	}
}

// An attack is one request, or a run of them, by whoever holds the key.
type attack struct {
	name string
	make func(usual Observation, usually float64) []Observation
}

func one(change func(*Observation)) func(Observation, float64) []Observation {
	return func(o Observation, _ float64) []Observation { change(&o); return []Observation{o} }
}

var attacks = []attack{
	{"a new system", one(func(o *Observation) { o.Network, o.ASN = value("net", 666), value("asn", 666) })},
	{"a new country", one(func(o *Observation) { o.Network, o.ASN, o.Country = value("net", 666), value("asn", 666), Hash("XX") })},
	{"a new country inside the same system", one(func(o *Observation) { o.Network, o.Country = value("net", 666), Hash("XX") })},
	{"an administrator's action", one(func(o *Observation) { o.Action, o.Class = Hash("iam:AttachUserPolicy"), Hash("admin") })},
	{"fifty times the calls", func(o Observation, usually float64) []Observation {
		out := make([]Observation, max(50, int(2*50*usually))) // for two minutes
		for i := range out {
			out[i] = o
			out[i].At += int64(i) * 120 * second / int64(len(out))
		}
		return out
	}},
}

func TestAttacksAreLoud(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(seeds) {
				r := rand.New(rand.NewPCG(seed, 2))
				p := raise(s, r)
				usual := lastCall(s, r)
				for _, a := range attacks {
					var m image
					p.read(&m)
					var loudest Score
					for _, o := range a.make(usual, p.UsualRate()) {
						if score := m.score(&o, nil); score.Tenths > loudest.Tenths {
							loudest = score
						}
						m.tick(o.At, false)
					}
					if loudest.Tenths < threshold || !loudest.Established {
						t.Errorf("seed %d: %s is %s, want at least 13", seed, a.name, shares(loudest))
					}
				}
			}
		})
	}
}

// lastCall is a call the identity really makes after its history.
func lastCall(s script, r *rand.Rand) Observation {
	for w := s.days * 288; ; w++ {
		if obs := s.play(r, w, monday.Add(time.Duration(w)*5*time.Minute)); len(obs) > 0 {
			return obs[0]
		}
	}
}

func TestTheFirstBurstOfAThiefWithAQuietKeyIsLoudWithinAMinute(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	p := raise(quiet, r)
	o := lastCall(quiet, r)
	for i := 1; i <= 60; i++ {
		score := p.Score(o, nil)
		if score.Tenths >= threshold {
			if i < 10 {
				t.Errorf("the %dth call within a minute is an alarm, want ten to be harmless", i)
			}
			return
		}
		p.Learn(o)
		o.At += second
	}
	t.Error("sixty calls within a minute of a key used three times a day are no alarm")
}

func TestAFailoverIntoARegionOfThePeersStaysQuiet(t *testing.T) {
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 3))
		var b PriorBuilder
		for i := range 8 {
			other := scaling
			other.days = 2
			play := other.play
			other.play = func(r *rand.Rand, w int, at time.Time) []Observation {
				obs := play(r, w, at)
				for j := range obs {
					if i%4 == 0 {
						obs[j].Region = Hash("eu-central-1")
					}
				}
				return obs
			}
			b.Add(raise(other, r))
		}
		prior := b.Build(nil)
		p := raise(scaling, r)
		moved := scaling
		play := scaling.play
		moved.play = func(r *rand.Rand, w int, at time.Time) []Observation {
			obs := play(r, w, at)
			for j := range obs {
				obs[j].Region, obs[j].Network = Hash("eu-central-1"), value("other side", r.IntN(3))
			}
			return obs
		}
		if score, when, over := live(moved, r, p, 2, prior); over > 0 {
			t.Errorf("seed %d: %d events over the threshold, the loudest at %s: %s", seed, over, when, shares(score))
		}
	}
}

func TestAQuarterlyJobIsRemembered(t *testing.T) {
	job := func(r *rand.Rand, at time.Time) []Observation { return repeat(r, at, 120, 9) }
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := quiet
		s.days = 120
		p := &Page{}
		for w := range s.days * 288 {
			at := monday.Add(time.Duration(w) * 5 * time.Minute)
			obs := s.play(r, w, at)
			if at.Hour() == 14 && at.Minute() == 0 && (w/288 == 29 || w/288 == 28) {
				obs = job(r, at)
			}
			for _, o := range obs {
				p.Learn(o)
			}
		}
		at := monday.Add(119*24*time.Hour + 14*time.Hour)
		for _, o := range job(r, at) {
			score := p.Score(o, nil)
			if score.Tenths >= threshold {
				t.Errorf("seed %d: %s", seed, shares(score))
				break
			}
			p.Learn(o)
		}
	}
}

func TestABrandNewIdentityStaysQuiet(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	var b PriorBuilder
	for range 3 {
		b.Add(raise(busy, r))
	}
	for _, s := range scripts {
		for _, prior := range []*Prior{nil, b.Build(nil)} {
			born := s
			born.days = 0
			if score, when, over := live(born, r, &Page{}, 10, prior); over > 0 {
				t.Errorf("%s: %d events over the threshold, the loudest at %s: %s", s.name, over, when, shares(score))
			}
		}
	}
}
