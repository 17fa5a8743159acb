package template

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

// A Kind says how a parameter is written and what is meant by it.
type Kind string

// The kinds of parameter.
const (
	Principal Kind = "principal" // nhi_..., environment:NAME, or nothing for everybody
	Resource  Kind = "resource"  // the name of a resource, environment:NAME, or nothing for everything
	Resources Kind = "resources" // several, with commas
	IDs       Kind = "identities"
	Networks  Kind = "networks" // addresses and prefixes, with commas
	Names     Kind = "names"    // words, with commas
	Actions   Kind = "actions"  // classes of action, with commas
	Days      Kind = "days"     // mon-fri, or mon,wed,sat
	Clock     Kind = "clock"    // 08:30, up to 24:00
	Zone      Kind = "zone"     // Europe/Berlin
	Date      Kind = "date"     // 2027-01-31, the last day on which it holds
	Duration  Kind = "duration" // 15m, 24h; whole seconds
	Number    Kind = "number"   // whole, above zero
	Level     Kind = "level"    // of sensitivity, 0 to 4
	Flag      Kind = "flag"     // true or false
	StepUp    Kind = "step-up"  // reattest, bind, approve, narrow, or nothing for a refusal
)

// kinds parse what people write. The empty text is what Render is given when
// there is no value and no default.
var kinds = map[Kind]struct {
	wants string
	parse func(string) (any, error)
}{
	Principal: {"nhi_... or environment:NAME", func(s string) (any, error) { return parseWho(s, false) }},
	Resource:  {"a resource's name or environment:NAME", func(s string) (any, error) { return parseWho(s, true) }},
	Resources: {"names of resources or environment:NAME, with commas", parseResources},
	IDs:       {"ids of identities (nhi_...), with commas", parseIDs},
	Networks:  {"addresses or prefixes such as 192.0.2.0/24, with commas", parseNetworks},
	Names:     {"words, with commas", func(s string) (any, error) { return list(s, nil) }},
	Actions:   {"read, list, write, delete, admin, issue, exchange, assume, with commas", parseActions},
	Days:      {"days such as mon-fri or mon,wed,sat", parseDays},
	Clock:     {"a time of day such as 08:30, at most 24:00", parseClock},
	Zone:      {"a time zone such as Europe/Berlin, or UTC", parseZone},
	Date:      {"a day such as 2027-01-31", parseDate},
	Duration:  {"a duration of whole seconds such as 15m, at most 8760h", parseDuration},
	Number:    {"a whole number above zero", parseNumber},
	Level:     {"a sensitivity from 0 to 4", func(s string) (any, error) { return s, oneOf(s, "0", "1", "2", "3", "4") }},
	Flag:      {"true or false", func(s string) (any, error) { return s == "true", oneOf(s, "", "true", "false") }},
	StepUp: {"reattest, bind, approve or narrow", func(s string) (any, error) {
		return s, oneOf(s, "", string(nhi.StepReattest), string(nhi.StepBind), string(nhi.StepApprove), string(nhi.StepNarrow))
	}},
}

func (k Kind) wants() string { return kinds[k].wants }

func (k Kind) parse(s string) (any, error) {
	value, err := kinds[k].parse(s)
	if err != nil {
		return nil, fmt.Errorf("%w; it takes %s", err, k.wants())
	}
	return value, nil
}

func oneOf(s string, words ...string) error {
	if slices.Contains(words, s) {
		return nil
	}
	return errors.New("is none of its words")
}

// who is a principal or a resource in the head of a policy. The zero who is
// anybody, or anything.
type who struct{ name, environment string }

// principal writes the head's condition on the principal.
func (w who) principal() string {
	switch {
	case w.environment != "":
		return "in Environment::" + policy.Quote(w.environment)
	case w.name != "":
		return "in Identity::" + policy.Quote(w.name)
	}
	return ""
}

func (w who) resource() string {
	switch {
	case w.environment != "":
		return "in Environment::" + policy.Quote(w.environment)
	case w.name != "":
		return "== Resource::" + policy.Quote(w.name)
	}
	return ""
}

// Principal and Resource write the head; the templates call them.
func (w who) Principal() string { return strings.TrimSpace("principal " + w.principal()) }

// Resource writes the resource of the head.
func (w who) Resource() string { return strings.TrimSpace("resource " + w.resource()) }

// String names it in a sentence.
func (w who) String() string {
	if w.environment != "" {
		return "environment " + w.environment
	}
	return w.name
}

const (
	maxName = 256
	maxList = 100
)

func parseWho(s string, resource bool) (who, error) {
	name, isEnvironment := strings.CutPrefix(s, "environment:")
	switch {
	case s == "":
		return who{}, nil
	case !isName(name):
		return who{}, errors.New("is no name")
	case isEnvironment:
		return who{environment: name}, nil
	case !resource && !nhi.ID(name).Valid():
		return who{}, errors.New("is no identity's id")
	}
	return who{name: name}, nil
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\ufffd' })
}

// list splits at commas and checks each part. Nothing is no list.
func list(s string, check func(string) (string, error)) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, ",")
	if len(parts) > maxList {
		return nil, fmt.Errorf("has more than %d parts", maxList)
	}
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if !isName(part) {
			return nil, fmt.Errorf("%.64q is no name", part)
		}
		if check != nil {
			var err error
			if part, err = check(part); err != nil {
				return nil, err
			}
		}
		parts[i] = part
	}
	slices.Sort(parts)
	return slices.Compact(parts), nil
}

func parseResources(s string) (any, error) {
	names, err := list(s, nil)
	if err != nil {
		return nil, err
	}
	out := make([]who, 0, len(names))
	for _, n := range names {
		w, err := parseWho(n, true)
		if err != nil {
			return nil, fmt.Errorf("%.64q %w", n, err)
		}
		out = append(out, w)
	}
	return out, nil
}

func parseIDs(s string) (any, error) {
	return list(s, func(id string) (string, error) {
		if !nhi.ID(id).Valid() {
			return "", fmt.Errorf("%.64q is no identity's id", id)
		}
		return id, nil
	})
}

// parseNetworks refuses prefixes with bits behind them: whoever writes
// 10.1.2.3/8 means one of two things.
func parseNetworks(s string) (any, error) {
	return list(s, func(text string) (string, error) {
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" && !address.Is4In6() {
			return address.String(), nil
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is4In6() {
			return "", fmt.Errorf("%.64q is no network", text)
		}
		if prefix != prefix.Masked() {
			return "", fmt.Errorf("%s has bits behind its prefix: is it %s or %s", prefix, prefix.Masked(), prefix.Addr())
		}
		return prefix.String(), nil
	})
}

func parseActions(s string) (any, error) {
	return list(s, func(a string) (string, error) {
		if !nhi.ActionClass(a).Valid() {
			return "", fmt.Errorf("%.64q is no class of action", a)
		}
		return a, nil
	})
}

var weekdays = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// parseDays returns days as ISO 8601 counts them: 1 is Monday.
func parseDays(s string) (any, error) {
	var out []int
	for part := range strings.SplitSeq(strings.ToLower(s), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from := slices.Index(weekdays, first)
		to := from
		if isRange {
			to = slices.Index(weekdays, last)
		}
		if from < 0 || to < 0 {
			return nil, fmt.Errorf("%.64q is no day", part)
		}
		for day := from; ; day = (day + 1) % 7 {
			out = append(out, day+1)
			if day == to {
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// parseClock returns minutes of the day.
func parseClock(s string) (any, error) {
	if s == "24:00" {
		return 24 * 60, nil
	}
	at, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return nil, errors.New("is no time of day")
	}
	return at.Hour()*60 + at.Minute(), nil
}

// parseZone only looks at the spelling: which zones there are is known to
// whoever loads the policy.
func parseZone(s string) (any, error) {
	if s != "UTC" && (!isName(s) || !strings.Contains(s, "/")) {
		return nil, errors.New("is no time zone")
	}
	return s, nil
}

// parseDate returns the day after, as Cedar writes it: what holds until a day
// holds to its end.
func parseDate(s string) (any, error) {
	if s == "" {
		return "", nil
	}
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return nil, errors.New("is no day")
	}
	return day.AddDate(0, 0, 1).Format(time.DateOnly), nil
}

func parseDuration(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > 8760*time.Hour || d%time.Second != 0 {
		return nil, errors.New("is no such duration")
	}
	return int64(d / time.Second), nil
}

func parseNumber(s string) (any, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 || n > 1_000_000_000 {
		return nil, errors.New("is no such number")
	}
	return n, nil
}
