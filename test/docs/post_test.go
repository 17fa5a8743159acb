package docs_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// receivers starts the mail server and the channel of chat that a page writes
// of; its addresses of both become theirs. Whoever signs in is let in.
func (p *page) receivers() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return sink{}, nil }))
	s.Domain, s.AllowInsecureAuth, s.ErrorLog = "localhost", true, silent{}
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(l) })
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	p.t.Cleanup(func() { _ = s.Close(); running.Wait(); chat.Close() })
	p.words = append(p.words, "smtp.example.com:587", l.Addr().String(), "https://hooks.slack.com", chat.URL)
}

// A sink takes every message.
type sink struct{}

func (sink) Reset()                               {}
func (sink) Logout() error                        { return nil }
func (sink) Mail(string, *smtp.MailOptions) error { return nil }
func (sink) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (sink) AuthMechanisms() []string             { return []string{sasl.Plain} }
func (sink) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func (sink) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, _, _ string) error { return nil }), nil
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
