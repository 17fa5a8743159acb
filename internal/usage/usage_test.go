package usage

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
)

var at = time.Date(2026, 5, 1, 12, 34, 0, 0, time.UTC)

var counter = &Counter{
	Identity: func(id nhi.ID) (nhi.Identity, bool) {
		return nhi.Identity{Environment: nhi.Environment{Name: "production"}}, id == "known"
	},
	Resource: func(name string) (nhi.Resource, bool) {
		r, ok := map[string]nhi.Resource{
			"labelled": {Service: "payments", Region: "eu-west-1", Jurisdiction: "BANK-SECRECY"},
			"regional": {Region: "us-east-1", Jurisdiction: "VCDPA"},
			"plain":    {},
		}[name]
		return r, ok
	},
	Country: func(a netip.Addr) string {
		if a == netip.MustParseAddr("198.51.100.1") {
			return "DE"
		}
		return ""
	},
}

func TestAnEventIsCountedUnderWhatIsKnownOfIt(t *testing.T) {
	german := netip.MustParseAddr("198.51.100.1")
	for _, tt := range []struct {
		name string
		ev   nhi.Event
		want Key
	}{
		{"a call in a region", nhi.Event{Provider: "aws", Service: "s3.amazonaws.com", Region: "eu-central-1", Identity: "known", Status: nhi.Success, Address: german},
			Key{Identity: "known", Environment: "production", Service: "s3.amazonaws.com", Region: "eu-central-1", Jurisdiction: "GDPR", Basis: ByRegion, Outcome: "success"}},
		{"a call whose region nobody knows", nhi.Event{Provider: "aws", Service: "iam.amazonaws.com", Region: "aws-global", Identity: "new", Status: nhi.Failure, Address: german},
			Key{Identity: "new", Service: "iam.amazonaws.com", Region: "aws-global", Jurisdiction: "GDPR", Basis: ByAddress, Outcome: "failure"}},
		{"a call from nowhere", nhi.Event{Provider: "aws", Identity: "new", Status: nhi.Success}, Key{Identity: "new", Outcome: "success"}},
		{"hearsay", nhi.Event{Provider: "aws", Identity: "known", Asserted: true, Status: nhi.Success}, Key{Outcome: "success"}},
		{"a decision at a labelled resource", nhi.Event{Format: "decision", Resource: "labelled", Identity: "known", Outcome: nhi.Allow, Address: german},
			Key{Identity: "known", Environment: "production", Service: "payments", Region: "eu-west-1", Jurisdiction: "BANK-SECRECY", Basis: Exact, Outcome: "allow"}},
		{"a decision at a resource in a region", nhi.Event{Format: "decision", Resource: "regional", Identity: "known", Outcome: nhi.StepUp},
			Key{Identity: "known", Environment: "production", Service: "regional", Region: "us-east-1", Jurisdiction: "VCDPA", Basis: ByRegion, Outcome: "step-up"}},
		{"a decision at a resource without labels", nhi.Event{Format: "decision", Resource: "plain", Outcome: nhi.Deny, Address: german},
			Key{Service: "plain", Jurisdiction: "GDPR", Basis: ByAddress, Outcome: "deny"}},
		{"a decision at an invented resource", nhi.Event{Format: "decision", Resource: "x/1234"}, Key{Service: Other, Outcome: "deny"}},
	} {
		tt.ev.Time, tt.ev.Arrived = at, at
		tt.want.Start = at.Truncate(time.Hour)
		if got := counter.Key(&tt.ev); got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

func TestATimeThatCannotBeIsThatOfArrival(t *testing.T) {
	for _, when := range []time.Time{{}, at.AddDate(100, 0, 0), at.AddDate(-10, 0, 0)} {
		if got := counter.Key(&nhi.Event{Time: when, Arrived: at}).Start; !got.Equal(at.Truncate(time.Hour)) {
			t.Errorf("%v is counted at %v", when, got)
		}
	}
	if got := counter.Key(&nhi.Event{Time: at.Add(-48 * time.Hour), Arrived: at}).Start; !got.Equal(at.Add(-48 * time.Hour).Truncate(time.Hour)) {
		t.Errorf("a log of two days ago is counted at %v", got)
	}
}

func TestARefusalSaysWhoAndWhy(t *testing.T) {
	reason := func(p string) []nhi.Reason { return []nhi.Reason{{Policy: p}} }
	for _, tt := range []struct {
		name    string
		d       nhi.Decision
		kind    Kind
		id      nhi.ID
		claimed string
	}{
		{"nobody proven", nhi.Decision{KeyID: "k1", Reasons: reason("unknown-subject")}, FailedAuthentication, "", "k1"},
		{"asserted and in no inventory", nhi.Decision{Identity: "ghost", Asserted: true, Reasons: reason("unknown-subject")}, UnknownPrincipal, "", "ghost"},
		{"denied", nhi.Decision{Identity: "known", Outcome: nhi.Deny, Reasons: reason("risk-too-high")}, Denied, "known", ""},
		{"asserted and denied", nhi.Decision{Identity: "known", Asserted: true, Reasons: reason("risk-too-high")}, Denied, "", "known"},
		{"stepped up", nhi.Decision{Identity: "known", Outcome: nhi.StepUp}, SteppedUp, "known", ""},
	} {
		got, refused := counter.Refusal(&tt.d)
		if !refused || got.Kind != tt.kind || got.Identity != tt.id || got.Claimed != tt.claimed || got.Count != 1 {
			t.Errorf("%s: %+v, %t", tt.name, got, refused)
		}
	}
	if got, refused := counter.Refusal(&nhi.Decision{Outcome: nhi.Allow}); refused {
		t.Errorf("an allow is listed: %+v", got)
	}
}

func TestQuestionsThatCostTooMuchAreRefused(t *testing.T) {
	good := Query{From: at, To: at.Add(time.Hour), Bucket: time.Hour, By: Dimensions}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*Query){
		"no bucket": func(q *Query) { q.Bucket = time.Minute }, "backwards": func(q *Query) { q.To = q.From }, "ages": func(q *Query) { q.To = q.From.AddDate(5, 0, 0) },
		"unknown": func(q *Query) { q.By = []Dimension{"secret"} }, "twice": func(q *Query) { q.By = []Dimension{Region, Region} },
	} {
		q := good
		edit(&q)
		if err := q.Check(); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func FuzzWord(f *testing.F) {
	f.Add("plain")
	f.Add(strings.Repeat("ü", 200))
	f.Add("\x1b[31m\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := word(s)
		if len(got) > maxWord || !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\u202e\u2028\r\n") {
			t.Errorf("word(%q) = %q", s, got)
		}
	})
}
