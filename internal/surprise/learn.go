package surprise

import (
	"math"
	"math/bits"
)

const (
	// meanMemory is the number of events the running means look back on.
	meanMemory = 256
	// riseFactor and riseFloor bound how far the peak rate may be pushed in a
	// day by calls that each stay below the threshold.
	riseFactor, riseFloor = 3, 16
	// leap is a rise so large that it cannot have scored as normal: who learns
	// it does so on purpose, from trusted history or after confirmation.
	leap = 8
	// rebase is the age of the origin, in half-lives, at which the counts are
	// rewritten to a new one.
	rebase = 24
)

// Learn makes o part of the identity's normal. The caller judges whether o
// deserves it: what scored above the threshold must not be learned before it
// is confirmed. Learn is a write; it takes about a microsecond and does not
// allocate. Events may come out of order: time never runs back for the rates,
// and the categories do not care.
func (p *Page) Learn(o Observation) {
	var m image
	p.own(&m)
	m.learn(&o)
	p.write(&m)
}

// Touch counts an event towards the current rate without learning from it.
// Call it for events that are withheld from Learn, or a flood would stop
// looking like one as soon as it is noticed. It is a write.
func (p *Page) Touch(at int64) {
	var m image
	p.own(&m)
	m.tick(clampTime(at), false)
	p.write(&m)
}

func (m *image) learn(o *Observation) {
	at := clampTime(o.At)
	if m[atEvents] == 0 {
		m[atFirst], m[atLast], m[atOrigin] = uint64(at), uint64(at), uint64(at)
	}
	if age := m.age(at); age > rebase || age > 0 && m.fade(at) > exp2(-age) {
		m.rewrite(at)
	}
	established := m.established()
	scale, weight := m.fade(at), float32(exp2(m.age(at)))
	now := uint32(at / window)

	m.learnMeans(o, at, scale)
	movedWithin := o.ASN == 0 || m.seen(ASN, o.ASN) // before the system itself is learned
	for f := range Categories {
		v := o.Value(f)
		if v == 0 {
			continue
		}
		// A new network in a new system is no sign of moving around within
		// one. And what an identity shows in its first hour says little about
		// how often it will change countries.
		habit := f != Network || movedWithin
		if f == ASN || f == Country || f == Class {
			habit = established
		}
		m.learnCategory(f, v, now, weight, habit)
	}
	m.learnFlag(Denied, now, weight, o.Denied)
	m.learnHour(at, weight)
	m.tick(at, true)
	m[atEvents]++
	m[atFirst] = uint64(min(at, clampTime(int64(m[atFirst]))))
	m[atLast] = uint64(max(at, clampTime(int64(m[atLast]))))
}

// learnMeans moves the running mean of each feature's surprise.
func (m *image) learnMeans(o *Observation, at int64, scale float64) {
	step := float32(max(1.0/meanMemory, 1/float64(m[atEvents]+1)))
	move := func(f Feature, b float64) {
		st := m.stat(f)
		st.mean += (float32(b) - st.mean) * step
		m.setStat(f, st)
	}
	for f := range Categories {
		if v := o.Value(f); v != 0 {
			b, _ := m.category(f, v, scale, nil)
			move(f, b)
		}
	}
	b, _ := m.hour(at, scale)
	move(Hour, b)
	if b = 0; o.Denied {
		b = m.denied(scale)
	}
	move(Denied, b)
}

// learnCategory counts a value once per window. habit says whether a new
// value tells something about how often new values come.
func (m *image) learnCategory(f Feature, v uint64, now uint32, weight float32, habit bool) {
	st := m.stat(f)
	first := st.n == 0
	if now > st.lastSeen || first {
		st.n += weight
		st.lastSeen = now
	}
	fresh := !m.seen(f, v)
	if fresh {
		st.distinct++
		if !first && habit && now > st.lastNovel {
			st.novel += weight
			st.lastNovel = now
		}
	}
	m.setStat(f, st)
	m.keep(f, v, now, weight)
	if fresh {
		m.remember(f, v)
	}
}

// keep counts a value in the slots of its category by the space-saving rule
// (Metwally, Agrawal, El Abbadi 2005): a value without a slot takes that of
// the least frequent one and inherits its count, so that whatever is frequent
// ends up in a slot.
func (m *image) keep(f Feature, v uint64, now uint32, weight float32) {
	least := -1
	var lowest slot
	for i := slotStart[f]; i < slotStart[f+1]; i++ {
		s := m.slot(i)
		if s.hash == v {
			if now > s.last {
				m.setSlot(i, slot{v, s.count + weight, now})
			}
			return
		}
		if least < 0 || s.hash == 0 && lowest.hash != 0 || (s.hash == 0) == (lowest.hash == 0) && s.count < lowest.count {
			least, lowest = i, s
		}
	}
	inherited := float32(0)
	if lowest.hash != 0 {
		inherited = lowest.count
	}
	m.setSlot(least, slot{v, inherited + weight, now})
}

// remember puts a value into the Bloom filter of its category. A filter that
// is half full says yes too often: it is emptied, and remembers what is in
// the slots. An identity with so many values learned to expect new ones.
func (m *image) remember(f Feature, v uint64) {
	m.setBloom(f, v)
	filter := m[atBloom+bloomStart[f] : atBloom+bloomStart[f+1]]
	ones := 0
	for _, w := range filter {
		ones += bits.OnesCount64(w)
	}
	if ones*2 <= len(filter)*64 {
		return
	}
	clear(filter)
	for i := slotStart[f]; i < slotStart[f+1]; i++ {
		if s := m.slot(i); s.hash != 0 {
			m.setBloom(f, s.hash)
		}
	}
}

func (m *image) setBloom(f Feature, v uint64) {
	if w1, w2, b1, b2, ok := bloomBits(f, v); ok {
		m[w1] |= b1
		m[w2] |= b2
	}
}

// learnFlag counts windows, and windows in which the flag was raised.
func (m *image) learnFlag(f Feature, now uint32, weight float32, raised bool) {
	st := m.stat(f)
	if now > st.lastSeen || st.n == 0 {
		st.n += weight
		st.lastSeen = now
	}
	if raised && now > st.lastNovel {
		st.novel += weight
		st.lastNovel = now
	}
	m.setStat(f, st)
}

// learnHour marks the hour of the week as one of activity.
func (m *image) learnHour(at int64, weight float32) {
	st := m.stat(Hour)
	current := uint32(at / hour)
	if current <= st.lastSeen && st.n != 0 {
		return
	}
	_, fresh := m.hour(at, 1)
	if fresh && st.n != 0 {
		st.novel += weight
	}
	st.n += weight
	st.lastSeen = current
	m.setStat(Hour, st)
	if h := hourOfWeek(at); m.season(h) == 0 {
		m.setSeason(h, 1)
	}
}

// tick counts one event in the rates. Only a learned one counts towards what
// is usual. A late event counts for what would be left of it by now: a month
// of old logs is no flood of today.
func (m *image) tick(at int64, learned bool) {
	m[atTouched]++
	fast, slow, daily, peak := m.rates(at)
	late := float64(m.late(at))
	fast += faded(late / window)
	if learned {
		slow += faded(late / hour)
		daily += faded(late / day)
		peak = m.countHour(at, fast, peak)
	}
	m.setFloats(atFast, fast, slow)
	m.setFloats(atSlow, daily, peak)
	m[atRates] = uint64(max(at, clampTime(int64(m[atRates]))))
}

// countHour follows the largest fast rate of the current hour. When the hour
// is over it goes into the seasonal bin of that hour and into the peak, which
// may only rise so far in one day. It returns the peak.
func (m *image) countHour(at int64, fast, peak float32) float32 {
	counted, largestBits := split(m[atHour])
	largest := number(largestBits)
	current := uint32(at / hour)
	if current <= counted { // the same hour, or a late event
		m[atHour] = join(counted, math.Float32bits(max(largest, fast)))
		return peak
	}
	if m[atEvents] != 0 {
		peak = max(peak, m.allowRise(at, largest, peak))
		m.fold(int((int64(counted)+72)%168), largest)
	}
	m[atHour] = join(current, math.Float32bits(fast))
	return peak
}

// allowRise returns largest, or as much of it as the day allows.
func (m *image) allowRise(at int64, largest, peak float32) float32 {
	counted, ceiling := split(m[atDay])
	limit := number(ceiling)
	if current := uint32(at / day); current > counted || limit == 0 {
		limit = riseFactor*peak + riseFloor
		m[atDay] = join(current, math.Float32bits(limit))
	}
	young := int64(m[atLast])-int64(m[atFirst]) < day // everything is a rise on the first day
	if young || largest > leap*max(peak, rateFloor) {
		return largest
	}
	return min(largest, limit)
}

// fold ages a seasonal bin by an eighth of its log, at least one step, and
// raises it to what was seen now.
func (m *image) fold(h int, largest float32) {
	old := m.season(h)
	if old > 1 {
		old -= max(1, old/8)
	}
	m.setSeason(h, max(old, toLog(float64(largest))))
}

// rewrite moves the origin to at.
func (m *image) rewrite(at int64) {
	scale := float32(m.fade(at))
	for f := range Feature(statFeatures) {
		st := m.stat(f)
		st.n *= scale
		st.novel *= scale
		m.setStat(f, st)
	}
	for i := range allSlots {
		s := m.slot(i)
		s.count *= scale
		m.setSlot(i, s)
	}
	m[atOrigin] = uint64(at)
}
