package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/stream"
)

// Outside says where the servers are that hold the stream, and who we are to
// them. The zero value means the server inside.
type Outside struct {
	// URLs of one or more servers, nats://host:port or tls://host:port. Others
	// of the same cluster are found by themselves. What is not on this machine
	// must speak TLS. A URL holds no password: it would end up in logs.
	URLs []string `yaml:"urls" unit:"URL" example:"[tls://nats-1.example:4222]"`
	// CredentialsFile is a .creds file (JWT and nkey) or a file with one user
	// nkey seed. It is read again at each connection.
	CredentialsFile string `yaml:"credentials_file" unit:"file" example:"/etc/muster/nats.creds"`
	// TLS says whom to believe and who we are.
	TLS TLS `yaml:"tls"`
	// Replicas is how many servers keep each message: 1, 3 or 5. Zero leaves an
	// existing stream as it is; a new one gets 3 in a cluster and 1 elsewhere.
	Replicas int `yaml:"replicas" example:"3"`
	// Prefix of the stream's name and subjects, its own for each installation
	// that shares the servers: a-z, 0-9, - and _, at most 32. Empty means
	// muster.
	Prefix string `yaml:"prefix" example:"berlin"`
}

// TLS are files.
type TLS struct {
	// CA is the file of the authorities to believe, in PEM. Empty means those
	// of the system.
	CA string `yaml:"ca" unit:"file" example:"/etc/muster/nats-ca.pem"`
	// Cert is the file of our certificate, in PEM, if the servers ask for one.
	Cert string `yaml:"cert" unit:"file" example:"/etc/muster/nats.crt"`
	// Key is the file of its private key, in PEM.
	Key string `yaml:"key" unit:"file" example:"/etc/muster/nats.key"`
}

const maxURLs = 16

// Check returns an error wrapping nhi.ErrInvalid that names the setting. It
// reads no file.
func (o *Outside) Check() error {
	if len(o.URLs) == 0 {
		if o.CredentialsFile != "" || o.TLS != (TLS{}) || o.Replicas != 0 || o.Prefix != "" {
			return nhi.Invalidf("stream: urls is missing; without it the stream lies in the data folder and the other settings mean nothing")
		}
		return nil
	}
	if len(o.URLs) > maxURLs {
		return nhi.Invalidf("stream.urls: %d, want at most %d; the others of a cluster are found by themselves", len(o.URLs), maxURLs)
	}
	for i, u := range o.URLs {
		if err := checkURL(u); err != nil {
			return nhi.Invalidf("stream.urls[%d]: %v", i, err)
		}
	}
	switch {
	case (o.TLS.Cert == "") != (o.TLS.Key == ""):
		return nhi.Invalidf("stream.tls: cert and key belong together")
	case !slices.Contains([]int{0, 1, 3, 5}, o.Replicas):
		return nhi.Invalidf("stream.replicas is %d, want 1, 3 or 5", o.Replicas)
	case len(o.Prefix) > 32 || strings.Trim(o.Prefix, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
		return nhi.Invalidf("stream.prefix: want at most 32 of a-z, 0-9, - and _")
	}
	return nil
}

// checkURL never repeats the URL: it may hold a password after all.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "nats" && u.Scheme != "tls") || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return errors.New("want nats://host:port or tls://host:port")
	case u.User != nil:
		return errors.New("a URL holds no user or password; put them into stream.credentials_file")
	}
	return nil
}

// secure reports whether connections must be encrypted: always, except when
// all servers are on this machine and nobody asked for it.
func (o *Outside) secure() bool {
	if o.TLS != (TLS{}) {
		return true
	}
	for _, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Scheme == "tls" {
			return true
		}
		ip := net.ParseIP(u.Hostname())
		if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
}

// errForeign means that the stream's name is taken.
var errForeign = fmt.Errorf("open stream: %w", nhi.ErrConflict)

const (
	connectTimeout = 3 * time.Second
	publishWithin  = 10 * time.Second // repeats included
	attemptWithin  = 3 * time.Second  // an election takes about that long
	pauseFirst     = 50 * time.Millisecond
	pauseLongest   = 10 * time.Second // between attempts to connect
)

// Connect uses servers elsewhere. Servers that are away are no error, because
// decisions need none: the stream is returned, its calls fail with
// stream.ErrUnavailable, and it works as soon as they come. What waiting cannot
// mend is an error: servers that refuse our credentials or whose certificate
// does not hold, a stream that is not ours (nhi.ErrConflict) or newer
// (stream.ErrNewer), or bounds that the servers do not allow (stream.ErrFull).
func Connect(ctx context.Context, out Outside, set Settings) (_ *Stream, err error) {
	if err := out.Check(); err != nil {
		return nil, err
	}
	if len(out.URLs) == 0 {
		return nil, nhi.Invalidf("stream.urls: want at least one")
	}
	prefix := out.Prefix
	if prefix == "" {
		prefix = defaultPrefix
	}
	s := newStream(ctx, set, prefix)
	s.outside = &out
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	options, err := s.options()
	if err != nil {
		return nil, err
	}
	urls := strings.Join(out.URLs, ",")
	s.conn, err = nats.Connect(urls, options...)
	if err != nil && !away(err) {
		return nil, fmt.Errorf("connect to %s: %w", urls, s.refused(err))
	}
	if err != nil {
		s.log.Warn("the stream's servers are away; it is tried again until they come", "servers", urls, "error", err)
		if s.conn, err = nats.Connect(urls, append(options, nats.RetryOnFailedConnect(true))...); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", urls, s.refused(err))
		}
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithDefaultTimeout(callTimeout)); err != nil {
		return nil, fmt.Errorf("set up stream: %w", err)
	}
	if !s.conn.IsConnected() {
		return s, nil
	}
	if _, err := s.current(ctx); err != nil {
		if err = s.explain(err); !errors.Is(err, stream.ErrUnavailable) {
			return nil, err
		}
		s.log.Warn("the stream could not be set up; it is tried again", "error", err)
	}
	return s, nil
}

func (s *Stream) options() ([]nats.Option, error) {
	out := s.outside
	options := []nats.Option{
		nats.Name("muster"), nats.Timeout(connectTimeout), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // what is not sent is refused, not kept in memory
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.CustomReconnectDelay(backOff),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.lost(err) }),
		nats.ReconnectHandler(func(c *nats.Conn) {
			s.log.Info("connected to a stream server again", "server", c.ConnectedUrlRedacted())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { s.watch.failed(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.log.Warn("stream client", "error", err) }),
	}
	if out.secure() {
		options = append(options, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	} else {
		options = append(options, nats.IgnoreDiscoveredServers()) // they might be elsewhere, where plain text must not go
	}
	if out.TLS.CA != "" {
		options = append(options, nats.RootCAs(out.TLS.CA))
	}
	if out.TLS.Cert != "" {
		options = append(options, nats.ClientCert(out.TLS.Cert, out.TLS.Key))
	}
	if out.CredentialsFile != "" {
		option, err := credentials(out.CredentialsFile)
		if err != nil {
			return nil, err
		}
		options = append(options, option)
	}
	return options, nil
}

// backOff is the pause before the next round over all servers.
func backOff(attempts int) time.Duration {
	pause := min(100*time.Millisecond<<min(max(attempts, 0), 10), pauseLongest)
	return pause/2 + rand.N(pause/2) // so that not all clients come at once
}

const maxCredentials = 64 << 10

// credentials tells a .creds file from a file with a seed.
func credentials(path string) (nats.Option, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("stream.credentials_file: %w", err)
	}
	if info.Size() > maxCredentials {
		return nil, nhi.Invalidf("stream.credentials_file: %s is no credentials file", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("stream.credentials_file: %w", err)
	}
	defer clear(data)
	text := string(data)
	if strings.Contains(text, "BEGIN NATS USER JWT") && strings.Contains(text, "BEGIN USER NKEY SEED") {
		return nats.UserCredentials(path), nil
	}
	if !strings.Contains(text, "SU") {
		return nil, nhi.Invalidf("stream.credentials_file: %s holds neither a NATS user's JWT with its seed nor a user seed (SU…)", path)
	}
	option, err := nats.NkeyOptionFromSeed(path)
	if err != nil {
		return nil, nhi.Invalidf("stream.credentials_file: %s holds no usable seed", path)
	}
	return option, nil
}

// replicas returns what config asks for, given what an existing stream has.
func (s *Stream) replicas(existing int) int {
	switch {
	case s.outside == nil:
		return 1
	case s.outside.Replicas != 0:
		return s.outside.Replicas
	case existing != 0:
		return existing
	case s.conn.ConnectedClusterName() != "":
		return 3
	default:
		return 1
	}
}

// sendAway publishes with repeats: an election or a reconnection takes seconds
// and is nothing that a sender should hear of. Every message has an id, so a
// repeat is recognised even if only the answer was lost.
func (s *Stream) sendAway(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	if m.Header.Get(jetstream.MsgIDHeader) == "" {
		m.Header.Set(jetstream.MsgIDHeader, "~"+nuid.Next())
	}
	within, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	for pause := pauseFirst; ; pause = min(2*pause, time.Second) {
		ack, err := s.attempt(within, m)
		if err == nil {
			if s.watch.inDoubt() {
				s.watch.doubt(false)
			}
			return ack, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.watch.doubt(true)
		if err = s.explain(err); !errors.Is(err, stream.ErrUnavailable) || within.Err() != nil {
			return nil, err
		}
		select {
		case <-s.closed.Done():
			return nil, stream.ErrClosed
		case <-within.Done():
		case <-time.After(pause):
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if within.Err() != nil {
			return nil, err
		}
	}
}

func (s *Stream) attempt(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	if _, err := s.current(ctx); err != nil {
		return nil, err
	}
	return s.js.PublishMsg(ctx, m)
}

// away reports whether a failed connection may succeed by itself later.
func away(err error) bool {
	var network *net.OpError
	var dns *net.DNSError
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &dns) || (errors.As(err, &network) && network.Op != "remote error")
}

// refused says what to do about a connection that a server or we refused.
func (s *Stream) refused(err error) error {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		if s.outside.CredentialsFile == "" {
			return fmt.Errorf("the server asks who we are; give stream.credentials_file: %w", err)
		}
		return fmt.Errorf("the server refuses the credentials in %s; have new ones issued: %w", s.outside.CredentialsFile, err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("the server does not speak TLS, and plain text stays on this machine; give the server a certificate: %w", err)
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		return fmt.Errorf("the server's certificate does not hold; check stream.tls.ca and the names in the certificate: %w", err)
	default:
		return err
	}
}

func payloadError(most int64) error {
	return fmt.Errorf("the servers take messages of up to %d bytes and batches need %d: set max_payload: 4MB in their configuration: %w",
		most, stream.MaxPayload+headerRoom, nhi.ErrInvalid)
}
