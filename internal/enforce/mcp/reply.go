package mcp

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/muster-id/muster/internal/enforce"
)

// Why a reply of a server does not reach its client. The texts go to the client.
var (
	errReplyLarge  = errors.New("a message of the server is larger than 16 MiB")
	errReplyJSON   = errors.New("a message of the server is no JSON, repeats a name, or is nested too deeply")
	errReplyForm   = errors.New("a message of the server is none of JSON-RPC")
	errReplyCoded  = errors.New("the reply of the server is compressed")
	errReplyMedia  = errors.New("the reply of the server is not plainly of one media type, in UTF-8")
	errReplySigns  = errors.New("the name or the id of an event of the server has signs other than those of ASCII that can be seen")
	errReplyMany   = errors.New("the server asks more of its client than anybody answers")
	errReplyList   = errors.New("a list of the server cannot be understood")
	errReplyDeaf   = errors.New("the server does not take what it is told")
	errReplyUntold = errors.New("nobody says what of a list the caller may use")
)

// A screen stands between a server and its client: it looks at each message of a
// reply before it goes on. A reply of JSON is kept until its end; of a stream each
// event is. What cannot be understood does not pass, unless the point only
// observes.
type screen struct {
	http.ResponseWriter
	hearer        // what is done with messages
	strict  bool  // the point enforces, when the last message began
	unseen  error // why a reply goes on unseen, for which it would not pass at a point that enforces
	longest int   // bytes of a message
	state   screening
	status  int
	kept    bytes.Buffer // of JSON
	events  events       // of a stream
	failed  error        // why the reply does not pass
	broken  bool         // some of it has passed
	gone    bool         // the client does not take it
	refused func()       // called when nothing of it will: nobody has to wait for the rest
}

// screening is what a screen does with a reply.
type screening int

const (
	unbegun   screening = iota
	open                // the reply goes on as it comes
	whole               // it is kept to its end
	streaming           // it is looked at event by event
	closed              // nothing of it goes on any more
)

// A hearer hears the messages of a server.
type hearer interface {
	// enforces reports whether what does not pass is held back. It is asked before
	// each message.
	enforces() bool
	// hear returns what the client is told of a message, nil: nothing.
	hear(m *told) (jsontext.Value, error)
}

// Unwrap is for http.ResponseController.
func (s *screen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader sees which sort of reply it is.
func (s *screen) WriteHeader(status int) {
	if status < 200 {
		s.ResponseWriter.WriteHeader(status)
		return
	}
	if s.state != unbegun {
		return
	}
	s.status, s.strict = status, s.enforces()
	media, looked, clear := mediaOf(s.Header()["Content-Type"])
	switch {
	case s.strict && !clear:
		s.refuse(errReplyMedia)
		return
	case !clear:
		s.state, s.unseen = open, errReplyMedia
	case looked && len(s.Header()["Content-Encoding"]) > 0:
		if s.strict {
			s.refuse(errReplyCoded)
			return
		}
		s.state, s.unseen = open, errReplyCoded
	case looked && media == "application/json":
		s.state = whole
		return
	case looked:
		s.state = streaming
		s.Header().Del("Content-Length")
	default:
		s.state = open
	}
	s.ResponseWriter.WriteHeader(status)
}

// mediaOf reads a Content-Type. Looked says that it is one which clients of the
// protocol read. It is not clear when some client could take it for one of those
// and another not, or its bytes for other signs than UTF-8 has.
func mediaOf(values []string) (media string, looked, clear bool) {
	text := strings.ToLower(strings.Join(values, ","))
	media, params, err := mime.ParseMediaType(text)
	if media == "application/json" || media == "text/event-stream" {
		charsets := strings.Count(text, "charset") // also in another parameter, and in RFC 2231's forms
		plain := charsets == 0 || charsets == 1 && params["charset"] == "utf-8" && !strings.Contains(text, "charset*")
		return media, true, err == nil && len(values) == 1 && plain
	}
	return media, false, !strings.Contains(text, "json") && !strings.Contains(text, "event-stream")
}

// plain takes from the headers of a reply what says how its body is written.
func plain(header http.Header) {
	for _, name := range [...]string{"Content-Encoding", "Content-Length", "Trailer"} {
		header.Del(name)
	}
}

// refuse answers in place of a reply of which nothing has gone on.
func (s *screen) refuse(err error) {
	s.state, s.failed = closed, err
	plain(s.Header())
	s.refused()
	status := http.StatusBadGateway
	if s.status >= http.StatusBadRequest { // of what went wrong that is still true
		status = s.status
	}
	write(s.ResponseWriter, status, problem(nil, codeInternal, "muster: "+err.Error(), nil))
}

// Write looks at a part of the reply.
func (s *screen) Write(b []byte) (int, error) {
	if s.state == unbegun {
		s.WriteHeader(http.StatusOK)
	}
	switch s.state {
	case closed:
		return 0, s.failed
	case open:
		if s.unseen != nil && s.enforces() { // since it began
			s.state, s.failed, s.broken = closed, s.unseen, true
			return 0, s.failed
		}
	case whole:
		if s.kept.Len()+len(b) <= s.longest {
			return s.kept.Write(b)
		}
		if s.enforces() {
			s.refuse(errReplyLarge)
			return 0, s.failed
		}
		s.state, s.unseen = open, errReplyLarge
		s.ResponseWriter.WriteHeader(s.status)
		if _, err := s.ResponseWriter.Write(s.kept.Bytes()); err != nil {
			return 0, err
		}
	case streaming:
		return len(b), s.stream(b)
	}
	return s.ResponseWriter.Write(b)
}

// stream passes on the events that b completes.
func (s *screen) stream(b []byte) error {
	err := s.events.add(b, s.pass)
	switch {
	case err == nil:
		return nil
	case s.gone:
		return err
	case err == errReplyDeaf || s.enforces():
		// The client reads a stream that breaks off. It must not take what came
		// until then for the whole.
		s.state, s.failed, s.broken = closed, err, true
		return err
	case err != errReplyLarge:
		return err
	}
	s.state, s.unseen = open, errReplyLarge
	_, err = s.ResponseWriter.Write(s.events.rest())
	return err
}

// pass passes an event on.
func (s *screen) pass(e *event) error {
	s.strict = s.enforces()
	if s.strict && e.odd {
		return errReplySigns
	}
	text := e.raw
	if e.message() {
		out, same, err := s.hearAll(e.data)
		switch {
		case err != nil && (s.strict || err == errReplyDeaf):
			return err
		case err == nil && (s.strict || !same):
			text = e.with(out)
		}
	} else if s.strict {
		text = e.bare()
	}
	_, err := s.ResponseWriter.Write(text)
	if err == nil {
		err = http.NewResponseController(s.ResponseWriter).Flush()
	}
	s.gone = err != nil
	return err
}

// hearAll has each of the messages of a text heard. What is left is nil when that
// is nothing; same says that all passes as it came.
func (s *screen) hearAll(text []byte) (left jsontext.Value, same bool, err error) {
	if enforce.TooDeep(text, maxDepth) {
		return nil, false, errReplyJSON
	}
	value := jsontext.Value(bytes.TrimSpace(text))
	if !value.IsValid() || value.Compact() != nil {
		return nil, false, errReplyJSON
	}
	if value.Kind() != '[' {
		return s.hearOne(value)
	}
	var raws, kept []jsontext.Value
	if json.Unmarshal(value, &raws) != nil || len(raws) > maxBatch {
		return nil, false, errReplyForm
	}
	same = true
	for _, raw := range raws {
		out, as, err := s.hearOne(raw)
		if err != nil {
			return nil, false, err
		}
		if same = same && as; out != nil {
			kept = append(kept, out)
		}
	}
	if len(kept) == 0 && len(raws) > 0 {
		return nil, false, nil
	}
	return join(kept), same, nil
}

func (s *screen) hearOne(raw jsontext.Value) (left jsontext.Value, same bool, err error) {
	m, err := listen(raw)
	if err != nil {
		return nil, false, err
	}
	left, err = s.hear(m)
	return left, err == nil && bytes.Equal(left, raw), err
}

// FlushError passes on what is not kept.
func (s *screen) FlushError() error {
	if s.state == unbegun {
		s.WriteHeader(http.StatusOK)
	}
	if s.state == whole || s.state == closed {
		return nil
	}
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (s *screen) Flush() { _ = s.FlushError() }

// finish writes what was kept.
func (s *screen) finish() {
	if s.state != whole {
		return
	}
	s.strict = s.enforces()
	text := s.kept.Bytes()
	if len(bytes.TrimSpace(text)) > 0 {
		out, same, err := s.hearAll(text)
		switch {
		case err != nil && (s.strict || err == errReplyDeaf):
			s.refuse(err)
			return
		case err == nil && (s.strict || !same):
			text = out
			s.Header().Del("Content-Length")
		}
	}
	s.state = open
	s.ResponseWriter.WriteHeader(s.status)
	_, _ = s.ResponseWriter.Write(text) // the client may be gone
}
