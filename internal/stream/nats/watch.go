package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/muster-id/muster/internal/stream"
)

// Answers of the server that callers tell apart, by the server's own numbers.
const (
	codeNoPeers      jetstream.ErrorCode = 10005
	codeNotAvailable jetstream.ErrorCode = 10008
	codeNotLeader    jetstream.ErrorCode = 10009
	codeResources    jetstream.ErrorCode = 10023
	codeStorage      jetstream.ErrorCode = 10047
	codeOverlap      jetstream.ErrorCode = 10065
	codeNoLimits     jetstream.ErrorCode = 10120
	codeInProcess    jetstream.ErrorCode = 10158
)

// explainAway adds what callers tell apart, and what to do.
func (s *Stream) explainAway(err error) error {
	for _, known := range []error{stream.ErrUnavailable, stream.ErrNewer, stream.ErrFull, stream.ErrGone, errForeign} {
		if errors.Is(err, known) {
			return err
		}
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return payloadError(s.conn.MaxPayload())
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeStorage, codeResources, codeNoLimits:
			return fmt.Errorf("%w: the servers have no room for us (%s); lower retention.bytes, or raise max_file_store or the account's limit there",
				stream.ErrFull, api.Description)
		case codeOverlap:
			return fmt.Errorf("%w: another stream takes the subjects %s>; choose another stream.prefix", errForeign, s.prefix)
		case codeNoPeers:
			return fmt.Errorf("%w: the servers cannot keep %d copies (%s); start the others, or lower stream.replicas",
				stream.ErrUnavailable, s.replicas(0), api.Description)
		case codeNotAvailable, codeNotLeader, codeInProcess:
			return fmt.Errorf("%w: %s", stream.ErrUnavailable, s.outage(api))
		}
		if api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabled || api.ErrorCode == jetstream.JSErrCodeJetStreamNotEnabledForAccount {
			return fmt.Errorf("%w: JetStream is off at the server or for our account, or its disk failed; its log says why (%s)",
				stream.ErrUnavailable, api.Description)
		}
		return err
	}
	for _, passing := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, jetstream.ErrJetStreamNotEnabled,
		nats.ErrConnectionClosed, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrStaleConnection,
		jetstream.ErrNoHeartbeat, jetstream.ErrConnectionClosed, jetstream.ErrServerShutdown,
	} {
		if errors.Is(err, passing) {
			return fmt.Errorf("%w: %s", stream.ErrUnavailable, s.outage(err))
		}
	}
	// A large message is written by whoever sends it, who then sees the wire
	// break before the library does.
	if wire := (*net.OpError)(nil); errors.As(err, &wire) {
		return fmt.Errorf("%w: %s", stream.ErrUnavailable, s.outage(err))
	}
	return err
}

// A watch is what is known of servers elsewhere. The zero value is ready.
type watch struct {
	mu      sync.Mutex // guards everything below; looking is done under it, once for all who ask
	known   map[string]bool
	reason  error // of the last failed attempt to connect
	looked  time.Time
	last    look
	outages time.Time // when text was made
	text    string
	// doubtful says that the last message could not be published.
	doubtful bool
}

// A look is what one look at the servers showed.
type look struct {
	failed   error  // nothing can be published
	degraded string // it can, and soon may not
}

const (
	lookWithin = 1200 * time.Millisecond // so long may one look take,
	lookAgain  = time.Second             // and so long it holds
	dialWithin = 500 * time.Millisecond
	silent     = 6 * time.Second // a copy answers its leader every second
)

func (w *watch) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reason = err
}

// lost is told when a connection ends that was not closed.
func (s *Stream) lost(err error) {
	if s.closed.Err() == nil {
		s.log.Warn("the connection to a stream server ended; it is tried again", "error", err)
	}
	s.watch.failed(err)
}

// look asks the servers how they are.
func (s *Stream) look() look {
	w := &s.watch
	w.mu.Lock()
	fresh, last := time.Since(w.looked) < lookAgain, w.last
	w.mu.Unlock()
	if fresh {
		return last
	}
	ctx, cancel := context.WithTimeout(s.closed, lookWithin)
	defer cancel()
	now := s.lookNow(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked, w.last = time.Now(), now
	return now
}

func (s *Stream) lookNow(ctx context.Context) look {
	st, err := s.current(ctx)
	if err != nil {
		return look{failed: s.explain(err)}
	}
	info, err := st.Info(ctx)
	if err != nil {
		return look{failed: s.explain(err)}
	}
	s.remember()
	if info.Cluster == nil {
		return look{failed: s.probe(ctx)}
	}
	if info.Cluster.Leader == "" { // a follower answered
		return look{failed: fmt.Errorf("%w: %s", stream.ErrUnavailable, s.outage(errors.New("no leader")))}
	}
	if now := copiesOf(info.Cluster); now != (look{}) {
		return now
	}
	return look{failed: s.probe(ctx)}
}

// copiesOf says how the copies of a stream are that has a leader.
func copiesOf(c *jetstream.ClusterInfo) look {
	var away, behind []string
	lost := 0
	for _, r := range c.Replicas {
		switch {
		case r.Offline || r.Active > silent:
			lost++
			away = append(away, r.Name)
		case !r.Current && r.Active == 0: // this leader never heard of it
			away = append(away, r.Name)
		case !r.Current:
			behind = append(behind, r.Name)
		}
	}
	all := 1 + len(c.Replicas)
	switch {
	case 2*(all-lost) <= all:
		return look{failed: fmt.Errorf("%w: no quorum: %d of %d servers run; start %s", stream.ErrUnavailable, all-len(away), all, list(away))}
	case len(away) > 0:
		return look{degraded: fmt.Sprintf("%d of %d servers run; start %s before another one fails", all-len(away), all, list(away))}
	case len(behind) > 0:
		return look{degraded: fmt.Sprintf("%d of %d copies are complete; %s catches up by itself", all-len(behind), all, list(behind))}
	}
	return look{}
}

// probe publishes once if the last message could not be published: servers
// whose disk is full answer every question and store nothing.
func (s *Stream) probe(ctx context.Context) error {
	if !s.watch.inDoubt() {
		return nil
	}
	m := nats.NewMsg(s.prefix + probeSubject)
	m.Header.Set(versionHeader, strconv.Itoa(stream.Version))
	if _, err := s.js.PublishMsg(ctx, m); err != nil {
		return s.explain(err)
	}
	s.watch.doubt(false)
	return nil
}

// probeSubject is ours alone; consumers pass over it.
const probeSubject = "probe"

func (w *watch) doubt(is bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doubtful = is
}

func (w *watch) inDoubt() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubtful
}

// list names servers. Their names come from elsewhere.
func list(names []string) string {
	slices.Sort(names)
	for i, n := range names {
		names[i] = fmt.Sprintf("%.64q", n)
	}
	return strings.Join(names, " and ")
}

// remember keeps which servers there are, so that it is known later which of
// them are away.
func (s *Stream) remember() {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == nil {
		w.known = map[string]bool{}
		for _, u := range s.outside.URLs {
			w.known[hostport(u)] = true
		}
	}
	for _, u := range s.conn.DiscoveredServers() {
		if len(w.known) < 64 && s.outside.secure() {
			w.known[hostport(u)] = true
		}
	}
}

func hostport(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "4222")
	}
	return u.Host
}

// outage says why the servers do not do what they should, and what to do.
func (s *Stream) outage(cause error) string {
	w := &s.watch
	w.mu.Lock()
	text, fresh, reason := w.text, time.Since(w.outages) < lookAgain, w.reason
	servers := make([]string, 0, len(w.known))
	for k := range w.known {
		servers = append(servers, k)
	}
	w.mu.Unlock()
	if fresh && text != "" {
		return text
	}
	if len(servers) == 0 {
		for _, u := range s.outside.URLs {
			servers = append(servers, hostport(u))
		}
	}
	if !s.conn.IsConnected() {
		if err := s.conn.LastError(); err != nil {
			reason = err
		}
		text = fmt.Sprintf("not connected to %s; start the servers, or check that this machine reaches them", strings.Join(s.outside.URLs, ", "))
		if reason != nil {
			text += fmt.Sprintf(" (%v)", s.refused(reason))
		}
	} else {
		answer := answering(servers)
		switch n := len(servers); {
		case n > 1 && 2*answer <= n:
			text = fmt.Sprintf("no quorum: %d of %d servers answer; start the others", answer, n)
		case n > 1 && answer < n:
			text = fmt.Sprintf("%d of %d servers answer and the stream has no leader yet; an election takes seconds, else start the others", answer, n)
		default:
			text = fmt.Sprintf("the servers answer and the stream does not (%v); an election takes seconds, else JetStream is off there or lost its disk: see the servers' logs", cause)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text, w.outages = text, time.Now()
	return text
}

// answering counts the servers that take a connection.
func answering(servers []string) int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for _, address := range servers {
		wg.Go(func() {
			c, err := net.DialTimeout("tcp", address, dialWithin)
			if err != nil {
				return
			}
			c.Close()
			mu.Lock()
			defer mu.Unlock()
			n++
		})
	}
	wg.Wait()
	return n
}
