// Package email sends notices as mail (SMTP, RFC 5321) to configured people,
// and to the owner of the identity when the owner is an address of a configured
// domain. The connection is encrypted, by STARTTLS or from its first byte;
// plain text is for this machine, or for who asks for it by name. A password
// never travels in plain text to another machine.
//
//	notice -> words -> one message for each recipient -> one connection
//
// Each recipient gets a message alone, so that one wrong address stops nobody
// else's mail and nobody sees who else is told. When some could not be reached,
// the next attempt sends to those only. A message has an id that is made from
// the notice's, so a repeat is the same message to a mail program.
//
// Names in a notice were chosen by strangers. The text was made safe by
// notify.Words, the HTML is escaped by html/template and loads nothing, and no
// header holds more than one line.
package email

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/output"
)

// Settings say by which server mail goes, and to whom.
type Settings struct {
	// Server is the SMTP server that takes mail from us: port 587 with STARTTLS,
	// port 465 with TLS from the first byte.
	Server string `yaml:"server" unit:"host:port" example:"smtp.example.com:587"`
	// TLS says how the connection is encrypted: starttls, implicit (TLS from the
	// first byte), or none. Empty: implicit on port 465, none to this machine,
	// else starttls. A server that does not offer it gets nothing.
	TLS string `yaml:"tls" enum:"starttls,implicit,none" example:"starttls"`
	// CAFile holds the roots, in PEM, by which the server is known. Empty: the
	// system's.
	CAFile string `yaml:"ca_file" unit:"file" example:"/etc/muster/mail-ca.pem"`
	// Username signs in to the server. Empty: it takes mail without.
	Username string `yaml:"username" example:"muster@example.com"`
	// PasswordFile holds the password on its first line, readable by the
	// server's user only.
	PasswordFile string `yaml:"password_file" unit:"file" example:"/etc/muster/mail.password"`
	// From is the address that mail comes from, with a name if you like.
	From string `yaml:"from" example:"Muster <muster@example.com>"`
	// To are the addresses of people who get every notice of this receiver.
	To []string `yaml:"to" example:"[security@example.com]"`
	// Owners also sends to the owner of the identity that a notice is about, when
	// the owner is an e-mail address of one of owner_domains.
	Owners bool `yaml:"owners" example:"true"`
	// OwnerDomains are the domains whose owners are written to. An owner may come
	// from a tag at a provider, so without a list anybody could be written to.
	OwnerDomains []string `yaml:"owner_domains" example:"[example.com]"`
}

// The ways to encrypt.
const (
	tlsStart    = "starttls"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// Validate returns an error wrapping nhi.ErrInvalid that names the key.
func (s *Settings) Validate() error {
	host, port, err := net.SplitHostPort(s.Server)
	if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
		return nhi.Invalidf("email.server: %.100q: want host:port, as smtp.example.com:587", s.Server)
	}
	mode := s.mode()
	switch {
	case mode != tlsStart && mode != tlsImplicit && mode != tlsNone:
		return nhi.Invalidf("email.tls: %.40q: want starttls, implicit or none", s.TLS)
	case (s.Username == "") != (s.PasswordFile == ""):
		return nhi.Invalidf("email.username: username and password_file belong together")
	case s.Username != "" && mode == tlsNone && !notify.Loopback(host):
		return nhi.Invalidf("email.tls: without TLS the password would travel in clear; use starttls or implicit, or leave username and password_file out")
	}
	if _, err := address(s.From); err != nil {
		return nhi.Invalidf("email.from: %w", err)
	}
	return s.validateRecipients()
}

func (s *Settings) validateRecipients() error {
	switch {
	case len(s.To) > 50:
		return nhi.Invalidf("email.to: %d addresses: want at most 50; use a list of your mail server", len(s.To))
	case len(s.To) == 0 && !s.Owners:
		return nhi.Invalidf("email.to: nobody would get mail: name addresses, or set owners")
	case s.Owners && len(s.OwnerDomains) == 0:
		return nhi.Invalidf("email.owners: owner_domains is needed with it: whose owners may be written to")
	}
	for i, to := range s.To {
		if _, err := address(to); err != nil {
			return nhi.Invalidf("email.to[%d]: %w", i, err)
		}
	}
	for i, d := range s.OwnerDomains {
		if !plainDomain(d) {
			return nhi.Invalidf("email.owner_domains[%d]: %.80q: want a domain, as example.com", i, d)
		}
	}
	return nil
}

// mode is how the connection is encrypted.
func (s *Settings) mode() string {
	host, port, _ := net.SplitHostPort(s.Server)
	switch {
	case s.TLS != "":
		return s.TLS
	case port == "465":
		return tlsImplicit
	case notify.Loopback(host):
		return tlsNone
	}
	return tlsStart
}

// address reads one address, in ASCII, of one line.
func address(text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("%.100q is not one e-mail address", text)
	}
	_, domain, _ := strings.Cut(a.Address, "@")
	for _, r := range a.Address {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"<>(),:;\[]`, r) {
			return nil, fmt.Errorf("%.100q: want an address of plain ASCII, without quotes", text)
		}
	}
	if strings.ContainsFunc(a.Name, func(r rune) bool { return output.Visible(string(r)) != string(r) }) || !plainDomain(domain) {
		return nil, fmt.Errorf("%.100q: want an address as muster@example.com", text)
	}
	return a, nil
}

func plainDomain(d string) bool {
	if d == "" || len(d) > 253 || strings.Trim(d, ".-") != d {
		return false
	}
	return !strings.ContainsFunc(d, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-'
	})
}

// A Channel sends by one server. It is safe for concurrent use.
type Channel struct {
	name     string
	settings Settings
	host     string
	port     int
	from     *mail.Address
	password string
	tls      *tls.Config
	console  string

	mu   sync.Mutex // guards told
	told map[string]map[string]bool
}

// Files are the contents of the files that Settings name; empty when they name
// none.
type Files struct {
	Password []byte
	CA       []byte
}

// New returns the channel that s describes, called name. console is the address
// of the console, without a slash at its end.
func New(name string, s Settings, files Files, console string) (*Channel, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.Server)
	if err != nil {
		return nil, nhi.Invalidf("email.server: %v", err)
	}
	c := &Channel{name: name, settings: s, host: host, console: console, tls: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}, told: map[string]map[string]bool{}}
	if c.port, err = strconv.Atoi(port); err != nil {
		return nil, nhi.Invalidf("email.server: port %.20q is no number", port)
	}
	if c.from, err = address(s.From); err != nil {
		return nil, nhi.Invalidf("email.from: %w", err)
	}
	if s.CAFile != "" {
		c.tls.RootCAs = x509.NewCertPool()
		if !c.tls.RootCAs.AppendCertsFromPEM(files.CA) {
			return nil, nhi.Invalidf("email.ca_file: there is no certificate in it")
		}
	}
	if s.PasswordFile != "" {
		first, _, _ := strings.Cut(string(files.Password), "\n")
		if c.password = strings.TrimSuffix(first, "\r"); c.password == "" {
			return nil, nhi.Invalidf("email.password_file: its first line is empty; it holds the password")
		}
	}
	return c, nil
}

// Name implements notify.Channel.
func (c *Channel) Name() string { return "email:" + c.name }

// Limits of one attempt.
const (
	stepTimeout = 20 * time.Second // to connect, and for each message
	timeout     = 2 * time.Minute
)

// Send implements notify.Channel. A test goes to configured people; where there
// are none, because the channel writes to owners only, it signs in and sends
// nothing. Send returns when the server has taken the
// message for each recipient, or has said that it never will. The error wraps
// notify.ErrGone when it will take it for none.
func (c *Channel) Send(ctx context.Context, n nhi.Notice) error {
	m, err := notify.Words(n, c.console)
	if err != nil {
		return fmt.Errorf("notify %s: %w (%w)", c.name, err, notify.ErrGone)
	}
	people := c.recipients(&m, n.Topic)
	told := c.remembered(n.ID)
	refusals := map[string]bool{}
	var fault error
	if len(told) < len(people) || n.Topic == notify.TopicTest {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		fault = c.deliver(ctx, &m, n, people, told)
	}
	for _, p := range people {
		if taken, known := told[p.address]; known && !taken {
			refusals[p.label] = true
		}
	}
	if fault != nil {
		c.remember(n.ID, told)
		return fmt.Errorf("notify %s: %w", c.name, fault)
	}
	c.forget(n.ID)
	switch {
	case len(refusals) == 0:
		return nil
	case len(refusals) == len(people):
		return fmt.Errorf("notify %s: the server refuses every recipient: %w", c.name, notify.ErrGone)
	}
	for label := range refusals {
		slog.Warn("a mail server refuses a recipient for good; look at the address", "channel", c.Name(), "recipient", label)
	}
	return nil
}

// A recipient is an address and how it is called in errors, where addresses of
// people do not belong.
type recipient struct{ address, label string }

func (c *Channel) recipients(m *notify.Message, topic string) []recipient {
	var out []recipient
	seen := map[string]bool{}
	add := func(address, label string) {
		if key := strings.ToLower(address); !seen[key] {
			seen[key] = true
			out = append(out, recipient{address, label})
		}
	}
	for i, to := range c.settings.To {
		if a, err := address(to); err == nil { // Validate has said so
			add(a.Address, fmt.Sprintf("to[%d]", i))
		}
	}
	if c.settings.Owners && topic != notify.TopicTest {
		if a, ok := m.OwnerAddress(c.settings.OwnerDomains); ok {
			add(a, "the owner")
		}
	}
	return out
}

// deliver sends to whom told does not know yet, and adds how it ended: true
// when the message was taken, false when it never will be. The error is what
// another attempt may mend.
func (c *Channel) deliver(ctx context.Context, m *notify.Message, n nhi.Notice, people []recipient, told map[string]bool) error {
	client, closing, err := c.connect(ctx)
	defer closing()
	if err != nil {
		return err
	}
	var fault error
	for _, p := range people {
		if _, known := told[p.address]; known {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(fault, ctx.Err())
		}
		msg, err := c.compose(m, n, p.address)
		if err != nil {
			return err
		}
		err = client.Send(msg)
		switch {
		case msg.IsDelivered():
			told[p.address] = true
			if err != nil {
				_ = client.Reset() // what follows says whether the connection still works
			}
		case permanent(err):
			told[p.address] = false
			_ = client.Reset()
		default:
			fault = errors.Join(fault, fmt.Errorf("%s: %w", p.label, sober(err)))
			_ = client.Reset()
		}
	}
	return fault
}

// connect opens a connection that ends with ctx, and signs in.
func (c *Channel) connect(ctx context.Context) (_ *gomail.Client, closing func(), _ error) {
	closing = func() {}
	var policy gomail.TLSPolicy
	mode := c.settings.mode()
	switch mode {
	case tlsStart:
		policy = gomail.TLSMandatory
	default:
		policy = gomail.NoTLS
	}
	dial := func(ctx2 context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx2, network, addr)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		closing = func() { stop(); _ = conn.Close() }
		if mode != tlsImplicit {
			return conn, nil
		}
		secure := tls.Client(conn, c.tls.Clone())
		return secure, secure.HandshakeContext(ctx2)
	}
	options := []gomail.Option{
		gomail.WithPort(c.port), gomail.WithTimeout(stepTimeout), gomail.WithTLSConfig(c.tls.Clone()), gomail.WithTLSPolicy(policy),
		gomail.WithDialContextFunc(dial), gomail.WithoutNoop(),
	}
	if c.settings.Username != "" {
		options = append(options, gomail.WithUsername(c.settings.Username), gomail.WithPassword(c.password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	client, err := gomail.NewClient(c.host, options...)
	if err != nil {
		return nil, closing, fmt.Errorf("use the mail server: %w", err)
	}
	if err := client.DialWithContext(ctx); err != nil {
		return nil, closing, fmt.Errorf("connect to the mail server: %w", cmpErr(ctx, sober(err)))
	}
	held := closing
	return client, func() { _ = client.Close(); held() }, nil
}

// cmpErr prefers the reason why we stopped over what followed from it.
func cmpErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// sober is an error without what the server wrote, which may repeat addresses
// or more, but with the code that it answers.
func sober(err error) error {
	if reply := (*textproto.Error)(nil); errors.As(err, &reply) {
		switch reply.Code {
		case 530, 534, 535, 538:
			return fmt.Errorf("the server answers %d: it does not accept the sign-in; look at username and password_file", reply.Code)
		}
		return fmt.Errorf("the server answers %d", reply.Code)
	}
	if sent := (*gomail.SendError)(nil); errors.As(err, &sent) {
		if sent.ErrorCode() > 0 {
			return fmt.Errorf("%s: the server answers %d", sent.Reason, sent.ErrorCode())
		}
		return fmt.Errorf("%s: the connection broke", sent.Reason)
	}
	return errors.New(output.Visible(fmt.Sprintf("%.200s", err)))
}

// permanent says that the server will never take the message for this
// recipient: 5xx (RFC 5321, section 4.2.1) once it accepted us as the sender. A
// missing sign-in is ours to mend.
func permanent(err error) bool {
	sent := (*gomail.SendError)(nil)
	if !errors.As(err, &sent) {
		return false
	}
	switch code := sent.ErrorCode(); {
	case code/100 != 5, code == 530, code == 534, code == 535, code == 538:
		return false
	}
	return sent.Reason == gomail.ErrSMTPRcptTo || sent.Reason == gomail.ErrSMTPData || sent.Reason == gomail.ErrSMTPDataClose
}

// manyNotices is how many notices are remembered that some recipients have and
// others do not. Beyond it a repeat may reach somebody twice.
const manyNotices = 1000

func (c *Channel) remembered(notice string) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]bool{}
	for address, taken := range c.told[notice] {
		out[address] = taken
	}
	return out
}

func (c *Channel) remember(notice string, told map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.told) >= manyNotices {
		clear(c.told)
	}
	c.told[notice] = told
}

func (c *Channel) forget(notice string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.told, notice)
}
