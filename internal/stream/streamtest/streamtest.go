// Package streamtest is the conformance kit of streams: what every
// implementation of stream.Stream promises, as tests. An implementation
// calls Run, and RunDurable if it survives being closed.
package streamtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/stream"
)

// Run tests the promises of one life. open returns an empty stream; the kit
// closes it.
func Run(t *testing.T, open func(t *testing.T, set stream.Settings) stream.Stream) {
	k := kit{open: func(t *testing.T, set stream.Settings) stream.Stream {
		s := open(t, set)
		t.Cleanup(func() { s.Close() })
		return s
	}}
	t.Run("messages arrive in order and whole", k.order)
	t.Run("a consumer resumes behind what it applied", k.resume)
	t.Run("a consumer waits for messages to come", k.live)
	t.Run("a consumer gets the subjects it asked for", k.subjects)
	t.Run("consumers do not disturb each other", k.independent)
	t.Run("an id is stored once per subject", k.dedup)
	t.Run("an error stops the consumer and the message comes again", k.failure)
	t.Run("an ended context ends a consumer without error", k.cancel)
	t.Run("concurrent publishers lose nothing", k.concurrent)
	t.Run("the last number of a subject is known", k.last)
	t.Run("a stream has an origin of its own", k.origin)
	t.Run("messages that left are reported, not skipped", k.gone)
	t.Run("a consumer overtaken by retention is told", k.overtaken)
	t.Run("a slow consumer gets everything in order", k.slow)
	t.Run("bad input is refused", k.refuse)
	t.Run("a closed stream says so", k.closed)
}

// RunDurable tests that a stream opened again on the same folder goes on
// where it was.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) stream.Stream) {
	dir, origin := t.TempDir(), ""
	for life := range 4 { // closed at a different fill each time
		s := open(t, dir)
		switch now, err := s.Origin(t.Context()); {
		case err != nil:
			t.Fatal(err)
		case origin == "":
			origin = now
		case now != origin:
			t.Errorf("life %d: the origin is %q, was %q", life, now, origin)
		}
		before := life * (life + 1) / 2
		got := collect(t, s, stream.Consumer{}, before)
		for i, m := range got {
			if want := fmt.Sprint("message ", i+1); string(m.Payload) != want || m.Seq != uint64(i+1) {
				t.Errorf("life %d: message %d is %q with number %d", life, i+1, m.Payload, m.Seq)
			}
		}
		for i := range before { // a publisher unsure of its last life repeats
			publish(t, s, stream.Change, fmt.Sprint("id ", i+1), "repeated", uint64(i+1), true)
		}
		for i := before; i < before+life+1; i++ {
			publish(t, s, stream.Change, fmt.Sprint("id ", i+1), fmt.Sprint("message ", i+1), uint64(i+1), false)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type kit struct {
	open func(t *testing.T, set stream.Settings) stream.Stream
}

// patience bounds what a correct stream does at once.
const patience = 20 * time.Second

var errEnough = errors.New("enough")

// publish publishes and checks the answer; seq 0 checks nothing.
func publish(t *testing.T, s stream.Stream, subject, id, payload string, seq uint64, duplicate bool) uint64 {
	t.Helper()
	got, dup, err := s.Publish(t.Context(), subject, id, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	if seq > 0 && (got != seq || dup != duplicate) {
		t.Errorf("Publish(%s, %q) = %d, %t, want %d, %t", subject, id, got, dup, seq, duplicate)
	}
	return got
}

// collect consumes n messages.
func collect(t *testing.T, s stream.Stream, c stream.Consumer, n int) []stream.Message {
	t.Helper()
	if n == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []stream.Message
	err := s.Consume(ctx, c, func(_ context.Context, m stream.Message) error {
		if got = append(got, m); len(got) == n {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("Consume gave %d of %d messages, then %v", len(got), n, err)
	}
	return got
}

func payloads(messages []stream.Message) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Payload))
	}
	return all
}

func (k kit) order(t *testing.T) {
	s := k.open(t, stream.Settings{})
	start := time.Now().Add(-time.Second)
	big := strings.Repeat("x", stream.MaxPayload)
	publish(t, s, stream.ActivityBatch, "batch/1 of source:a", "one", 1, false)
	publish(t, s, stream.Change, "", "", 2, false)
	publish(t, s, stream.Finding, "2", big, 3, false)
	got := collect(t, s, stream.Consumer{}, 3)
	for i := range got {
		if at := got[i].At; at.Before(start) || at.After(time.Now().Add(time.Second)) || at.Location() != time.UTC {
			t.Errorf("message %d is of %v", i+1, at)
		}
		got[i].At = time.Time{}
		if len(got[i].Payload) == 0 {
			got[i].Payload = nil
		}
	}
	// Too long for a readable difference.
	if string(got[2].Payload) != big {
		t.Errorf("the largest payload came back as %d other bytes", len(got[2].Payload))
	}
	got[2].Payload = nil
	want := []stream.Message{
		{Subject: stream.ActivityBatch, ID: "batch/1 of source:a", Seq: 1, Version: stream.Version, Payload: []byte("one")},
		{Subject: stream.Change, Seq: 2, Version: stream.Version},
		{Subject: stream.Finding, ID: "2", Seq: 3, Version: stream.Version},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (k kit) resume(t *testing.T) {
	s := k.open(t, stream.Settings{})
	for i := range 10 {
		publish(t, s, stream.Change, "", fmt.Sprint(i+1), 0, false)
	}
	var got []string
	after := uint64(0)
	for range 5 {
		two := collect(t, s, stream.Consumer{After: after}, 2)
		got = append(got, payloads(two)...)
		after = two[1].Seq
	}
	want := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (k kit) live(t *testing.T) {
	s := k.open(t, stream.Settings{})
	got := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		_ = s.Consume(ctx, stream.Consumer{}, func(ctx context.Context, m stream.Message) error {
			select {
			case got <- string(m.Payload):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for i := range 5 {
		want := fmt.Sprint("message ", i)
		publish(t, s, stream.Change, "", want, 0, false)
		select {
		case p := <-got:
			if p != want {
				t.Errorf("got %q, want %q", p, want)
			}
		case <-time.After(patience):
			t.Fatal("the message did not come")
		}
	}
}

func (k kit) subjects(t *testing.T) {
	s := k.open(t, stream.Settings{})
	for _, subject := range []string{"activity", "activity.batch", "activities.x", "change", "activity.a.b", "finding", "change"} {
		publish(t, s, subject, "", subject, 0, false)
	}
	for _, tt := range []struct {
		subjects []string
		want     []string
	}{
		{nil, []string{"activity", "activity.batch", "activities.x", "change", "activity.a.b", "finding", "change"}},
		{[]string{"change"}, []string{"change", "change"}},
		{[]string{"activity.>"}, []string{"activity.batch", "activity.a.b"}},
		{[]string{"finding", "activity.batch"}, []string{"activity.batch", "finding"}},
		{[]string{">"}, []string{"activity", "activity.batch", "activities.x", "change", "activity.a.b", "finding", "change"}},
	} {
		got := payloads(collect(t, s, stream.Consumer{Subjects: tt.subjects}, len(tt.want)))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.subjects, diff)
		}
	}
}

func (k kit) independent(t *testing.T) {
	s := k.open(t, stream.Settings{})
	var wg sync.WaitGroup
	results := make([][]stream.Message, 4)
	for i := range results {
		wg.Go(func() { results[i] = collect(t, s, stream.Consumer{}, 50) })
	}
	for i := range 50 {
		publish(t, s, stream.Change, "", fmt.Sprint(i), 0, false)
	}
	wg.Wait()
	for i := range results {
		if diff := cmp.Diff(results[0], results[i]); diff != "" {
			t.Errorf("consumers 0 and %d differ:\n%s", i, diff)
		}
	}
}

func (k kit) dedup(t *testing.T) {
	s := k.open(t, stream.Settings{})
	publish(t, s, stream.Change, "a", "first", 1, false)
	publish(t, s, stream.Change, "a", "again", 1, true)
	publish(t, s, stream.Finding, "a", "another subject", 2, false)
	publish(t, s, stream.Change, "", "no id", 3, false)
	publish(t, s, stream.Change, "", "no id", 4, false)
	publish(t, s, stream.Change, "a", "again", 1, true)
	got := payloads(collect(t, s, stream.Consumer{}, 4))
	if diff := cmp.Diff([]string{"first", "another subject", "no id", "no id"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (k kit) failure(t *testing.T) {
	s := k.open(t, stream.Settings{})
	for i := range 3 {
		publish(t, s, stream.Change, "", fmt.Sprint(i+1), 0, false)
	}
	broken := errors.New("database is away")
	calls := 0
	err := s.Consume(t.Context(), stream.Consumer{After: 1}, func(context.Context, stream.Message) error {
		calls++
		return broken
	})
	if !errors.Is(err, broken) || calls != 1 {
		t.Errorf("Consume = %v after %d calls, want the handler's error after one", err, calls)
	}
	if got := payloads(collect(t, s, stream.Consumer{After: 1}, 2)); got[0] != "2" {
		t.Errorf("afterwards %q, want the same message again", got)
	}
}

func (k kit) cancel(t *testing.T) {
	s := k.open(t, stream.Settings{})
	publish(t, s, stream.Change, "", "one", 0, false)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	err := s.Consume(ctx, stream.Consumer{}, func(context.Context, stream.Message) error {
		seen++
		cancel()
		return nil
	})
	if err != nil || seen != 1 {
		t.Errorf("Consume = %v after %d messages, want nil after one", err, seen)
	}
	if err := s.Consume(ctx, stream.Consumer{}, nil); err != nil {
		t.Errorf("Consume with an ended context = %v, want nil", err)
	}
	if _, _, err := s.Publish(ctx, stream.Change, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish with an ended context = %v", err)
	}
}

func (k kit) concurrent(t *testing.T) {
	s := k.open(t, stream.Settings{})
	const publishers, each = 8, 25
	var mu sync.Mutex
	numbers := map[uint64]string{}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				payload := fmt.Sprint(p, "-", i)
				seq, _, err := s.Publish(t.Context(), stream.Change, payload, []byte(payload))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				numbers[seq] = payload
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, m := range collect(t, s, stream.Consumer{}, publishers*each) {
		if m.Seq != uint64(i+1) || numbers[m.Seq] != string(m.Payload) {
			t.Fatalf("message %d is %q with number %d, its publisher was told %q", i+1, m.Payload, m.Seq, numbers[m.Seq])
		}
	}
}

func (k kit) last(t *testing.T) {
	s := k.open(t, stream.Settings{})
	for i, subject := range []string{"change", "finding", "change", "activity.batch"} {
		publish(t, s, subject, "", "", uint64(i+1), false)
	}
	for subject, want := range map[string]uint64{"": 4, "change": 3, "finding": 2, "activity.batch": 4, "activity": 0} {
		if got, err := s.LastSeq(t.Context(), subject); err != nil || got != want {
			t.Errorf("LastSeq(%q) = %d, %v, want %d", subject, got, err, want)
		}
	}
}

func (k kit) origin(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		origin, err := k.open(t, stream.Settings{}).Origin(t.Context())
		if err != nil || origin == "" || seen[origin] {
			t.Errorf("Origin = %q, %v, want one of its own", origin, err)
		}
		seen[origin] = true
	}
}

// small is settings that keep about two of the messages below.
var small = stream.Settings{MaxBytes: 2500 << 10}

func fill(t *testing.T, s stream.Stream, n int) {
	t.Helper()
	for range n {
		publish(t, s, stream.ActivityBatch, "", strings.Repeat("x", 1<<20), 0, false)
	}
}

func (k kit) gone(t *testing.T) {
	s := k.open(t, small)
	fill(t, s, 6)
	oldest := collect(t, s, stream.Consumer{}, 1)[0].Seq
	if oldest <= 2 || oldest > 6 {
		t.Fatalf("the oldest kept is %d, want most of 6 gone", oldest)
	}
	err := s.Consume(t.Context(), stream.Consumer{After: 1}, func(context.Context, stream.Message) error { return errEnough })
	if !errors.Is(err, stream.ErrGone) {
		t.Errorf("Consume behind what is gone = %v, want ErrGone", err)
	}
	var upTo uint64
	got := collect(t, s, stream.Consumer{After: 1, Gone: func(n uint64) { upTo = n }}, 1)
	if upTo != oldest-1 || got[0].Seq != oldest {
		t.Errorf("Gone was told %d, then came %d, want %d and %d", upTo, got[0].Seq, oldest-1, oldest)
	}
	if got := collect(t, s, stream.Consumer{After: oldest - 1}, 1); got[0].Seq != oldest {
		t.Errorf("with nothing lost came %d, want %d", got[0].Seq, oldest)
	}
}

func (k kit) overtaken(t *testing.T) {
	s := k.open(t, small)
	fill(t, s, 1)
	told := false
	last := uint64(0)
	err := s.Consume(t.Context(), stream.Consumer{Gone: func(uint64) { told = true }}, func(_ context.Context, m stream.Message) error {
		if last > 0 && m.Seq != last+1 && !told {
			return fmt.Errorf("message %d follows %d without a word", m.Seq, last)
		}
		if last == 0 {
			fill(t, s, 9) // while this one is being applied
		}
		if last = m.Seq; last == 10 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("Consume = %v", err)
	}
}

// slow publishes more than any buffer holds while the consumer stands still.
func (k kit) slow(t *testing.T) {
	s := k.open(t, stream.Settings{})
	const n = 40
	publish(t, s, stream.ActivityBatch, "", "0", 1, false)
	next := uint64(1)
	err := s.Consume(t.Context(), stream.Consumer{}, func(_ context.Context, m stream.Message) error {
		if m.Seq != next {
			return fmt.Errorf("message %d came, want %d", m.Seq, next)
		}
		if next == 1 {
			fill(t, s, n)
		}
		if next++; next > n+1 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("Consume = %v", err)
	}
}

func (k kit) refuse(t *testing.T) {
	s := k.open(t, stream.Settings{})
	for _, tt := range []struct {
		subject, id string
		size        int
		want        error
	}{
		{"", "", 1, nhi.ErrInvalid},
		{"change.", "", 1, nhi.ErrInvalid},
		{"change.*", "", 1, nhi.ErrInvalid},
		{"change.>", "", 1, nhi.ErrInvalid},
		{"Change", "", 1, nhi.ErrInvalid},
		{strings.Repeat("x", stream.MaxSubject+1), "", 1, nhi.ErrInvalid},
		{"change", "two\r\nlines: x", 1, nhi.ErrInvalid},
		{"change", " space", 1, nhi.ErrInvalid},
		{"change", strings.Repeat("x", stream.MaxID+1), 1, nhi.ErrInvalid},
		{"change", "", stream.MaxPayload + 1, nhi.ErrTooLarge},
	} {
		if _, _, err := s.Publish(t.Context(), tt.subject, tt.id, make([]byte, tt.size)); !errors.Is(err, tt.want) {
			t.Errorf("Publish(%.20q, %.20q, %d bytes) = %v, want %v", tt.subject, tt.id, tt.size, err, tt.want)
		}
	}
	for _, subject := range []string{"", "*", "a.*.b", ">.a", "a>"} {
		c := stream.Consumer{Subjects: []string{subject}}
		if err := s.Consume(t.Context(), c, nil); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("Consume of %q = %v, want ErrInvalid", subject, err)
		}
	}
	if n, err := s.LastSeq(t.Context(), ""); err != nil || n != 0 {
		t.Errorf("LastSeq = %d, %v, want nothing stored", n, err)
	}
}

func (k kit) closed(t *testing.T) {
	s := k.open(t, stream.Settings{})
	publish(t, s, stream.Change, "", "one", 0, false)
	started := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- s.Consume(context.WithoutCancel(t.Context()), stream.Consumer{}, func(context.Context, stream.Message) error {
			close(started)
			return nil
		})
	}()
	<-started
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, stream.ErrClosed) {
			t.Errorf("Consume on Close = %v, want ErrClosed", err)
		}
	case <-time.After(patience):
		t.Error("Consume goes on after Close")
	}
	if _, _, err := s.Publish(t.Context(), stream.Change, "", nil); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Publish = %v, want ErrClosed", err)
	}
	if err := s.Consume(t.Context(), stream.Consumer{}, nil); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Consume = %v, want ErrClosed", err)
	}
	if _, err := s.LastSeq(t.Context(), ""); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("LastSeq = %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}
