package cloudtrail

import (
	"strconv"
	"time"
)

// A dayCache remembers the last day that was parsed: records of one file are
// of one day, and the calendar is the slow part of a date.
type dayCache struct {
	text  string // 2006-01-02
	start int64  // Unix seconds
}

// time returns when the record says that it happened. A record that says
// nothing readable gets the time of the record before it, or else of arrival:
// it must not be lost for that, and order between records is all that
// learning needs.
func (r *reader) time(rec *record) time.Time {
	at, ok := time.Time{}, false
	switch {
	case rec.epoch != nil:
		at, ok = epoch(string(rec.epoch))
	case len(rec.time.Raw) > 0:
		if at, ok = r.day.parse(rec.time.Raw); !ok {
			at, ok = slowTime(string(rec.time.Raw))
		}
	}
	switch {
	case ok:
		r.last = at
	case !r.last.IsZero():
		at = r.last
	default:
		at = r.o.Arrived
	}
	return at
}

// parse reads 2006-01-02T15:04:05Z, the form of nearly every record.
func (d *dayCache) parse(b []byte) (time.Time, bool) {
	if len(b) != len("2006-01-02T15:04:05Z") || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != 'Z' {
		return time.Time{}, false
	}
	h, okH := two(b[11:])
	m, okM := two(b[14:])
	s, okS := two(b[17:])
	if !okH || !okM || !okS || h > 23 || m > 59 || s > 59 {
		return time.Time{}, false
	}
	if string(b[:10]) != d.text {
		day, err := time.Parse(time.DateOnly, string(b[:10]))
		if err != nil || !plausible(day) {
			return time.Time{}, false
		}
		d.text, d.start = string(b[:10]), day.Unix()
	}
	return time.Unix(d.start+int64(h*3600+m*60+s), 0).UTC(), true
}

func two(b []byte) (int, bool) {
	a, c := b[0]-'0', b[1]-'0'
	return int(a)*10 + int(c), a <= 9 && c <= 9
}

// slowTime reads the other forms: fractions and zones, and what SQL engines
// make of a timestamp.
func slowTime(s string) (time.Time, bool) {
	if len(s) > 64 {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil && plausible(at) {
			return at.UTC(), true
		}
	}
	return epoch(s)
}

// epoch reads seconds or milliseconds since 1970.
func epoch(s string) (time.Time, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != f || f < 1e8 || f > 1e13 {
		return time.Time{}, false
	}
	if f < 1e11 {
		f *= 1000
	}
	at := time.UnixMilli(int64(f)).UTC()
	return at, plausible(at)
}

// plausible keeps out years that no log can be of and no database stores.
func plausible(at time.Time) bool { return at.Year() >= 2000 && at.Year() < 2200 }
