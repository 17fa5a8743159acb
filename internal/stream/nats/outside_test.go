package nats

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/nats/natstest"
	"github.com/muster-id/muster/internal/stream/streamtest"
)

// serve starts a server in this process that listens on loopback.
func serve(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{
		ServerName: "outside", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, JetStreamMaxStore: 1 << 40,
		MaxPayload: 4 << 20, NoSigs: true, DisableJetStreamBanner: true,
	}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetLoggerV2(logger{slog.New(slog.DiscardHandler)}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		t.Fatal("the server did not start")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func TestConformanceOnAServerOutside(t *testing.T) {
	srv, n := serve(t, nil), 0
	streamtest.Run(t, func(t *testing.T, set stream.Settings) stream.Stream {
		n++
		return connect(t, Outside{URLs: []string{srv.ClientURL()}, Prefix: fmt.Sprint("kit-", n)}, Settings{Settings: set})
	})
}

func TestDurabilityOnAServerOutside(t *testing.T) {
	n := natstest.Alone(t)
	streamtest.RunDurable(t, func(t *testing.T, _ string) stream.Stream {
		n.Kill()
		n.Start(t)
		return connect(t, Outside{URLs: natstest.URLs(n)}, Settings{})
	})
}

func TestInstallationsThatShareAServerDoNotSeeEachOther(t *testing.T) {
	srv := serve(t, nil)
	one := connect(t, Outside{URLs: []string{srv.ClientURL()}, Prefix: "one"}, Settings{})
	two := connect(t, Outside{URLs: []string{srv.ClientURL()}, Prefix: "two"}, Settings{})
	for range 2 {
		if _, _, err := one.Publish(t.Context(), stream.Change, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	if seq, _, err := two.Publish(t.Context(), stream.Change, "", nil); err != nil || seq != 1 {
		t.Errorf("the first message of the second installation has number %d, %v", seq, err)
	}
}

func TestAStreamThatIsNotOursIsLeftAlone(t *testing.T) {
	srv := serve(t, nil)
	s := connect(t, Outside{URLs: []string{srv.ClientURL()}, Prefix: "ours"}, Settings{})
	for _, other := range []jetstream.StreamConfig{
		{Name: "THEIRS", Subjects: []string{"orders.>"}},
		{Name: "Other", Subjects: []string{"taken.>"}},
	} {
		if _, err := s.js.CreateStream(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"theirs", "taken"} {
		_, err := Connect(t.Context(), Outside{URLs: []string{srv.ClientURL()}, Prefix: prefix}, Settings{Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, nhi.ErrConflict) || !strings.Contains(err.Error(), "choose another stream.prefix") {
			t.Errorf("Connect with prefix %s = %v, want ErrConflict and what to do", prefix, err)
		}
	}
}

func TestBoundsOnAServerOutsideAreAdapted(t *testing.T) {
	srv := serve(t, nil)
	out := Outside{URLs: []string{srv.ClientURL()}}
	connect(t, out, Settings{}).Close()
	set := stream.Settings{MaxAge: time.Hour, MaxBytes: 1 << 20, Dedup: 11 * time.Minute}
	info, err := inner(t, connect(t, out, Settings{Settings: set})).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := info.Config; c.MaxAge != set.MaxAge || c.MaxBytes != set.MaxBytes || c.Duplicates != set.Dedup || c.Replicas != 1 {
		t.Errorf("the stream has %+v", c)
	}
}

func TestServersThatCannotHoldTheStreamSayWhatToChange(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*server.Options)
		want   error
		words  string
	}{
		"messages too small": {func(o *server.Options) { o.MaxPayload = 1 << 20 }, nhi.ErrInvalid, "max_payload: 4MB"},
		"too little room":    {func(o *server.Options) { o.JetStreamMaxStore = 1 << 30 }, stream.ErrFull, "lower retention.bytes"},
		"no JetStream":       {func(o *server.Options) { o.JetStream = false }, nil, "JetStream is off"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Connect(t.Context(), Outside{URLs: []string{serve(t, tt.change).ClientURL()}}, Settings{Log: slog.New(slog.DiscardHandler)})
			if err == nil { // it may be mended while we run
				defer s.Close()
				err = s.Health()
			}
			if !errors.Is(err, tt.want) && tt.want != nil || err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("it is said: %v, want words like %q", err, tt.words)
			}
		})
	}
}

func TestServersThatAreAwayAtTheStartAreUsedWhenTheyCome(t *testing.T) {
	n := &natstest.Node{Name: "late", Dir: t.TempDir(), Client: natstest.FreePorts(t, 1)[0]}
	s := connect(t, Outside{URLs: natstest.URLs(n)}, Settings{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := s.Publish(ctx, stream.Change, "1", nil); err == nil {
		t.Error("Publish without a server succeeded")
	}
	if err := s.Consume(t.Context(), stream.Consumer{}, nil); !errors.Is(err, stream.ErrUnavailable) {
		t.Errorf("Consume without a server = %v, want ErrUnavailable", err)
	}
	if err := s.Health(); !errors.Is(err, stream.ErrUnavailable) || !strings.Contains(err.Error(), "not connected to "+n.URL()) || !strings.Contains(err.Error(), "start the servers") {
		t.Errorf("Health = %v, want where we connect to and what to do", err)
	}
	n.Start(t)
	t.Cleanup(n.Kill)
	eventually(t, "publishing", func() bool {
		_, _, err := s.Publish(t.Context(), stream.Change, "1", nil)
		return err == nil
	})
	eventually(t, "health", func() bool { return s.Health() == nil })
}

func TestAKilledServerOutsideLosesNothingAcknowledged(t *testing.T) {
	n := natstest.Alone(t)
	s := connect(t, Outside{URLs: natstest.URLs(n)}, Settings{})
	sent := 0
	for range 3 {
		for range 20 {
			id := fmt.Sprint(sent)
			eventually(t, "publishing", func() bool {
				seq, _, err := s.Publish(t.Context(), stream.Change, id, []byte(id))
				if err == nil && seq != uint64(sent+1) {
					t.Errorf("message %s has number %d", id, seq)
				}
				return err == nil
			})
			sent++
		}
		n.Kill()
		n.Start(t)
	}
	eventually(t, "the server", func() bool { return s.Health() == nil })
	if u, err := s.Usage(t.Context()); err != nil || u.Messages != uint64(sent) {
		t.Errorf("%d messages are there, %v, want %d", u.Messages, err, sent)
	}
}

// A wire is a TCP proxy that can hold back what the server says.
type wire struct {
	l    net.Listener
	to   string
	mu   sync.Mutex // guards held and open
	held bool
	open []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: strings.TrimPrefix(to, "nats://")}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		w.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", w.to)
			if err != nil {
				c.Close()
				continue
			}
			w.mu.Lock()
			w.open = append(w.open, c, server)
			w.mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(server, c); server.Close() })
			wg.Go(func() { w.back(c, server) })
		}
	})
	return w
}

// back passes on what the server says, unless it is held: then it is lost.
func (w *wire) back(c, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		w.mu.Lock()
		held := w.held
		w.mu.Unlock()
		if err != nil {
			c.Close()
			return
		}
		if !held {
			_, _ = c.Write(buf[:n])
		}
	}
}

func (w *wire) hold(held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = held
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}

func (w *wire) url() string { return "nats://" + w.l.Addr().String() }

func TestAMessageWhoseAnswerIsLostIsStoredOnce(t *testing.T) {
	srv := serve(t, nil)
	w := newWire(t, srv.ClientURL())
	s := connect(t, Outside{URLs: []string{w.url()}}, Settings{})
	direct := connect(t, Outside{URLs: []string{srv.ClientURL()}}, Settings{})
	for i, id := range []string{"named", ""} {
		w.hold(true)
		answer := make(chan error, 1)
		var seq uint64
		go func() {
			var err error
			seq, _, err = s.Publish(t.Context(), stream.Change, id, []byte("x"))
			answer <- err
		}()
		eventually(t, "storing", func() bool {
			u, err := direct.Usage(t.Context())
			return err == nil && u.Messages == uint64(i+1)
		})
		w.hold(false)
		w.cut()
		if err := <-answer; err != nil || seq != uint64(i+1) {
			t.Errorf("id %q: Publish = %d, %v, want %d after a repeat", id, seq, err, i+1)
		}
		if u, err := direct.Usage(t.Context()); err != nil || u.Messages != uint64(i+1) {
			t.Errorf("id %q: %d messages are stored, %v, want %d", id, u.Messages, err, i+1)
		}
	}
}

func TestServersThatBecameSlowCostSendersARefusalNotOurMemory(t *testing.T) {
	srv := serve(t, nil)
	w := newWire(t, srv.ClientURL())
	s := connect(t, Outside{URLs: []string{w.url()}}, Settings{Settings: stream.Settings{Waiting: 4 << 20}})
	w.hold(true)
	const senders = 12
	answers := make(chan error, senders)
	for i := range senders {
		go func() {
			_, _, err := s.Publish(t.Context(), stream.ActivityBatch, fmt.Sprint(i), make([]byte, 1<<20))
			answers <- err
		}()
	}
	for range senders - 3 { // three of 1 MB and a header are on their way
		if err := <-answers; !errors.Is(err, nhi.ErrBusy) {
			t.Errorf("Publish = %v, want ErrBusy at once", err)
		}
	}
	w.hold(false)
	w.cut()
	for range 3 {
		if err := <-answers; err != nil {
			t.Errorf("what was on its way: %v", err)
		}
	}
	if _, _, err := s.Publish(t.Context(), stream.ActivityBatch, "later", make([]byte, 1<<20)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// paper is a certificate authority with a server's and a client's certificate.
type paper struct{ ca, cert, key string }

func papers(t *testing.T) paper {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := paper{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{
		p.ca: {Type: "CERTIFICATE", Bytes: der}, p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func seed(t *testing.T, kind nkeys.PrefixByte) (nkeys.KeyPair, string, string) {
	t.Helper()
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public, string(secret)
}

func TestTLSOnBothSidesWithANkey(t *testing.T) {
	p := papers(t)
	_, public, secret := seed(t, nkeys.PrefixByteUser)
	cert, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(p.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	srv := serve(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 5
		// What the manual says that a user needs.
		o.Nkeys = []*server.NkeyUser{{Nkey: public, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"muster.>", "$JS.API.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}}
	})
	_, _, other := seed(t, nkeys.PrefixByteUser)
	stranger := papers(t)
	ours := TLS{CA: p.ca, Cert: p.cert, Key: p.key}
	url := "tls://" + srv.Addr().String()
	s := connect(t, Outside{URLs: []string{url}, CredentialsFile: write(t, secret), TLS: ours}, Settings{})
	if _, _, err := s.Publish(t.Context(), stream.Change, "", nil); err != nil {
		t.Error(err)
	}
	if err := s.Consume(t.Context(), stream.Consumer{}, func(context.Context, stream.Message) error { return errEnough }); !errors.Is(err, errEnough) {
		t.Error(err)
	}
	for name, tt := range map[string]struct {
		out   Outside
		words string
	}{
		"another user's seed": {Outside{CredentialsFile: write(t, other), TLS: ours}, "refuses the credentials"},
		"no credentials":      {Outside{TLS: ours}, "give stream.credentials_file"},
		"a server that another authority vouches for": {
			Outside{CredentialsFile: write(t, secret), TLS: TLS{CA: stranger.ca, Cert: p.cert, Key: p.key}}, "certificate does not hold",
		},
		"a certificate of another authority": {Outside{CredentialsFile: write(t, secret), TLS: TLS{CA: p.ca, Cert: stranger.cert, Key: stranger.key}}, "tls"},
	} {
		tt.out.URLs = []string{url}
		s, err := Connect(t.Context(), tt.out, Settings{Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = s.Health()
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v, want words like %q", name, err, tt.words)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), other)) {
			t.Errorf("%s: the error holds the seed", name)
		}
	}
}

func TestAServerWithoutTLSIsRefusedWhenTLSIsAskedFor(t *testing.T) {
	srv := serve(t, nil)
	_, err := Connect(t.Context(), Outside{URLs: []string{"tls://" + srv.Addr().String()}}, Settings{Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("Connect = %v, want a refusal of plain text", err)
	}
}

// claims signs c.
func claims(t *testing.T, c interface {
	Encode(nkeys.KeyPair) (string, error)
}, by nkeys.KeyPair) string {
	t.Helper()
	text, err := c.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestACredsFileWithAUsersJWTIsUsed(t *testing.T) {
	operator, operatorID, _ := seed(t, nkeys.PrefixByteOperator)
	account, accountID, _ := seed(t, nkeys.PrefixByteAccount)
	_, systemID, _ := seed(t, nkeys.PrefixByteAccount)
	_, userID, userSeed := seed(t, nkeys.PrefixByteUser)
	own := jwt.NewAccountClaims(accountID)
	own.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: 1 << 20, DiskStorage: 1 << 40, Streams: 10, Consumer: 100}
	trusted := jwt.NewOperatorClaims(operatorID)
	trusted.SystemAccount = systemID
	user := jwt.NewUserClaims(userID)
	user.Expires = time.Now().Add(time.Hour).Unix()
	decorated, err := jwt.FormatUserConfig(claims(t, user, account), []byte(userSeed))
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	for id, c := range map[string]*jwt.AccountClaims{accountID: own, systemID: jwt.NewAccountClaims(systemID)} {
		if err := resolver.Store(id, claims(t, c, operator)); err != nil {
			t.Fatal(err)
		}
	}
	checked, err := jwt.DecodeOperatorClaims(claims(t, trusted, operator))
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, func(o *server.Options) {
		o.TrustedOperators = []*jwt.OperatorClaims{checked}
		o.AccountResolver, o.SystemAccount = resolver, systemID
	})
	s := connect(t, Outside{URLs: []string{srv.ClientURL()}, CredentialsFile: write(t, string(decorated))}, Settings{})
	if seq, _, err := s.Publish(t.Context(), stream.Change, "", nil); err != nil || seq != 1 {
		t.Errorf("Publish = %d, %v", seq, err)
	}
	if s, err := Connect(t.Context(), Outside{URLs: []string{srv.ClientURL()}}, Settings{Log: slog.New(slog.DiscardHandler)}); err == nil {
		s.Close()
		t.Error("without credentials the server let us in")
	}
}

func TestSettingsThatCannotWorkAreRefusedByName(t *testing.T) {
	good := []string{"nats://127.0.0.1:4222"}
	if err := (&Outside{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	for _, tt := range []struct {
		words string
		out   Outside
	}{
		{"urls is missing", Outside{Prefix: "x"}},
		{"want at most 16", Outside{URLs: slices.Repeat(good, 17)}},
		{"stream.urls[1]: want nats://host:port", Outside{URLs: append(good, "http://127.0.0.1")}},
		{"stream.urls[0]: want nats://host:port", Outside{URLs: []string{"nats://h:1/path"}}},
		{"stream.urls[0]: want nats://host:port", Outside{URLs: []string{"nats://%zz"}}},
		{"stream.credentials_file", Outside{URLs: []string{"nats://me:hunter2@127.0.0.1:4222"}}},
		{"cert and key belong together", Outside{URLs: good, TLS: TLS{Cert: "x"}}},
		{"stream.replicas is 2", Outside{URLs: good, Replicas: 2}},
		{"stream.prefix", Outside{URLs: good, Prefix: "a.b"}},
		{"stream.prefix", Outside{URLs: good, Prefix: strings.Repeat("a", 33)}},
	} {
		if err := tt.out.Check(); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v, want ErrInvalid with %q and no password", tt.out, err, tt.words)
		}
	}
	for text, words := range map[string]string{"hello": "neither", "SUNOTASEED": "no usable seed", strings.Repeat("x", maxCredentials+1): "no credentials file"} {
		if _, err := credentials(write(t, text)); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("a file of %.20q: %v", text, err)
		}
	}
	if _, err := credentials(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestPlainTextStaysOnThisMachine(t *testing.T) {
	for url, want := range map[string]bool{
		"nats://127.0.0.1:4222": false, "nats://[::1]:4222": false, "nats://localhost:4222": false,
		"nats://10.0.0.1:4222": true, "nats://nats.example:4222": true, "tls://127.0.0.1:4222": true,
	} {
		if got := (&Outside{URLs: []string{url}}).secure(); got != want {
			t.Errorf("%s needs TLS: %t, want %t", url, got, want)
		}
	}
	if !(&Outside{URLs: []string{"nats://127.0.0.1:1", "nats://10.0.0.1:1"}}).secure() {
		t.Error("one server elsewhere must make all of them speak TLS")
	}
}

func TestReconnectingBacksOffToTenSeconds(t *testing.T) {
	for attempts, most := range map[int]time.Duration{-1: 100 * time.Millisecond, 0: 100 * time.Millisecond, 3: 800 * time.Millisecond, 40: pauseLongest} {
		for range 20 {
			if got := backOff(attempts); got < most/2 || got > most {
				t.Errorf("after %d attempts %v, want %v to %v", attempts, got, most/2, most)
			}
		}
	}
}
