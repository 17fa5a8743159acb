package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// bodyRate is how many bytes of a body a second has to bring, beyond the time
// that every body has.
const bodyRate = 512

var errSlow = errors.New("the body comes too slowly")

// A paced body is that of a request as its client sends it, in the time that it
// has for it. Only the time counts in which somebody waits for the client: an
// application that reads slowly is not the client's fault.
type paced struct {
	io.ReadCloser
	control *http.ResponseController
	whole   bool          // the connection is this request's alone, as over HTTP/1
	stream  bool          // it has no length
	pause   time.Duration // that a client may take at once

	mu      sync.Mutex // guards the rest
	timer   *time.Timer
	begun   bool
	waited  time.Duration
	read    int64
	relaxed bool // the reply has begun: a stream in both directions takes its time
	late    bool
	over    bool // the connection may be another request's
}

// pace has the body of a request come in time; nil when it has none. A body that
// nobody reads is bounded as well: the server drops what is left of it before it
// replies, and would wait for that forever.
func (h *Handler) pace(w http.ResponseWriter, r *http.Request) *paced {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	p := &paced{ReadCloser: r.Body, control: http.NewResponseController(w), whole: r.ProtoMajor == 1, stream: r.ContentLength < 0, pause: h.s.Timeouts.Body}
	if p.whole {
		p.limit(p.pause)
	}
	r.Body = p
	return p
}

// limit ends what reads from the client after a time, zero: never. Where there
// are no deadlines, as in tests without a connection, nothing blocks either.
func (p *paced) limit(d time.Duration) {
	at := time.Time{}
	if d != 0 {
		at = time.Now().Add(d)
	}
	_ = p.control.SetReadDeadline(at)
}

// Read reads within the time that is left. It returns errSlow when there is none.
func (p *paced) Read(b []byte) (int, error) {
	if !p.wait() {
		return 0, errSlow
	}
	began := time.Now()
	n, err := p.ReadCloser.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.waited += time.Since(began)
	p.read += int64(n)
	if p.late {
		return n, errSlow
	}
	if err == io.EOF {
		p.over = true
	}
	return n, err
}

// wait begins to count the time. It is false when there is none left.
func (p *paced) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.late:
		return false
	case p.over:
		return true // whatever is below says what that means
	case !p.begun:
		p.begun = true
		if p.whole {
			p.limit(0)
		}
	}
	if p.relaxed {
		return true
	}
	left := min(p.pause, p.pause+time.Duration(p.read)*time.Second/bodyRate-p.waited)
	if left <= 0 {
		p.expire()
		return false
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(left, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if !p.over && !p.relaxed {
				p.expire()
			}
		})
	} else {
		p.timer.Reset(left)
	}
	return true
}

// expire frees whoever waits for the client. It needs p.mu.
func (p *paced) expire() {
	p.late = true
	p.limit(-time.Hour)
}

// cut is for a request that is cut over HTTP/1: nobody waits for the rest of it.
func (p *paced) cut() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.expire()
	}
}

// begins is for a reply that begins. It reports whether the connection must end
// with it: what is left of the body may never come, and must not be taken for the
// next request then.
func (p *paced) begins() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relaxed = p.stream
	return p.whole && !p.over
}

// unbounded reports whether the client still sends, and has not said how much.
func (p *paced) unbounded() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream && !p.over
}

// slow reports whether the time is over. The server then ends the context of the
// request, too, and either may be seen first.
func (p *paced) slow() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// linger is how long what is left of a body is dropped once there is a reply, so
// that the client sees that.
const linger = 5 * time.Second

// end is for a request whose handler is done. Of a body that somebody began to
// read, and that did not come to its end, the rest is dropped here: the server
// takes the deadline away before it does so itself.
func (p *paced) end() {
	if p == nil || !p.ends() {
		return
	}
	_ = p.control.Flush() // the reply first; the client may be gone
	_ = p.Close()         // what is lost with it nobody waits for
}

// ends reports whether there is something to be dropped.
func (p *paced) ends() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
	left := !p.over && p.begun && p.whole
	if left && !p.late {
		p.limit(min(p.pause, linger))
	}
	p.over = true
	return left
}
