package transmit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
)

// A shelf keeps streams and outboxes in memory.
type shelf struct {
	streams []signals.Stream
	box     map[string][]signals.Waiting
	all     int   // how often all were read
	full    error // of putting something into an outbox
}

func (s *shelf) Streams(context.Context) ([]signals.Stream, error) {
	s.all++
	out := append([]signals.Stream(nil), s.streams...)
	for i := range out {
		out[i].Waiting = len(s.box[out[i].ID])
	}
	return out, nil
}

func (s *shelf) Stream(_ context.Context, id string) (signals.Stream, error) {
	for _, v := range s.streams {
		if v.ID == id {
			return v, nil
		}
	}
	return signals.Stream{}, nhi.ErrNotFound
}

func (s *shelf) CreateStream(_ context.Context, v signals.Stream, _ int) error {
	s.streams = append(s.streams, v)
	return nil
}

func (s *shelf) UpdateStream(_ context.Context, id string, change func(*signals.Stream) error) (signals.Stream, error) {
	for i := range s.streams {
		if s.streams[i].ID == id {
			err := change(&s.streams[i])
			return s.streams[i], err
		}
	}
	return signals.Stream{}, nhi.ErrNotFound
}

func (s *shelf) DeleteStream(_ context.Context, id string) error {
	for i := range s.streams {
		if s.streams[i].ID == id {
			s.streams = append(s.streams[:i], s.streams[i+1:]...)
			break
		}
	}
	return nil
}

func (s *shelf) Exclude(context.Context, string, string, bool, int) error { return nil }

func (s *shelf) Excluded(context.Context, string, []string) (bool, error) { return false, nil }

func (s *shelf) Due(_ context.Context, stream string, limit int) ([]signals.Waiting, error) {
	return s.box[stream][:min(limit, len(s.box[stream]))], nil
}

func (s *shelf) Queue(_ context.Context, stream string, w signals.Waiting) error {
	if s.full == nil {
		s.box[stream] = append(s.box[stream], w)
	}
	return s.full
}

func (s *shelf) Settle(_ context.Context, stream string, ids []string) (settled int, _ error) {
	for _, id := range ids {
		for i, w := range s.box[stream] {
			if w.ID == id {
				s.box[stream] = append(s.box[stream][:i:i], s.box[stream][i+1:]...)
				settled++
				break
			}
		}
	}
	return settled, nil
}

func (s *shelf) Expire(_ context.Context, before time.Time) (map[string]int64, error) {
	lost := map[string]int64{}
	for i := range s.streams {
		v := &s.streams[i]
		var kept []signals.Waiting
		for _, w := range s.box[v.ID] {
			if w.At.Before(before) {
				v.Lost++
				lost[v.ID]++
			} else {
				kept = append(kept, w)
			}
		}
		s.box[v.ID] = kept
	}
	return lost, nil
}

// A bench is a transmitter whose receivers prove themselves by their names.
type bench struct {
	*Transmitter
	t     *testing.T
	shelf *shelf
	log   bytes.Buffer
	told  []string // ids of streams whose owners heard that they are stuck
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, shelf: &shelf{box: map[string][]signals.Waiting{}}}
	b.Transmitter = New(Config{
		Issuer: "https://muster.example.com", Streams: b.shelf, Outbox: b.shelf, Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		Authenticate: func(r *http.Request) (Receiver, error) { return Receiver{ID: nhi.ID(r.Header.Get("X-Test"))}, nil },
		Receivers:    func(context.Context) ([]Receiver, error) { return nil, nil },
		Sign:         func(claims []byte) (string, error) { return string(claims), nil },
		Seal:         func(v []byte) []byte { return v },
		Stuck:        func(_ context.Context, s signals.Stream) error { b.told = append(b.told, s.ID); return nil },
	})
	return b
}

// call sends JSON as a receiver.
func (b *bench) call(who, method, path string, body any) *httptest.ResponseRecorder {
	b.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Test", who)
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return w
}

// stream makes a stream in whose outbox n events wait, and returns their names.
func (b *bench) stream(who string, n int, at time.Time) (id string, waiting []string) {
	b.t.Helper()
	var made struct {
		ID string `json:"stream_id"`
	}
	if w := b.call(who, http.MethodPost, streamPath, map[string]any{}); w.Code != http.StatusCreated || json.Unmarshal(w.Body.Bytes(), &made) != nil {
		b.t.Fatalf("%d %s", w.Code, w.Body)
	}
	for range n {
		w := signals.Waiting{ID: uuid.NewString(), At: at, Claims: []byte("{}")}
		waiting = append(waiting, w.ID)
		if err := b.shelf.Queue(b.t.Context(), made.ID, w); err != nil {
			b.t.Fatal(err)
		}
	}
	return made.ID, waiting
}

type ask map[string]any

// The attack: a receiver acknowledges what is another's, what was never handed out
// and what is no name at all, so that others miss it, or the counters lie.
func TestAcknowledgingWhatIsNotThereChangesNothing(t *testing.T) {
	b := newBench(t)
	mine, own := b.stream("nhi_one", 3, time.Now())
	other, theirs := b.stream("nhi_other", 2, time.Now())
	made := append([]string{uuid.NewString(), "", "\x00", strings.Repeat("x", 5000), own[0] + " "}, theirs...)
	wrong := map[string]any{}
	for i := range 500 {
		wrong[uuid.NewString()] = map[string]string{"err": fmt.Sprintf("made-up-%d", i)}
	}
	for range 3 {
		if w := b.call("nhi_one", http.MethodPost, pollPath+mine, ask{"returnImmediately": true, "maxEvents": 0, "ack": made, "setErrs": wrong}); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got := len(b.shelf.box[mine]) + len(b.shelf.box[other]); got != 5 || b.Counts() != (Counts{}) || strings.Contains(b.log.String(), "made-up") {
		t.Errorf("%d of 5 events wait, the counters are %+v, the log is %q", got, b.Counts(), b.log.String())
	}
	if w := b.call("nhi_one", http.MethodPost, pollPath+mine, ask{"returnImmediately": true, "maxEvents": 0, "ack": append(made, own[0], own[0]), "setErrs": ask{own[1]: ask{"err": "jws"}}}); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if want := (Counts{Acknowledged: 1, Refused: 1}); b.Counts() != want || len(b.shelf.box[mine]) != 1 || len(b.shelf.box[other]) != 2 {
		t.Errorf("the counters are %+v, want %+v; %d and %d events wait", b.Counts(), want, len(b.shelf.box[mine]), len(b.shelf.box[other]))
	}
	if w := b.call("nhi_one", http.MethodPost, pollPath+mine, ask{"ack": make([]string, maxAcks+1)}); w.Code != http.StatusBadRequest {
		t.Errorf("more acknowledgements than may be: %d", w.Code)
	}
}

// The attack: a receiver asks as fast as it can, so that everybody's streams and all
// that waits in them are read and counted each time.
func TestAReceiverThatAsksWithoutPauseReadsNothingOfOthers(t *testing.T) {
	b := newBench(t)
	mine, _ := b.stream("nhi_one", 1, time.Now())
	for range 20 {
		b.stream("nhi_other", 1, time.Now())
	}
	b.shelf.all = 0
	for range 5 {
		for _, id := range []string{mine, "nobody's", "\x00", strings.Repeat("0", 32)} {
			want := http.StatusNotFound
			if id == mine {
				want = http.StatusOK
			}
			if w := b.call("nhi_one", http.MethodPost, pollPath+url.PathEscape(id), ask{"returnImmediately": true}); w.Code != want {
				t.Errorf("%q: %d %s", id, w.Code, w.Body)
			}
			if w := b.call("nhi_one", http.MethodPost, statusPath, ask{"stream_id": id, "status": "enabled"}); w.Code != want {
				t.Errorf("%q: %d %s", id, w.Code, w.Body)
			}
		}
	}
	if b.shelf.all != 0 {
		t.Errorf("all streams were read %d times", b.shelf.all)
	}
}

// lose notes that a stream lost events, without anybody having heard of it.
func (b *bench) lose(id string, n int64, status string) {
	b.t.Helper()
	if _, err := b.shelf.UpdateStream(b.t.Context(), id, func(s *signals.Stream) error { s.Lost, s.Status = n, status; return nil }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) kept(id string) signals.Stream {
	b.t.Helper()
	s, err := b.shelf.Stream(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// handed is what a poll hands out, and acknowledges.
func (b *bench) handed(who, id string, ack ...string) (out map[string]string) {
	b.t.Helper()
	var got struct{ Sets map[string]string }
	if w := b.call(who, http.MethodPost, pollPath+id, ask{"returnImmediately": true, "ack": ack}); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &got) != nil {
		b.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return got.Sets
}

// A receiver that never polls fails at nothing, so nobody would notice that it
// misses what is dropped. But one event that nobody acknowledges must not stop all
// later ones.
func TestWhatNobodyTakesForAWeekIsNotDroppedInSilence(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	old, _ := b.stream("nhi_one", 3, now.Add(-8*24*time.Hour))
	young, _ := b.stream("nhi_two", 1, now.Add(-6*24*time.Hour))
	if err := b.expire(t.Context(), now.Add(-week)); err != nil {
		t.Fatal(err)
	}
	if len(b.told) != 1 || b.told[0] != old || b.Counts().Lost != 3 || len(b.shelf.box[young]) != 1 {
		t.Errorf("told of %q, the counters are %+v, %d wait for the other", b.told, b.Counts(), len(b.shelf.box[young]))
	}
	for range 3 { // who takes nothing is not buried in confessions either, which would be lost themselves
		if err := b.expire(t.Context(), now.Add(-week)); err != nil || len(b.told) != 1 {
			t.Errorf("told again of %q, %v", b.told, err)
		}
	}
	if got := b.kept(old); got.Status != signals.Enabled || got.Lost != 3 || len(b.shelf.box[old]) != 0 {
		t.Errorf("the stream is %+v, %d wait", got, len(b.shelf.box[old]))
	}
	got := b.handed("nhi_one", old)
	for id, set := range got {
		if !strings.Contains(set, "3 events were lost") || strings.Contains(set, "had paused") {
			t.Errorf("the receiver is told %s", set)
		}
		if again := b.handed("nhi_one", old, id); len(again) != 0 {
			t.Errorf("then it is told %q", again)
		}
	}
	if s := b.kept(old); len(got) != 1 || s.Lost != 0 || b.Counts().Lost != 3 {
		t.Errorf("handed out %q; the stream is %+v, the counters %+v", got, s, b.Counts())
	}
}

// A stream that lost something once and works must go on after a start, also after
// one of a version that paused none.
func TestAStartStopsNoStreamThatWorks(t *testing.T) {
	b := newBench(t)
	works, waiting := b.stream("nhi_one", 1, time.Now())
	full, _ := b.stream("nhi_two", held, time.Now())
	b.lose(works, 2, signals.Enabled)
	b.lose(full, 2, signals.Enabled)
	if err := b.recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.kept(works); got.Status != signals.Enabled {
		t.Errorf("a stream that works is %+v", got)
	}
	if got := b.kept(full); got.Status != signals.Paused || len(b.told) != 1 || b.told[0] != full {
		t.Errorf("a full stream is %+v, told of %q", got, b.told)
	}
	if got := b.handed("nhi_one", works); len(got) != 2 || got[waiting[0]] == "" {
		t.Errorf("handed out %q", got)
	}
	if got := b.handed("nhi_one", works, waiting...); len(got) != 1 || !strings.Contains(fmt.Sprint(got), "2 events were lost") {
		t.Errorf("then %q", got)
	}
}

// What was lost is confessed to a receiver that is pushed to once it takes what
// waits, and also when nothing does.
func TestAReceiverThatIsPushedToLearnsWhatItMissed(t *testing.T) {
	b := newBench(t)
	id, _ := b.stream("nhi_one", 0, time.Time{})
	b.lose(id, 2, signals.Enabled)
	if _, err := b.shelf.UpdateStream(t.Context(), id, func(s *signals.Stream) error {
		s.Method, s.Endpoint = signals.Push, "https://siem.example.com/in"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	b.c.Receivers = func(context.Context) ([]Receiver, error) { return []Receiver{{ID: "nhi_one"}}, nil }
	siem := &siem{status: http.StatusServiceUnavailable}
	b.client = &http.Client{Transport: siem}
	turn := func() {
		t.Helper()
		var running sync.WaitGroup
		b.retry(id)
		if err := b.push(t.Context(), &running); err != nil {
			t.Fatal(err)
		}
		running.Wait()
	}
	first := signals.Waiting{ID: uuid.NewString(), At: time.Now(), Claims: []byte(`"first"`)}
	if err := b.shelf.Queue(t.Context(), id, first); err != nil {
		t.Fatal(err)
	}
	if turn(); b.kept(id).Lost != 2 || len(b.shelf.box[id]) != 1 {
		t.Errorf("it takes nothing, and %d wait", len(b.shelf.box[id]))
	}
	siem.status = http.StatusAccepted
	turn()
	turn()
	if got := siem.took; len(got) != 2 || got[0] != `"first"` || !strings.Contains(got[1], "2 events were lost") {
		t.Errorf("it took %q", got)
	}
	b.lose(id, 5, signals.Enabled) // while nothing waits
	for range 3 {
		turn()
	}
	if got := siem.took; len(got) != 3 || !strings.Contains(got[2], "5 events were lost") || b.kept(id).Lost != 0 {
		t.Errorf("it took %q", got)
	}
}

// A siem answers pushes, and keeps what it accepted.
type siem struct {
	status int
	took   []string
}

func (s *siem) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if s.status == http.StatusAccepted {
		s.took = append(s.took, string(body))
	}
	return &http.Response{StatusCode: s.status, Header: http.Header{}, Body: http.NoBody, Request: r}, err
}

// Each event that is dropped counts once: in a stream that is paused as well, and
// not again because its receiver could not be told yet.
func TestEachEventThatIsDroppedCountsOnce(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	for i, status := range []string{signals.Paused, signals.Enabled} {
		id, _ := b.stream(fmt.Sprint("nhi_", i), 3, now.Add(-8*24*time.Hour))
		b.lose(id, 4, status) // counted long ago
	}
	unsaid, _ := b.stream("nhi_one", 1, now)
	b.lose(unsaid, 7, signals.Paused)
	b.shelf.full = errors.New("the disk is full")
	if w := b.call("nhi_one", http.MethodPost, statusPath, ask{"stream_id": unsaid, "status": "enabled"}); w.Code < 500 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	b.shelf.full = nil
	for range 3 {
		if err := b.expire(t.Context(), now.Add(-week)); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Counts().Lost; got != 6 {
		t.Errorf("%d events are counted as lost, want 6", got)
	}
	if got := b.kept(unsaid); got.Status != signals.Enabled || got.Lost != 7 || len(b.told) != 1 {
		t.Errorf("the stream whose receiver could not be told is %+v, told of %q", got, b.told)
	}
	if got := b.handed("nhi_one", unsaid); !strings.Contains(fmt.Sprint(got), "7 events were lost") {
		t.Errorf("it is handed out %q", got)
	}
}

// A receiver that makes, changes and deletes streams without end must not fill our
// memory with how pushes to them went.
func TestStreamsThatAreGoneLeaveNothingBehind(t *testing.T) {
	b := newBench(t)
	there, _ := b.stream("nhi_two", 0, time.Time{})
	b.release(there, errors.New("the receiver answers 503"))
	for range 50 {
		id, _ := b.stream("nhi_one", 0, time.Time{})
		if w := b.call("nhi_one", http.MethodPatch, streamPath, ask{"stream_id": id, "description": "x"}); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w := b.call("nhi_one", http.MethodDelete, streamPath+"?stream_id="+id, nil); w.Code != http.StatusNoContent {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if err := b.push(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(b.tries); n != 1 || b.tries[there].pause != firstPause {
		t.Errorf("%d streams are remembered, the one that is there with %+v", n, b.tries[there])
	}
}
