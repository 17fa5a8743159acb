package email

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
)

// A post is a mail server that keeps what it takes.
type post struct {
	addr   string
	ca     []byte
	mu     sync.Mutex // guards what follows
	got    []letter
	refuse func(to string) error // at RCPT
	reject error                 // after DATA
	signed []string              // who signed in, over TLS or not
	secure bool                  // the last message came over TLS
}

type letter struct {
	from string
	to   []string
	raw  []byte
}

type session struct {
	*post
	conn *smtp.Conn
	now  letter
	auth bool
	want bool
}

func (s *session) Reset()        { s.now = letter{} }
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.want && !s.auth {
		return smtp.ErrAuthRequired
	}
	s.now = letter{from: from}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		if err := s.refuse(to); err != nil {
			return err
		}
	}
	s.now.to = append(s.now.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.reject
	}
	if err != nil {
		return err
	}
	_, s.secure = s.conn.TLSConnectionState()
	s.now.raw = raw
	s.got = append(s.got, s.now)
	return nil
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "muster" || password != "correct horse" {
			return smtp.ErrAuthFailed
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.signed = append(s.signed, user)
		s.auth = true
		return nil
	}), nil
}

// serve starts a mail server: with mode starttls it offers TLS, with implicit
// it speaks nothing else. Who must sign in does so before anything is taken.
func serve(t *testing.T, mode string, signIn bool) *post {
	t.Helper()
	p := &post{}
	cert, ca := certificate(t)
	p.ca = ca
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{post: p, conn: c, want: signIn}, nil
	}))
	srv.Domain, srv.AllowInsecureAuth = "localhost", mode == tlsNone
	srv.ErrorLog = quiet{}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if mode == tlsStart {
		srv.TLSConfig = config
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	if mode == tlsImplicit {
		l = tls.NewListener(l, config)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() { _ = srv.Close(); running.Wait() })
	return p
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// letters returns what was taken so far.
func (p *post) letters() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func (p *post) to() []string {
	var out []string
	for _, l := range p.letters() {
		out = append(out, l.to...)
	}
	return out
}

func (p *post) set(refuse func(string) error, reject error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.reject = refuse, reject
}

func channel(t *testing.T, p *post, change func(*Settings)) *Channel {
	t.Helper()
	s := Settings{Server: p.addr, From: "Muster <muster@kestrel.example>", To: []string{"ops@kestrel.example"}}
	if change != nil {
		change(&s)
	}
	c, err := New("people", s, Files{Password: []byte("correct horse\n"), CA: p.ca}, "https://muster.example")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func leak(id, name, owner string) nhi.Notice {
	data, err := json.Marshal(map[string]any{
		"finding": "fnd_abc", "rule": "leak-confirmed", "title": "Leaked key", "sentence": "The key AKIA of " + name + " lies in the file x; its value was proven.",
		"identity": "nhi_abc", "name": name, "credential": "crd_abc", "owner": owner, "place": nhi.Place{Kind: "file", Name: name, Line: 7},
		"action": map[string]any{"id": "act-1", "measure": "suspend", "status": "done", "undo": "muster action undo act-1"},
	})
	if err != nil {
		panic(err)
	}
	return nhi.Notice{ID: id, Topic: "credential.contained", Severity: nhi.Critical, At: time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC), Data: data}
}

// A view is a message as a mail program reads it.
type view struct {
	header      mail.Header
	plain, html string
}

func open(t *testing.T, raw []byte) view {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	kind, with, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("the message is %q (%v)", kind, err)
	}
	v := view{header: m.Header}
	parts := multipart.NewReader(m.Body, with["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return v
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		switch kind := part.Header.Get("Content-Type"); {
		case strings.HasPrefix(kind, "text/plain"):
			v.plain = string(body)
		case strings.HasPrefix(kind, "text/html"):
			v.html = string(body)
		default:
			t.Fatalf("a part is %q", kind)
		}
	}
}

func TestAMessageSaysEverythingInBothForms(t *testing.T) {
	p := serve(t, tlsNone, false)
	if err := channel(t, p, nil).Send(t.Context(), leak("0199-n1", "settlement", "mara@kestrel.example")); err != nil {
		t.Fatal(err)
	}
	got := p.letters()
	if len(got) != 1 || got[0].from != "muster@kestrel.example" {
		t.Fatalf("%d messages: %+v", len(got), got)
	}
	v := open(t, got[0].raw)
	for header, want := range map[string]string{
		"Subject": "[Muster] critical: Leaked key - settlement", "Message-Id": "<0199-n1@kestrel.example>", "Auto-Submitted": "auto-generated",
		"List-Id": "Muster <notices.muster.kestrel.example>", "References": "<fnd_abc@kestrel.example>", "To": "<ops@kestrel.example>",
	} {
		if got := v.header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	for _, want := range []string{"settlement", "nhi_abc", "mara@kestrel.example", "crd_abc", "line 7", "rule leak-confirmed", "suspend", "muster action undo act-1", "https://muster.example/findings?id=fnd_abc", "2026-03-01 06:00:00 UTC"} {
		if !strings.Contains(v.plain, want) || !strings.Contains(v.html, want) {
			t.Errorf("%q is not in both of\n%s\n%s", want, v.plain, v.html)
		}
	}
	for _, remote := range []string{"src=", "url(", "@import", "<link", "<img"} {
		if strings.Contains(v.html, remote) {
			t.Errorf("the message loads something: %q", remote)
		}
	}
}

func TestTheConnectionIsEncryptedAndSignedIn(t *testing.T) {
	for _, mode := range []string{tlsStart, tlsImplicit} {
		t.Run(mode, func(t *testing.T) {
			p := serve(t, mode, true)
			c := channel(t, p, func(s *Settings) {
				s.TLS, s.CAFile, s.Username, s.PasswordFile = mode, "ca.pem", "muster", "password"
			})
			if err := c.Send(t.Context(), leak("n", "x", "")); err != nil {
				t.Fatal(err)
			}
			if len(p.letters()) != 1 || !slices.Equal(p.signed, []string{"muster"}) || (mode == tlsStart && !p.secure) {
				t.Errorf("%d messages, signed in %q, over TLS %v", len(p.letters()), p.signed, p.secure)
			}
		})
	}
}

func TestDowngradeAServerWithoutSTARTTLSGetsNothing(t *testing.T) {
	p := serve(t, tlsNone, false)
	c := channel(t, p, func(s *Settings) {
		s.TLS, s.Username, s.PasswordFile = tlsStart, "muster", "password"
	})
	err := c.Send(t.Context(), leak("n", "x", ""))
	if err == nil || !strings.Contains(err.Error(), "STARTTLS") || len(p.letters()) != 0 || len(p.signed) != 0 {
		t.Errorf("Send = %v; %d messages, sign-ins %q", err, len(p.letters()), p.signed)
	}
}

func TestImpersonationAServerWithAnotherCertificateGetsNothing(t *testing.T) {
	for _, mode := range []string{tlsStart, tlsImplicit} {
		p := serve(t, mode, false)
		err := channel(t, p, func(s *Settings) { s.TLS = mode }).Send(t.Context(), leak("n", "x", "")) // the system's roots
		if err == nil || !strings.Contains(err.Error(), "certificate") || len(p.letters()) != 0 {
			t.Errorf("%s: Send = %v, %d messages", mode, err, len(p.letters()))
		}
	}
}

func TestARefusedSignInIsTriedAgainAndTellsNoPassword(t *testing.T) {
	p := serve(t, tlsStart, true)
	s := Settings{Server: p.addr, TLS: tlsStart, CAFile: "ca", Username: "muster", PasswordFile: "p", From: "m@kestrel.example", To: []string{"ops@kestrel.example"}}
	c, err := New("people", s, Files{Password: []byte("wrong battery"), CA: p.ca}, "")
	if err != nil {
		t.Fatal(err)
	}
	err = c.Send(t.Context(), leak("n", "x", ""))
	if err == nil || errors.Is(err, notify.ErrGone) || !strings.Contains(err.Error(), "535") || strings.Contains(err.Error(), "battery") {
		t.Errorf("Send = %v, want one that can be mended, with 535 and without the password", err)
	}
}

func refusing(code int, who ...string) func(string) error {
	return func(to string) error {
		if slices.Contains(who, to) {
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no " + to}
		}
		return nil
	}
}

func TestARecipientThatIsRefusedForGoodIsLeftAlone(t *testing.T) {
	p := serve(t, tlsNone, false)
	p.set(refusing(550, "ops@kestrel.example"), nil)
	err := channel(t, p, nil).Send(t.Context(), leak("n", "x", ""))
	if !errors.Is(err, notify.ErrGone) || strings.Contains(err.Error(), "ops@") {
		t.Errorf("Send = %v, want ErrGone without the address", err)
	}
	p.set(nil, &smtp.SMTPError{Code: 554, Message: "we do not like it"})
	if err := channel(t, p, nil).Send(t.Context(), leak("n", "x", "")); !errors.Is(err, notify.ErrGone) {
		t.Errorf("Send = %v after a refusal of the message, want ErrGone", err)
	}
}

func TestARepeatReachesOnlyWhomItDidNotReach(t *testing.T) {
	p := serve(t, tlsNone, false)
	c := channel(t, p, func(s *Settings) {
		s.To = []string{"gone@kestrel.example", "late@kestrel.example", "ops@kestrel.example"}
	})
	gone, late := refusing(550, "gone@kestrel.example"), refusing(451, "late@kestrel.example")
	p.set(func(to string) error {
		if err := gone(to); err != nil {
			return err
		}
		return late(to)
	}, nil)
	n := leak("n", "x", "")
	err := c.Send(t.Context(), n)
	if err == nil || errors.Is(err, notify.ErrGone) || !strings.Contains(err.Error(), "to[1]") || !strings.Contains(err.Error(), "451") {
		t.Fatalf("Send = %v, want one to try again that names to[1] and 451", err)
	}
	p.set(gone, nil)
	if err := c.Send(t.Context(), n); err != nil {
		t.Fatalf("the repeat: %v", err)
	}
	if diff := cmp.Diff([]string{"ops@kestrel.example", "late@kestrel.example"}, p.to()); diff != "" {
		t.Errorf("who got it (-want +got):\n%s", diff)
	}
	if got := p.letters(); open(t, got[0].raw).header.Get("Message-Id") != open(t, got[1].raw).header.Get("Message-Id") {
		t.Error("a repeat has another id")
	}
}

func TestAServerThatHangsHoldsNobodyWhenWeStop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		cancel()                         // it has connected, and now we stop
		_, _ = io.Copy(io.Discard, conn) // says nothing until the other side goes away
		_ = conn.Close()
	})
	c := channel(t, &post{addr: l.Addr().String()}, nil)
	if err := c.Send(ctx, leak("n", "x", "")); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v, want that it was cancelled", err)
	}
	serving.Wait()
}

func TestOwnersOfConfiguredDomainsGetMail(t *testing.T) {
	p := serve(t, tlsNone, false)
	c := channel(t, p, func(s *Settings) { s.To, s.Owners, s.OwnerDomains = nil, true, []string{"kestrel.example"} })
	for _, owner := range []string{
		"mara@kestrel.example", "team:payments", "mara@evil.example", "mara@kestrel.example.evil.example", "a@evil.example,mara@kestrel.example",
		"evil.example!mara@kestrel.example", "mara%evil.example@kestrel.example", "<mara@kestrel.example>", "mara@kestrel.example\r\nRCPT TO:<x@evil.example>",
		"\"a b\"@kestrel.example", "-rf@kestrel.example", "", "@kestrel.example", "mara@evil.example@kestrel.example", "Mara.O'Neil+nhi@KESTREL.example",
	} {
		if err := c.Send(t.Context(), leak("n", "x", owner)); err != nil {
			t.Errorf("owner %q: %v", owner, err)
		}
	}
	if diff := cmp.Diff([]string{"mara@kestrel.example", "Mara.O'Neil+nhi@kestrel.example"}, p.to()); diff != "" {
		t.Errorf("who got mail (-want +got):\n%s", diff)
	}
}

// attacks are names that do something to whoever does not treat them as text.
var attacks = []string{
	"x\r\nBcc: thief@evil.example", "x\nContent-Type: text/html\n\n<script>alert(1)</script>", "x\r\n.\r\nMAIL FROM:<thief@evil.example>", "=?utf-8?q?=0D=0ABcc:_thief@evil.example?=",
	"<script>alert(1)</script>", `"><img src=https://evil.example/pixel>`, "</title><style>@import 'https://evil.example'</style>", "{{.Link}}", "\x1b]0;owned\x07", "\u202egnp.exe", "p\u0430ypal",
	"https://evil.example/login", "www.evil.example", strings.Repeat("A", 64<<10), strings.Repeat("\u202e", 64<<10), "\xff\xfe", "--boundary--",
}

var ours = []string{"html", "head", "meta", "title", "style", "body", "h1", "p", "table", "tbody", "tr", "th", "td", "a"}

func TestHeaderAndMarkupInjectionThroughEveryText(t *testing.T) {
	p := serve(t, tlsNone, false)
	c := channel(t, p, nil)
	if err := c.Send(t.Context(), leak("plain", "settlement", "mara@kestrel.example")); err != nil {
		t.Fatal(err)
	}
	want := headers(open(t, p.letters()[0].raw))
	for _, attack := range attacks {
		data, err := json.Marshal(map[string]any{
			"finding": attack, "rule": attack, "title": attack, "sentence": attack, "identity": attack, "name": attack, "credential": attack, "owner": attack,
			"place": nhi.Place{Kind: attack, Name: attack, Commit: attack}, "by": attack, "reason": attack,
			"action": map[string]any{"id": attack, "measure": attack, "status": attack, "undo": attack},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), nhi.Notice{ID: attack, Topic: attack, Severity: nhi.Severity(attack), Data: data}); err != nil {
			t.Fatalf("%.60q: %v", attack, err)
		}
		all := p.letters()
		got := all[len(all)-1]
		v := open(t, got.raw)
		if diff := cmp.Diff(want, headers(v)); diff != "" || !slices.Equal(got.to, []string{"ops@kestrel.example"}) {
			t.Errorf("%.60q changes the header, or who gets it (%q):\n%s", attack, got.to, diff)
		}
		inspect(t, attack, v)
		if len(got.raw) > 64<<10 {
			t.Errorf("%.60q makes a message of %d bytes", attack, len(got.raw))
		}
	}
	if n := len(p.letters()); n != 1+len(attacks) {
		t.Errorf("%d messages, want %d", n, 1+len(attacks))
	}
}

func headers(v view) []string {
	var out []string
	for name := range v.header {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func inspect(t *testing.T, attack string, v view) {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(v.header.Get("Subject"))
	if err != nil || len([]rune(subject)) > subjectLimit {
		t.Errorf("%.60q: the subject has %d characters (%v)", attack, len([]rune(subject)), err)
	}
	text, links := "", 0
	z := html.NewTokenizer(strings.NewReader(v.html))
	for z.Next() != html.ErrorToken {
		token := z.Token()
		switch token.Type {
		case html.StartTagToken, html.SelfClosingTagToken:
			if !slices.Contains(ours, token.Data) {
				t.Errorf("%.60q makes an element %s", attack, token.Data)
			}
			for _, a := range token.Attr {
				if a.Key == "href" {
					links++
					if !strings.HasPrefix(a.Val, "https://muster.example/") {
						t.Errorf("%.60q makes a link to %s", attack, a.Val)
					}
				}
			}
		case html.TextToken:
			text += token.Data
		}
	}
	if links > 1 || strings.Contains(text, "://") {
		t.Errorf("%.60q makes %d links in %.400q", attack, links, text)
	}
	for _, shown := range []string{subject, text, v.plain} {
		if i := strings.IndexFunc(shown, func(r rune) bool { return r != '\r' && r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%.60q: %q is shown as it is", attack, shown[i:min(len(shown), i+20)])
		}
		if strings.Contains(shown, "p\u0430ypal") {
			t.Errorf("%.60q: letters that look alike are not marked", attack)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, key string
		change    func(*Settings)
	}{
		{"no server", "email.server", func(s *Settings) { s.Server = "" }},
		{"no port", "email.server", func(s *Settings) { s.Server = "smtp.example.com" }},
		{"unknown way", "email.tls", func(s *Settings) { s.TLS = "ssl" }},
		{"password in clear", "email.tls", func(s *Settings) { s.TLS, s.Username, s.PasswordFile = tlsNone, "m", "p" }},
		{"user without password", "email.username", func(s *Settings) { s.Username = "m" }},
		{"no sender", "email.from", func(s *Settings) { s.From = "" }},
		{"two senders", "email.from", func(s *Settings) { s.From = "a@example.com, b@example.com" }},
		{"sender of two lines", "email.from", func(s *Settings) { s.From = "\"a\r\nBcc: b\" <a@example.com>" }},
		{"nobody", "email.to", func(s *Settings) { s.To = nil }},
		{"too many", "email.to", func(s *Settings) { s.To = slices.Repeat([]string{"a@example.com"}, 51) }},
		{"no address", "email.to[0]", func(s *Settings) { s.To = []string{"ops"} }},
		{"owners anywhere", "email.owners", func(s *Settings) { s.Owners = true }},
		{"a domain that is none", "email.owner_domains[0]", func(s *Settings) { s.Owners, s.OwnerDomains = true, []string{"*"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Settings{Server: "smtp.example.com:587", From: "m@example.com", To: []string{"ops@example.com"}}
			tt.change(&s)
			if _, err := New("people", s, Files{Password: []byte("p")}, ""); !errors.Is(err, nhi.ErrInvalid) || !strings.HasPrefix(err.Error(), tt.key+":") {
				t.Errorf("New = %v, want ErrInvalid about %s", err, tt.key)
			}
		})
	}
}

func TestHowTheConnectionIsEncryptedFollowsFromTheServer(t *testing.T) {
	for server, want := range map[string]string{"smtp.example.com:587": tlsStart, "smtp.example.com:465": tlsImplicit, "127.0.0.1:25": tlsNone, "localhost:465": tlsImplicit, "10.0.0.1:25": tlsStart} {
		if got := (&Settings{Server: server}).mode(); got != want {
			t.Errorf("%s: %s, want %s", server, got, want)
		}
	}
}

func TestATestGoesToTheConfiguredPeopleAndNotToAnOwner(t *testing.T) {
	p := serve(t, tlsNone, false)
	c := channel(t, p, nil)
	r := notify.NewRouter(nil, []notify.Route{{Channel: c, Least: nhi.Critical}})
	if err := r.Test(t.Context(), "email:people", "person:mara"); err != nil {
		t.Fatal(err)
	}
	got := p.letters()
	if len(got) != 1 || !strings.Contains(open(t, got[0].raw).plain, "nothing: this is a test") {
		t.Errorf("%d messages: %s", len(got), got)
	}
	if err := r.Test(t.Context(), "email:nobody", "x"); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("Test = %v, want ErrNotFound", err)
	}
}
