// Package signal is the room of shared signals (package signals): it joins the
// transmitter and the receiver with who is enrolled, what is stored, and what a
// signal does here.
//
// What a verified event of a peer does (see [Room.Apply]):
//
//	session-revoked    tokens of the identity that were issued until then are
//	                   refused; it gets a new one with its next exchange
//	credential-change  a finding that names the credential, if it is known
//	risk-level-change  a finding whose weight is part of the identity's risk: of
//	                   one peer never enough to deny, and fading to half in a day
//
// Each is written in one transaction with its record for the audit log. People
// undo a risk by dismissing or resolving its finding; a cut-off needs no undo,
// because it takes nothing from who can prove itself again.
package signal

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/signals/receive"
	"github.com/muster-id/muster/internal/signals/transmit"
	"github.com/muster-id/muster/internal/store"
	storesignals "github.com/muster-id/muster/internal/store/signals"
)

// Deps are what a Room joins.
type Deps struct {
	Settings  receive.Settings
	URL       string // public
	DB        *store.DB
	Keys      *seal.Keys
	Signing   *issuer.Keys
	SPIFFE    func(nhi.ID) string // how our tokens name an identity
	Access    *access.Service
	Inventory *inventory.Service
	Respond   *respond.Service
	Rules     func() []oidc.Rule // of trust
	// Judge makes a finding count in risk, as it is on record.
	Judge func(ctx context.Context, f nhi.Finding) error
	// Roots are the authorities of receivers; nil: the system's.
	Roots *x509.CertPool
}

// A Room transmits and receives. It is safe for concurrent use.
type Room struct {
	d        Deps
	kept     *storesignals.Store
	transmit *transmit.Transmitter
	ears     atomic.Pointer[ears]
	replaced chan struct{} // there are other ears
}

// ears are the peers in force.
type ears struct {
	*receive.Receiver
	peers  []receive.Peer
	tokens map[string]string
}

// New returns a Room. The error names the setting.
func New(d Deps) (*Room, error) {
	r := &Room{d: d, kept: storesignals.New(d.DB), replaced: make(chan struct{}, 1)}
	commit, err := r.Prepare(d.Settings)
	if err != nil {
		return nil, err
	}
	commit()
	const purpose = "signals/authorization"
	r.transmit = transmit.New(transmit.Config{
		Issuer: d.URL, KeysPath: issuer.KeysPath, Streams: r.kept, Outbox: r.kept, Ledger: r.kept, Inventory: r,
		Authenticate: r.authenticate, Receivers: r.receivers, Name: r.name, Stuck: r.stuck,
		Sign:   func(claims []byte) (string, error) { return d.Signing.Signer(signals.Type).SignJSON(claims) },
		Seal:   func(b []byte) []byte { return d.Keys.Seal(purpose, b) },
		Unseal: func(b []byte) ([]byte, error) { return d.Keys.Unseal(purpose, b) },
		Reach:  signals.Reach{Loopback: local(d.URL), Hosts: d.Settings.PushHosts}, Roots: d.Roots, Log: slog.Default(),
	})
	return r, nil
}

// Prepare reads what the peers of other settings need, and returns what puts
// them into force. Counts begin anew for them; what is being heard is finished.
func (r *Room) Prepare(next receive.Settings) (commit func(), err error) {
	tokens := map[string]string{}
	for i := range next.Peers {
		p := &next.Peers[i]
		if slices.Contains(p.Subjects.Issuers, r.d.URL) {
			return nil, nhi.Invalidf("signals.peers[%d].subjects.issuers: %s is this server itself: no peer speaks for it", i, r.d.URL)
		}
		if tokens[p.Name], err = tokenIn(p.TokenFile); err != nil {
			return nil, fmt.Errorf("signals.peers[%d].token_file: %w", i, err)
		}
	}
	if now := r.ears.Load(); now != nil && reflect.DeepEqual(now.peers, next.Peers) && maps.Equal(now.tokens, tokens) {
		return func() {}, nil
	}
	fresh := receive.New(receive.Config{Peers: next.Peers, Tokens: tokens, Effects: r, Memory: r.kept, Log: slog.Default()})
	return func() {
		r.ears.Store(&ears{fresh, slices.Clone(next.Peers), tokens})
		select {
		case r.replaced <- struct{}{}:
		default:
		}
	}, nil
}

const (
	minToken = 16
	maxToken = 4096
)

// tokenIn reads the token on the first line of a file.
func tokenIn(file string) (string, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > 64<<10 {
		err = fmt.Errorf("%s is %d bytes, which is more than such a file holds", file, info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	token := strings.TrimSpace(first)
	if len(token) < minToken || len(token) > maxToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", nhi.Invalidf("want a token of %d to %d characters without spaces on the first line", minToken, maxToken)
	}
	return token, nil
}

// local reports whether a URL leads to this machine.
func local(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// Handler serves everything below /ssf/, and the metadata.
func (r *Room) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(receive.Path, func(w http.ResponseWriter, req *http.Request) { r.ears.Load().ServeHTTP(w, req) })
	mux.Handle("/", r.transmit.Handler())
	return mux
}

// Run transmits and receives until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			r.listen(ctx)
		}
	}()
	err := r.transmit.Run(ctx)
	<-done
	return err
}

// listen listens to the peers in force until there are others.
func (r *Room) listen(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.replaced:
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = r.ears.Load().Run(ctx) // it ends when ctx does
}

// Wake says that something changed. It never blocks.
func (r *Room) Wake() {
	if r != nil {
		r.transmit.Wake()
	}
}

// authenticate lets sources of format receiver in.
func (r *Room) authenticate(req *http.Request) (transmit.Receiver, error) {
	c, err := r.d.Access.Authenticate(req)
	if err != nil {
		return transmit.Receiver{}, err
	}
	if c.Kind != access.Source || !c.Source.Receives() {
		return transmit.Receiver{}, fmt.Errorf("%s is no receiver of signals: %w", c.Name, nhi.ErrDenied)
	}
	return receiver(c.Source), nil
}

func receiver(s *nhi.Source) transmit.Receiver {
	return transmit.Receiver{ID: s.ID, Name: s.Name, Accounts: s.Accounts}
}

// receivers lists who may hear now.
func (r *Room) receivers(ctx context.Context) ([]transmit.Receiver, error) {
	all, err := r.d.Access.Sources(ctx)
	var out []transmit.Receiver
	for i := range all {
		if all[i].Receives() && !all[i].Disabled {
			out = append(out, receiver(&all[i]))
		}
	}
	return out, err
}

// name names an identity to receivers: as our tokens do, or in the format that
// the receiver wants if the identity has such a name.
func (r *Room) name(i *nhi.Identity, format string) signals.Subject {
	ours := signals.Subject{Format: signals.FormatIssSub, Issuer: r.d.URL, ID: r.d.SPIFFE(i.ID)}
	switch format {
	case signals.FormatOpaque:
		return signals.Subject{Format: format, ID: string(i.ID)}
	case signals.FormatURI, signals.FormatEmail:
		named := signals.Subject{Format: format, ID: i.Path}
		if raw, err := named.MarshalJSON(); err == nil {
			if _, err := signals.ParseSubject(raw); err == nil {
				return named
			}
		}
		if format == signals.FormatURI {
			return signals.Subject{Format: format, ID: ours.ID}
		}
	}
	return ours
}

// Check is the line of shared signals among the health checks.
func (r *Room) Check() health.Check { return health.Check{Name: "signals", State: r.state} }

// quiet is how long a peer may fail before somebody should look.
const quiet = 5 * time.Minute

func (r *Room) state(ctx context.Context) health.State {
	if why := r.transmit.Failure(); why != "" {
		return health.Degraded("receivers are not told: "+why, "see the line of the store; what waits is told afterwards")
	}
	var sick []string
	streams, err := r.kept.Streams(ctx)
	if err != nil {
		return health.Degraded("the streams cannot be read", "see the line of the store")
	}
	for i := range streams {
		switch s := &streams[i]; {
		case s.Ours && s.Status != signals.Enabled:
			sick = append(sick, fmt.Sprintf("stream %s is %s: %s", s.ID, s.Status, s.Reason))
		case !s.Failing.IsZero() && time.Since(s.Failing) > quiet:
			sick = append(sick, fmt.Sprintf("stream %s gets nothing through since %s (%s)", s.ID, s.Failing.Format(time.RFC3339), s.Error))
		}
	}
	for _, p := range r.ears.Load().States() {
		if !p.Failing.IsZero() && time.Since(p.Failing) > quiet {
			sick = append(sick, fmt.Sprintf("peer %s cannot be polled since %s (%s)", p.Name, p.Failing.UTC().Format(time.RFC3339), p.Error))
		}
	}
	if len(sick) == 0 {
		return health.OK()
	}
	return health.Degraded(strings.Join(sick, "; "), "muster source streams and muster source peers tell more; a receiver enables its stream again once it is back")
}

// Numbers are what the metrics show.
type Numbers struct {
	Acknowledged, ReceiverRefused, Lost, Waiting float64
	Applied, Repeated, Ignored, Refused          float64
}

// Numbers counts since the start, and what waits now.
func (r *Room) Numbers(ctx context.Context) Numbers {
	c := r.transmit.Counts()
	n := Numbers{Acknowledged: float64(c.Acknowledged), ReceiverRefused: float64(c.Refused), Lost: float64(c.Lost)}
	if streams, err := r.kept.Streams(ctx); err == nil {
		for i := range streams {
			n.Waiting += float64(streams[i].Waiting)
		}
	}
	for _, p := range r.ears.Load().States() {
		n.Applied += float64(p.Applied)
		n.Repeated += float64(p.Repeated)
		n.Ignored += float64(p.Ignored)
		n.Refused += float64(p.Refused)
	}
	return n
}

// Streams implements frame.Signals.
func (r *Room) Streams(ctx context.Context) ([]client.SignalStream, error) {
	streams, err := r.kept.Streams(ctx)
	if err != nil {
		return nil, err
	}
	all, err := r.d.Access.Sources(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]client.SignalStream, 0, len(streams))
	for i := range streams {
		s := &streams[i]
		v := client.SignalStream{
			ID: s.ID, Receiver: string(s.Receiver), Delivery: delivery(s.Method), Endpoint: r.transmit.Endpoint(s), Events: short(s.Delivered()), Description: s.Description,
			Status: s.Status, Reason: s.Reason, Waiting: s.Waiting, Lost: s.Lost, Error: s.Error, Created: s.Created, FailingSince: when(s.Failing),
		}
		if j := slices.IndexFunc(all, func(source nhi.Source) bool { return source.ID == s.Receiver }); j >= 0 {
			v.Name = all[j].Name
		}
		out = append(out, v)
	}
	return out, nil
}

func delivery(method string) string {
	if method == signals.Push {
		return receive.DeliveryPush
	}
	return receive.DeliveryPoll
}

// short are the last parts of the URIs of events.
func short(events []string) []string {
	out := make([]string, 0, len(events))
	for _, e := range events {
		out = append(out, e[strings.LastIndexByte(e, '/')+1:])
	}
	return out
}

// Peers implements frame.Signals.
func (r *Room) Peers(context.Context) ([]client.SignalPeer, error) {
	states := r.ears.Load().States()
	out := make([]client.SignalPeer, 0, len(states))
	for _, p := range states {
		own := slices.Concat(p.Subjects.Issuers, p.Subjects.Accounts, p.Subjects.Domains)
		out = append(out, client.SignalPeer{
			Name: p.Name, Issuer: p.Issuer, Delivery: p.Delivery, Subjects: own, Applied: p.Applied, Repeated: p.Repeated, Ignored: p.Ignored, Refused: p.Refused,
			Status: p.Status, Error: p.Error, LastHeard: when(p.LastHeard), FailingSince: when(p.Failing),
		})
	}
	return out, nil
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
