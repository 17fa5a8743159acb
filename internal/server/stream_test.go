package server

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
)

// A listener reads a live stream.
type listener struct {
	t      *testing.T
	cancel context.CancelFunc
	events chan client.Event // closed when the stream ends
}

func (r *running) listen(query, lastID string) *listener {
	r.t.Helper()
	token, err := os.ReadFile(filepath.Join(r.data, "admin.token"))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL()+"/v1/stream"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("stream: %s", res.Status)
	}
	l := &listener{t: r.t, cancel: cancel, events: make(chan client.Event, 1000)}
	go func() {
		defer res.Body.Close()
		defer close(l.events)
		var e client.Event
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				e.Name = value
			case "id":
				e.ID = value
			case "data":
				e.Data = []byte(value)
			case "":
				l.events <- e
				e = client.Event{}
			}
		}
	}()
	return l
}

// next returns the next event with a name, passing over others.
func (l *listener) next(name string) client.Event {
	l.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				l.t.Fatalf("the stream ended before %s", name)
			}
			if e.Name == name {
				return e
			}
		case <-limit:
			l.t.Fatalf("no %s arrived", name)
		}
	}
}

func TestAReaderThatComesBackMissesNoFinding(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	door := r.source("forum", "text")
	first := r.listen("?topics=decision,finding,action", "")
	hello := first.next("hello")
	if hello.ID == "" {
		t.Fatal("the greeting has no place to go on from")
	}
	r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7")
	if d := first.next("decision"); d.ID != "" || !strings.Contains(string(d.Data), cred.ID) {
		t.Errorf("decision %+v", d)
	}
	first.cancel() // cut off before any finding
	r.post(door, "forged "+forge(t, cred.Key))
	reply := r.post(door, "oops "+cred.Key)
	second := r.listen("?topics=finding,action", hello.ID)
	var seen []string
	for range 2 {
		f := second.next("finding")
		seen = append(seen, string(f.Data))
	}
	all := strings.Join(seen, "\n")
	if !strings.Contains(all, "LEAK-03") || !strings.Contains(all, "LEAK-01") {
		t.Errorf("findings after coming back: %s", all)
	}
	a := second.next("action")
	if !strings.Contains(string(a.Data), reply[0].Action.ID) {
		t.Errorf("action %s", a.Data)
	}
	second.cancel()
	// From behind the action there is nothing old left.
	third := r.listen("?topics=action", a.ID)
	third.next("hello")
	if got, _ := r.act(reply[0].Action.ID, "undo"); got != http.StatusOK {
		t.Fatalf("undo: %d", got)
	}
	if e := third.next("action"); !strings.Contains(string(e.Data), `"undone"`) {
		t.Errorf("the first event behind %s is %s", a.ID, e.Data)
	}
	req, err := http.NewRequest(http.MethodGet, r.URL()+"/v1/stream?topics=secrets", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := do(t, req); got != http.StatusUnauthorized {
		t.Errorf("a stream for nobody: %d", got)
	}
}

func TestAnOpenStreamDoesNotHoldUpTheStop(t *testing.T) {
	r := start(t, t.TempDir())
	var open []*listener
	for range 3 {
		l := r.listen("", "")
		l.next("hello")
		open = append(open, l)
	}
	began := time.Now()
	r.halt()
	if took := time.Since(began); took > shutdown/2 {
		t.Errorf("the stop took %v with streams open", took)
	}
	for _, l := range open {
		for range l.events { // ends, or the test hangs
		}
	}
	if r.health.Report(t.Context()).Ready {
		t.Error("readiness does not know of the stop")
	}
}

func TestManySendersAtOnceDoNotDisturbEachOther(t *testing.T) {
	r := start(t, t.TempDir())
	const senders, each = 6, 40
	var all sync.WaitGroup
	for s := range senders {
		logs := r.source(fmt.Sprint("trail-", s), "cloudtrail", account)
		all.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", s, i)
				got, err := logs.ReceiveLogs(context.Background(), "cloudtrail", trail(event{id: id, user: fmt.Sprint("u", s)}))
				if err != nil || got.Events != 1 || got.Duplicate {
					t.Errorf("sender %d: %+v, %v", s, got, err)
				}
			}
		})
	}
	all.Wait()
	r.until("all events to be learned", func() bool { return r.mind().Stats().Learned+r.mind().Stats().Quarantined == senders*each })
}
