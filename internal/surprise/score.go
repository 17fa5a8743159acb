package surprise

import "math"

// The model's constants. Changing one changes what every page means: the
// drift and attack tests say whether it may.
const (
	// inertia is the weight, in windows, of what we believe about an identity
	// before it has shown anything.
	inertia = 16
	// following is the share of novelty in which an identity does as its peers
	// do, however long its own history.
	following = 1.0 / 64
	// knownCap is the most a value earns that was seen before, bits.
	knownCap = 3
	// featureCap bounds what one feature earns, bits.
	featureCap = 20
	// coldCap bounds the score under a page that is not established, and
	// newCap that of an identity without any page, bits: below the threshold.
	coldCap, newCap = 12, 9
	// youngRateCap bounds the rate's share in the first week, bits.
	youngRateCap = 6
	// meanCap bounds how much of a feature's surprise is called usual, bits.
	meanCap = 4
	// habitual is the share of windows that must have brought a new network
	// for an identity to be called a roamer, and roams how many of them.
	habitual, roams = 1.0 / 50, 3
	// remembered is the least history, in windows, that time leaves.
	remembered = 8
	// rateFloor is the number of calls within minutes that never is a flood.
	rateFloor = 5
)

// rarity is -log2 of the share of windows in which a new value is expected of
// an identity that has never shown one, per feature. Countries hardly ever
// change, actions now and then.
var rarity = [statFeatures]float64{Network: 7, ASN: 13, Country: 14, Agent: 7, Action: 5, Class: 6, Region: 7, Hour: 3, Denied: 4}

// ceilings bound the features that are no categories, bits.
const (
	hourCap   = 5
	deniedCap = 6
	// privilegedRarity is the rarity of the classes that hand out power.
	privilegedRarity = 13
)

var privileged = [...]uint64{Hash("admin"), Hash("issue")}

// Lengths of time in microseconds.
const (
	second = 1e6
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
	window = 5 * minute

	// halfLife is how long it takes a count to fade to half.
	halfLife = 30 * day
	// peakHalfLife is the same for the peak rate: long, for the sake of jobs
	// that run once a quarter.
	peakHalfLife = 90 * day
	// youth is how long the rate of an identity is judged mildly: a week has
	// to pass before its weekly job was seen.
	youth = 8 * day
	// endOfTime bounds the times a page accepts; beyond lie nonsense and overflow.
	endOfTime = 1 << 52
)

// perMinute turns a decayed count with a half-life of five minutes into calls
// a minute.
const perMinute = math.Ln2 / 5

// Score says how surprising o is under the page, blended with what the
// identity's peers do (prior may be nil). It neither waits nor allocates nor
// changes anything, takes about a microsecond, and is safe while the page is
// being learned into. On a nil page or one that learned nothing it judges by
// the peers alone, and mildly.
func (p *Page) Score(o Observation, prior *Prior) Score {
	if p == nil || p.w[atEvents].Load() == 0 {
		return scoreUnknown(&o, prior)
	}
	var m image
	p.read(&m)
	if m[atEvents] == 0 {
		return scoreUnknown(&o, prior)
	}
	return m.score(&o, prior)
}

// scoreUnknown scores an identity that nothing is known about.
func scoreUnknown(o *Observation, prior *Prior) Score {
	s := Score{RatePerMinute: perMinute, Seen: *o}
	var bits [Features]float64
	if prior != nil {
		for f := range Categories {
			if v := o.Value(f); v != 0 {
				bits[f] = -log2(following + (1-following)*prior.Share(f, v))
			}
		}
	}
	s.total(&bits, newCap)
	return s
}

func (m *image) score(o *Observation, prior *Prior) Score {
	at := clampTime(o.At)
	s := Score{Established: m.established(), Seen: *o}
	scale := m.fade(at)
	var bits [Features]float64
	for f := range Categories {
		v := o.Value(f)
		if v == 0 {
			continue
		}
		b, fresh := m.category(f, v, scale, prior)
		bits[f] = m.above(f, b)
		s.Features[f].New = fresh && s.Established
	}
	hourBits, newHour := m.hour(at, scale)
	bits[Hour] = m.above(Hour, hourBits)
	s.Features[Hour].New = newHour && s.Established
	if o.Denied {
		bits[Denied] = m.above(Denied, m.denied(scale))
	}
	bits[Rate], s.RatePerMinute = m.rate(at)

	s.NewASN = s.Features[ASN].New
	s.NewCountry = s.Features[Country].New
	s.NewAgent = s.Features[Agent].New
	s.NewAction = s.Features[Action].New
	s.NewClass = s.Features[Class].New
	s.NewNetwork = s.Features[Network].New && !m.roamer(o, scale)
	limit := float64(coldCap)
	if s.Established {
		limit = 3 * featureCap
	}
	s.total(&bits, limit)
	return s
}

// total charges each feature its share and sums them up to limit bits.
func (s *Score) total(bits *[Features]float64, limit float64) {
	s.charge(bits, Country, ASN, Network)
	s.charge(bits, Class, Action)
	sum := 0
	for f, b := range bits {
		s.Features[f].Tenths = int16(math.Round(10 * b))
		sum += int(s.Features[f].Tenths)
	}
	s.Tenths = min(sum, int(10*limit))
}

// charge lets only one of a group of correlated features count, given from
// the coarsest to the finest: the coarsest that is new, else the most
// surprising one, with the bits of the most surprising.
func (s *Score) charge(bits *[Features]float64, group ...Feature) {
	most, who := 0.0, group[0]
	for _, f := range group {
		if bits[f] > most {
			most, who = bits[f], f
		}
	}
	for _, f := range group {
		if s.Features[f].New {
			who = f
			break
		}
	}
	for _, f := range group {
		bits[f] = 0
	}
	bits[who] = most
}

// category returns the surprise of a value of a category in bits, and whether
// it was never seen.
func (m *image) category(f Feature, v uint64, scale float64, prior *Prior) (bits float64, fresh bool) {
	st := m.stat(f)
	n := float64(st.n) * scale
	if n == 0 {
		return 0, false // the identity never had this feature: nothing to compare
	}
	if i := m.find(f, v); i >= 0 {
		c := float64(m.slot(i).count) * scale
		return min(knownCap, max(0, -log2((c+0.5)/(n+1)))), false
	}
	if m.seen(f, v) {
		return knownCap, false
	}
	novel, rare := float64(st.novel)*scale, rarity[f]
	if f == Class && (v == privileged[0] || v == privileged[1]) {
		novel, rare = 0, privilegedRarity // that it once began to write says nothing about handing out power
	}
	p := (novel+inertia*exp2(-rare))/(n+inertia) + following*prior.Share(f, v)
	bits = min(featureCap, max(0, -log2(p)))
	// Two windows of history are half an argument.
	return bits * n / (n + 0.5), true
}

// above returns what of a feature's surprise exceeds its running mean.
func (m *image) above(f Feature, bits float64) float64 {
	return max(0, bits-min(meanCap, float64(m.stat(f).mean)))
}

// hour returns the surprise of being active in this hour of the week.
func (m *image) hour(at int64, scale float64) (bits float64, fresh bool) {
	h := hourOfWeek(at)
	if m.season(h) != 0 || m.season((h+1)%168) != 0 || m.season((h+167)%168) != 0 {
		return 0, false
	}
	st := m.stat(Hour)
	n := float64(st.n) * scale
	p := (float64(st.novel)*scale + inertia*exp2(-rarity[Hour])) / (n + inertia)
	return min(hourCap, -log2(min(1, p))), true
}

// denied returns the surprise of a refusal.
func (m *image) denied(scale float64) float64 {
	st := m.stat(Denied)
	p := (float64(st.novel)*scale + inertia*exp2(-rarity[Denied])) / (float64(st.n)*scale + inertia)
	return min(deniedCap, -log2(min(1, p)))
}

// roamer reports whether a network that was never seen is, for this identity,
// nothing new: it moves between networks by habit and stays in a system that
// it was seen in.
func (m *image) roamer(o *Observation, scale float64) bool {
	if o.ASN == 0 || !m.seen(ASN, o.ASN) {
		return false
	}
	st := m.stat(Network)
	novel := float64(st.novel) * scale
	return novel >= roams && novel >= habitual*float64(st.n)*scale
}

// rate returns the surprise of one more call now, and the calls a minute. Of an
// event from long before the latest one, as in logs that are read in after
// the fact, nothing is known about the calls around it.
func (m *image) rate(at int64) (bits, calls float64) {
	if m.late(at) > hour {
		return 0, perMinute
	}
	fast, slow, daily, peak := m.rates(at)
	calls = float64(fast) + 1
	expect := max(rateFloor, float64(peak), float64(slow)/12, float64(daily)/288)
	h := hourOfWeek(at)
	for _, near := range [...]int{h, (h + 1) % 168, (h + 167) % 168} {
		expect = max(expect, unlog(m.season(near)))
	}
	bits = floodBits(calls, expect)
	if int64(m[atLast])-int64(m[atFirst]) < youth {
		bits = min(bits, youngRateCap)
	}
	return min(bits, 2*featureCap), calls * perMinute
}

// floodBits is -log2 of the chance that a negative binomial variable of shape
// two and the given mean reaches k. The shape is that of a rate known only to
// a factor: the tail depends on k/mean, at every scale.
func floodBits(k, mean float64) float64 {
	if k <= mean {
		return 0
	}
	p := 2 / (2 + mean)
	return max(0, -k*log2(1-p)-log2(1+k*p)-1)
}

// rates returns the decayed counts as of at: over 5 minutes, an hour and a
// day, and the peak of the first.
func (m *image) rates(at int64) (fast, slow, daily, peak float32) {
	fast, slow = m.floats(atFast)
	daily, peak = m.floats(atSlow)
	gone := float64(at - clampTime(int64(m[atRates])))
	if gone <= 0 {
		return fast, slow, daily, peak // an event out of order does not turn time back
	}
	return fast * faded(gone/window), slow * faded(gone/hour), daily * faded(gone/day), peak * faded(gone/peakHalfLife)
}

// late returns how long before the time of the rates an event lies, 0 when it
// does not.
func (m *image) late(at int64) int64 { return max(0, clampTime(int64(m[atRates]))-at) }

// fade returns the factor that turns counts in units of the origin into
// counts as of at. An identity that comes back after years is remembered in
// proportion, as by a few windows: forgetting everything would make it new,
// and whatever it does then unsurprising.
func (m *image) fade(at int64) float64 {
	windows := float64(m.stat(Denied).n) // counted for every event
	if windows == 0 {
		return 1
	}
	return max(exp2(-m.age(at)), min(1, remembered/windows))
}

// age returns the half-lives between the origin and at.
func (m *image) age(at int64) float64 {
	return max(-60, min(60, float64(at-clampTime(int64(m[atOrigin])))/halfLife))
}

func clampTime(at int64) int64 { return max(0, min(at, endOfTime)) }

// hourOfWeek counts from Monday 00:00 UTC. The epoch was a Thursday.
func hourOfWeek(at int64) int { return int((at/hour + 72) % 168) }

// faded returns the share that is left after some half-lives.
func faded(halfLives float64) float32 { return float32(exp2(-halfLives)) }

// Rates in the seasonal bins are kept as logs: 8 steps to the doubling, 0 for
// never active.
func toLog(x float64) uint8 {
	return uint8(max(1, min(255, math.Ceil(8*log2(1+x)))))
}

func unlog(v uint8) float64 {
	if v == 0 {
		return 0
	}
	return exp2(float64(v)/8) - 1
}

// exp2 and log2 are good to one in a million, which is all a tenth of a bit
// needs, at a fifth of the cost of those in math.

// exp2 returns 2^x, 0 below 2^-100.
func exp2(x float64) float64 {
	if x < -100 {
		return 0
	}
	whole := math.Floor(min(x, 1000))
	f := (x - whole) * math.Ln2 // 0 to ln 2
	e := 1 + f*(1+f*(1.0/2+f*(1.0/6+f*(1.0/24+f*(1.0/120+f*(1.0/720+f/5040))))))
	return e * math.Float64frombits(uint64(int64(whole)+1023)<<52)
}

// log2 returns the binary logarithm of a positive normal number.
func log2(x float64) float64 {
	b := math.Float64bits(x)
	exponent := float64(int(b>>52&0x7ff) - 1023)
	m := math.Float64frombits(b&(1<<52-1) | 1023<<52) // 1 to 2
	if m > math.Sqrt2 {
		m, exponent = m/2, exponent+1
	}
	s := (m - 1) / (m + 1)
	q := s * s
	return exponent + 2/math.Ln2*s*(1+q*(1.0/3+q*(1.0/5+q*(1.0/7+q/9))))
}
