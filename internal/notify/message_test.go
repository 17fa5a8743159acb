package notify

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

func TestANoticeOfAnEarlierReleaseIsStillReadable(t *testing.T) {
	m, err := Words(nhi.Notice{Topic: TopicUndone, Data: []byte(`{"action":"act-1","by":"person:7","reason":"a drill"}`)}, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Fact{{"Why", "a drill"}, {"What was done", "action act-1 was undone by person:7"}, {"When", "0001-01-01 00:00:00 UTC"}}
	if diff := cmp.Diff(want, m.Facts); diff != "" || m.Title != TopicUndone || m.Link != "" {
		t.Errorf("%+v (-want +got):\n%s", m, diff)
	}
}

func TestAProposalSaysHowToApproveIt(t *testing.T) {
	m, err := Words(nhi.Notice{Topic: "finding.created", Data: []byte(`{"identity":"nhi_a","action":{"id":"act-1","measure":"suspend","status":"proposed"}}`)}, "https://m.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Facts[1]; got.Label != "What was done" || !strings.Contains(got.Value, "muster action approve act-1") || m.Link != "https://m.example/identities/nhi_a" {
		t.Errorf("%+v", m)
	}
}

func TestATextIsPlainAndBounded(t *testing.T) {
	for in, want := range map[string]string{
		"settlement": "settlement", "\x1b[2J": `\x1b[2J`, "\u202egnp.exe": `\u202egnp.exe`, "p\u0430ypal": `p\u0430ypal`, "ζήτα": "ζήτα", "отчёт v2": "отчёт v2",
		"https://evil.example": "https[:]//evil.example", "www.evil.example": "www[.]evil.example", "mailto:a@b.c": "mailto[:]a@b.c", strings.Repeat("ä", 50): strings.Repeat("ä", 39) + "…",
	} {
		if got := Text(in, 40); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("x", []byte(`{"title":"t","place":{"name":"\u202e"},"action":{"id":"a","status":"done"}}`))
	f.Add("\xff", []byte(`{"action":"a"}`))
	f.Add("", []byte(`{"action":7}`))
	f.Fuzz(func(t *testing.T, topic string, data []byte) {
		m, err := Words(nhi.Notice{Topic: topic, Severity: nhi.Severity(topic), Data: data}, "https://m.example")
		if err != nil {
			return
		}
		texts := map[string]int{m.Title: titleLimit, m.Sentence: sentenceLimit, m.Name: nameLimit, m.Severity: 20}
		for _, fact := range m.Facts {
			texts[fact.Value] = max(texts[fact.Value], valueLimit)
		}
		for text, limit := range texts {
			hidden := func(r rune) bool { return !unicode.IsPrint(r) }
			if utf8.RuneCountInString(text) > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, hidden) || strings.Contains(text, "://") {
				t.Errorf("%q", text)
			}
		}
		if len(m.Facts) > 10 || !strings.HasPrefix(m.Link, "https://m.example/") || len(m.Link) > 3000 {
			t.Errorf("%d facts, link %q", len(m.Facts), m.Link)
		}
		if a, ok := m.OwnerAddress([]string{"kestrel.example"}); ok && (!strings.HasSuffix(a, "@kestrel.example") || strings.ContainsAny(a, " \r\n<>,;:\"")) {
			t.Errorf("owner %q", a)
		}
	})
}

// limited asks for a pause once.
type limited struct{ sent []time.Time }

func (l *limited) Name() string { return "limited" }
func (l *limited) Send(context.Context, nhi.Notice) error {
	l.sent = append(l.sent, time.Now())
	if len(l.sent) == 1 {
		return &Later{After: time.Minute, Err: errors.New("too many")}
	}
	return nil
}

// queue is an outbox with two notices.
type queue struct {
	box
	due  map[string]time.Time
	done int
}

func (q *queue) Due(_ context.Context, _ string, at time.Time, _ int) (out []Waiting, _ error) {
	for _, id := range []string{"a", "b"} {
		if due, ok := q.due[id]; ok && !due.After(at) {
			out = append(out, Waiting{Notice: nhi.Notice{ID: id, Severity: nhi.High}})
		}
	}
	return out, nil
}

func (q *queue) Settle(_ context.Context, _ string, s Settled) error {
	q.due[s.Notice] = s.Due
	if s.Status == StatusDone {
		q.done++
		delete(q.due, s.Notice)
	}
	return nil
}

func TestNothingIsSentUntilAReceiverWantsToBeAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		l, q := &limited{}, &queue{due: map[string]time.Time{"a": {}, "b": {}}}
		r := NewRouter(q, []Route{{Channel: l}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(l.sent) != 3 || l.sent[1].Sub(begin) < time.Minute || q.done != 2 {
			t.Errorf("sent at %v, %d done, want the second a minute after %v", l.sent, q.done, begin)
		}
		if s := r.States(); len(s) != 1 || s[0].Sent != 2 || s[0].Error != "" || !s[0].Failing.IsZero() {
			t.Errorf("states %+v", s)
		}
	})
}

func TestTheStateOfAChannelTellsSinceWhenItFails(t *testing.T) {
	r := NewRouter(&box{}, []Route{{Channel: &flaky{fail: 2}, Least: nhi.High}})
	for range 2 {
		if err := r.Test(t.Context(), "flaky", "person:1"); err == nil {
			t.Error("a test of a receiver that fails is good")
		}
	}
	s := r.States()[0]
	if s.Channel != "flaky" || s.Least != nhi.High || s.Failing.IsZero() || s.Error != "no answer" || s.Sent != 0 {
		t.Errorf("state %+v", s)
	}
	if err := r.Test(t.Context(), "flaky", "person:1"); err != nil {
		t.Error(err)
	}
	if s = r.States()[0]; !s.Failing.IsZero() || s.Sent != 1 || s.Error != "" {
		t.Errorf("state %+v after it works again", s)
	}
	r.Replace(nil)
	if s := r.States(); len(s) != 0 {
		t.Errorf("a channel that is not configured any more has a state: %+v", s)
	}
}

func TestATestNoticeSaysWhoAskedForIt(t *testing.T) {
	n := trial("person:\u202e7", time.Unix(1, 0))
	m, err := Words(n, "https://m.example")
	if err != nil || !json.Valid(n.Data) {
		t.Fatal(err, n)
	}
	if m.Facts[0] != (Fact{"Why", `asked for by person:\u202e7`}) || m.Link != "https://m.example/" {
		t.Errorf("%+v", m)
	}
}
