package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxEvent bounds one event of a live stream, in bytes.
const maxEvent = 4 << 20

// An Event is one message of the live stream: Name is decision, finding,
// action, or hello, heartbeat and dropped, which tell of the stream itself.
type Event struct {
	Name string
	ID   string // what to give as Last-Event-ID to go on behind it; may be empty
	Data json.RawMessage
}

// Stream calls each for every event of the topics (decision, finding, action)
// as it happens, one at a time, until ctx ends, each returns an error or the
// server goes away. It returns that error, or io.ErrUnexpectedEOF when the
// server ended the stream.
func (c *Client) Stream(ctx context.Context, topics []string, each func(Event) error) error {
	path := "/v1/stream?" + url.Values{"topics": {strings.Join(topics, ",")}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+path, nil)
	if err != nil {
		return fmt.Errorf("request %s: %w", path, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := c.patient().http.Do(req)
	if err != nil {
		return fmt.Errorf("reach the server at %s: %w", c.base, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what there is of an explanation
		return refusal(res.StatusCode, data)
	}
	return readEvents(res.Body, each)
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
