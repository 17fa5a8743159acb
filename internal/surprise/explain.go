package surprise

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Names turns hashes back into words.
type Names interface {
	// Name returns the text that was hashed, "" if it is not known.
	Name(hash uint64) string
}

// A Reason is one feature's share of a score, in words.
type Reason struct {
	Feature Feature
	Usual   string  // what the identity usually shows
	Seen    string  // what it showed this time
	Bits    float64 // the feature's share of the surprise
	New     bool    // never shown before
}

// Explain says why s is as large as it is: the n features with the most
// surprise, each with what is usual beside what was seen. call, if it is not
// nil, gives the words of what was seen; names gives the others. p may be nil.
func (p *Page) Explain(s *Score, call *Call, names Names, n int) []Reason {
	var out []Reason
	for _, f := range s.Top(n) {
		out = append(out, Reason{
			Feature: f,
			Usual:   p.usual(f, names),
			Seen:    s.seen(f, call, names),
			Bits:    float64(s.Features[f].Tenths) / 10,
			New:     s.Features[f].New,
		})
	}
	return out
}

// usual describes a feature's normal: the most frequent values, with the
// share of active time if it is not all of it.
func (p *Page) usual(f Feature, names Names) string {
	if p == nil || p.Count() == 0 {
		return "nothing known yet"
	}
	switch f {
	case Hour:
		return hoursText(p.ActiveHours())
	case Denied:
		return "not refused"
	case Rate:
		return "up to " + figure(p.UsualRate()) + " calls a minute"
	}
	var parts []string
	for _, v := range p.Top(f) {
		if len(parts) == 3 {
			parts = append(parts, fmt.Sprintf("%d others", max(p.Distinct(f)-3, 1)))
			break
		}
		name := named(v.Hash, names)
		if v.Share < 0.95 {
			name += " (" + strconv.Itoa(max(1, int(100*v.Share))) + "%)"
		}
		parts = append(parts, name)
	}
	if len(parts) == 0 {
		return "nothing known yet"
	}
	return strings.Join(parts, ", ")
}

func (s *Score) seen(f Feature, call *Call, names Names) string {
	switch f {
	case Hour:
		return time.UnixMicro(clampTime(s.Seen.At)).UTC().Format("Monday 15:04 UTC")
	case Denied:
		return "refused"
	case Rate:
		return figure(s.RatePerMinute) + " calls a minute"
	}
	if call != nil {
		if text := call.Text(f); text != "" {
			return text
		}
	}
	return named(s.Seen.Value(f), names)
}

func named(hash uint64, names Names) string {
	if names != nil {
		if name := names.Name(hash); name != "" {
			return name
		}
	}
	return fmt.Sprintf("#%08x", hash>>32)
}

func figure(x float64) string {
	if x < 10 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// hoursText sums up hours of the week, 0 being Monday midnight, in a few
// words.
func hoursText(hours []int) string {
	var days [7]bool
	var times [24]bool
	for _, h := range hours {
		days[h/24], times[h%24] = true, true
	}
	if len(hours) > 150 {
		return "at any hour"
	}
	return spans(days[:], func(d int) string { return time.Weekday((d + 1) % 7).String()[:3] }, "") + " " +
		spans(times[:], func(h int) string { return fmt.Sprintf("%02d:00", h) }, ":59") + " UTC"
}

// spans lists runs of true: "Mon-Fri", "08:00-18:59".
func spans(set []bool, name func(int) string, last string) string {
	var parts []string
	for i := 0; i < len(set); i++ {
		if !set[i] {
			continue
		}
		from := i
		for i+1 < len(set) && set[i+1] {
			i++
		}
		switch text := name(i); {
		case last != "":
			parts = append(parts, name(from)+"-"+strings.TrimSuffix(text, ":00")+last)
		case from == i:
			parts = append(parts, text)
		default:
			parts = append(parts, name(from)+"-"+text)
		}
	}
	if len(parts) > 4 {
		return fmt.Sprintf("%d different times", len(parts))
	}
	return strings.Join(parts, ", ")
}
