package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxEvent bounds one event of a live stream, in bytes.
const maxEvent = 4 << 20

// The names of events. What is not decision, finding, action or approval
// tells of the stream itself.
const (
	EventHello     = "hello"     // the stream begins
	EventReset     = "reset"     // what happened since the cursor is no longer kept: read the lists again
	EventHeartbeat = "heartbeat" // nothing happened for 15 seconds
	EventDropped   = "dropped"   // decisions that were not shown; Data counts them
	EventDecision  = "decision"  // Data is a Decision
	EventFinding   = "finding"   // Data is a Finding
	EventAction    = "action"    // Data is an Action
	EventApproval  = "approval"  // Data is an Approval
)

// An Event is one message of the live stream.
type Event struct {
	Name string
	ID   string // the cursor behind it; empty: that of the event before
	Data json.RawMessage
}

// A StreamQuery says what of the live stream is wanted. The zero value is
// everything from now on.
type StreamQuery struct {
	Topics []string // decision, finding, action, approval; none means all
	Filter string   // of the list of decisions; narrows decisions only
	Rate   int      // decisions shown a second, up to 500; 0: 50
	After  string   // cursor: ID of the last event that was seen
}

func (q StreamQuery) path() string {
	v := url.Values{}
	if len(q.Topics) > 0 {
		v.Set("topics", strings.Join(q.Topics, ","))
	}
	if q.Filter != "" {
		v.Set("filter", q.Filter)
	}
	if q.Rate != 0 {
		v.Set("rate", strconv.Itoa(q.Rate))
	}
	if len(v) == 0 {
		return "/v1/stream"
	}
	return "/v1/stream?" + v.Encode()
}

// Stream calls each for every event as it happens, one at a time, until ctx
// ends, each returns an error or the server goes away. It returns that error,
// or io.ErrUnexpectedEOF when the server ended the stream. [Client.Follow]
// comes back by itself.
func (c *Client) Stream(ctx context.Context, q StreamQuery, each func(Event) error) error {
	said := callOf(nil)
	if q.After != "" {
		said.header.Set("Last-Event-ID", q.After)
	}
	res, err := c.patient().send(ctx, http.MethodGet, q.path(), "", "text/event-stream", nil, said)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return readEvents(res.Body, each)
}

// How Follow comes back. The server's heartbeat is 15 seconds: who says nothing
// for three of them is gone.
const (
	silence  = 45 * time.Second
	firstTry = time.Second
	lastTry  = 30 * time.Second
)

// Follow goes through the live stream until ctx ends, and comes back with its
// cursor whenever it was cut off: no finding and no action is missed. When the
// cursor has become too old there is an event [EventReset], and the lists must
// be read again. Between two tries it waits 1 to 30 seconds, or as long as the
// server says. It ends with an error that is the last that is given: that of
// ctx, or a refusal that waiting does not cure.
func (c *Client) Follow(ctx context.Context, q StreamQuery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		enough, wait := errors.New("enough"), firstTry
		for {
			err := c.attend(ctx, q, func(e Event) error {
				if e.ID != "" {
					q.After = e.ID
				}
				wait = firstTry
				if !yield(e, nil) {
					return enough
				}
				return nil
			})
			if errors.Is(err, enough) {
				return
			}
			var refused *Error
			again := wait
			if errors.As(err, &refused) {
				if refused.Status < 500 && refused.Status != http.StatusTooManyRequests {
					yield(Event{}, err)
					return
				}
				again = max(wait, refused.RetryAfter)
			}
			wait = min(2*wait, lastTry)
			select {
			case <-ctx.Done():
				yield(Event{}, ctx.Err())
				return
			case <-time.After(again):
			}
		}
	}
}

// attend is Stream, for as long as something is heard.
func (c *Client) attend(ctx context.Context, q StreamQuery, each func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := time.AfterFunc(silence, cancel)
	defer gone.Stop()
	return c.Stream(ctx, q, func(e Event) error {
		gone.Stop() // whoever is slow to take an event is not the server
		defer gone.Reset(silence)
		return each(e)
	})
}

// readEvents parses server-sent events (WHATWG HTML, section 9.2.6), the part
// of them that our server sends.
func readEvents(r io.Reader, each func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var ev Event
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if ev.Data != nil {
				if err := each(ev); err != nil {
					return err
				}
			}
			ev = Event{}
		case field == "event":
			ev.Name = value
		case field == "id":
			ev.ID = value
		case field == "data":
			if ev.Data != nil {
				ev.Data = append(ev.Data, '\n')
			}
			ev.Data = append(ev.Data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("an event of the live stream is over %d MB", maxEvent>>20)
		}
		return fmt.Errorf("read the live stream: %w", err)
	}
	return fmt.Errorf("the server ended the live stream: %w", io.ErrUnexpectedEOF)
}
