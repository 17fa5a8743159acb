package operate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/output"
)

// What a probe finds.
const (
	probeProtected   = "protected"
	probeOpen        = "answers without the point"
	probeUnreachable = "could not be reached"
)

// A Trial is one request that a probe sent past the point.
type Trial struct {
	Request string `json:"request"` // what it carried
	Method  string `json:"method"`
	Status  int    `json:"status"` // 0: no reply
	Result  string `json:"result"`
}

// Probe is `muster point probe`: does the application answer whoever goes
// around the point?
func Probe(a *command.App) *cobra.Command {
	var target, path, host, ca string
	var alone bool
	return a.Command(command.Verb{
		Use: "probe NAME", Short: "Test whether an application answers without its point",
		Long: "Send harmless requests (GET, HEAD, OPTIONS) straight to the application behind a point: with no\nassertion, with a forged one, with one that the server signs and that is over, and with spoofed\nheaders. An application is protected when it refuses all of them (401 or 403). No credential is\nsent to it and no redirect followed. Exit status 1 when it answers one, 3 when it cannot be\nreached from here.",
		Example: `
muster point probe payments-proxy --url https://payments.internal:8443
muster point probe payments-proxy --url http://10.0.0.7:8080 --path /payments/1 --host payments.example.com`,
		Args: cobra.ExactArgs(1), Prints: output.Fields[Trial](), Talks: command.Reads,
		Flags: func(c *cobra.Command) {
			f := c.Flags()
			f.StringVar(&target, "url", "", "`address` of the application itself, not of the point")
			f.StringVar(&path, "path", "/", "`path` to ask for: one that is safe to read")
			f.StringVar(&host, "host", "", "`host` to ask by; else that of the URL")
			f.BoolVar(&alone, "no-server", false, "leave out the assertion that the server signs: an application that takes old ones is then not found")
			f.StringVar(&ca, "ca", "", "`file` of the authorities of the application's certificate; else those of the system")
		},
		Run: func(ctx context.Context, k *command.Call, args []string) error {
			p, err := newProber(args[0], target, path, host, ca)
			if err != nil {
				return err
			}
			defer p.http.CloseIdleConnections()
			if alone {
				a.Say("no assertion is asked of a server: whether the application takes old ones is not tested")
			} else if p.over, err = signed(ctx, k, p); err != nil {
				return err
			}
			trials, err := p.probe(ctx)
			if err != nil {
				return err
			}
			if err := output.List(k.Out, trials, output.Columns[Trial]("request method status result")); err != nil {
				return err
			}
			switch verdict(trials) {
			case probeOpen:
				a.Say("%s answers without the point %s: whoever reaches it needs no decision", output.Visible(target), output.Visible(args[0]))
				a.Say("let only the proxy reach it, by its address or a firewall, or have it check what the point signs: muster point set %s --assert", output.Visible(args[0]))
				return command.ErrFound
			case probeUnreachable:
				return fmt.Errorf("%s could not be reached from here: that protects it from this machine, and says nothing of others", output.Visible(target))
			}
			a.Say("%s refused every request that came past the point", output.Visible(target))
			return nil
		},
	})
}

// signed has the server sign an assertion that is over.
func signed(ctx context.Context, k *command.Call, p *prober) (string, error) {
	c, err := k.Client()
	if err != nil {
		return "", err
	}
	probe, err := c.ProbePoint(ctx, p.point, client.ProbePoint{Host: p.asked(), Target: p.url.RequestURI()})
	if err != nil {
		return "", fmt.Errorf("ask the server for an assertion that is over (--no-server does without): %w", err)
	}
	return probe.Assertion, nil
}

// A prober sends requests to one application.
type prober struct {
	point, host string
	over        string // an assertion by the point's key that is over; empty: none
	url         *url.URL
	http        *http.Client
}

func newProber(point, target, path, host, ca string) (*prober, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, command.Usagef("--url: want the address of the application, such as https://payments.internal:8443, without user, path or query")
	}
	full, err := url.Parse(path)
	if err != nil || full.IsAbs() || full.Host != "" || path == "" || path[0] != '/' {
		return nil, command.Usagef("--path: want a path that begins with a slash")
	}
	u.Path, u.RawPath, u.RawQuery = full.Path, full.RawPath, full.RawQuery
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, command.Usagef("--ca: %v", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, command.Usagef("--ca: %s holds no certificate in PEM", ca)
		}
	}
	return &prober{point: point, host: host, url: u, http: &http.Client{
		// No proxy of the environment: the point is whether this machine can.
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// probe sends every request with every method. What cannot be reached at the
// first is not asked again.
func (p *prober) probe(ctx context.Context) ([]Trial, error) {
	disguises, err := p.disguises()
	if err != nil {
		return nil, err
	}
	var out []Trial
	for _, d := range disguises {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
			t := Trial{Request: d.name, Method: method}
			if t.Status, err = p.send(ctx, method, d.header); err != nil {
				var untrusted *tls.CertificateVerificationError
				switch {
				case ctx.Err() != nil:
					return nil, ctx.Err()
				case errors.As(err, &untrusted):
					return nil, fmt.Errorf("%s shows a certificate that nobody here trusts: name its authority with --ca", p.url.Host)
				}
				t.Result = probeUnreachable
				out = append(out, t)
				if len(out) == 1 {
					return out, nil
				}
				continue
			}
			t.Result = probeOpen
			if t.Status == http.StatusUnauthorized || t.Status == http.StatusForbidden {
				t.Result = probeProtected
			}
			out = append(out, t)
		}
	}
	return out, nil
}

func (p *prober) send(ctx context.Context, method string, header http.Header) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.url.String(), nil)
	if err != nil {
		return 0, err
	}
	r.Header = header.Clone()
	r.Header.Set("User-Agent", "muster-point-probe")
	r.Host = p.asked()
	res, err := p.http.Do(r)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // only the status counts
	return res.StatusCode, res.Body.Close()
}

// A disguise is how a request pretends to come from the point.
type disguise struct {
	name   string
	header http.Header
}

func (p *prober) disguises() ([]disguise, error) {
	who := http.Header{"Muster-Identity": {"nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-User": {"admin"}, "X-Remote-User": {"admin"}}
	id := who.Clone()
	id.Set("Muster-Decision", "00000000-0000-7000-8000-000000000000")
	forged, err := p.forge(time.Now())
	if err != nil {
		return nil, err
	}
	asserted := func(token string) http.Header {
		header := who.Clone()
		header.Set("Muster-Decision", token)
		return header
	}
	out := []disguise{{"nothing", http.Header{}}, {"spoofed identity headers", who}, {"the id of a decision", id}, {"a forged assertion", asserted(forged)}}
	if p.over != "" {
		out = append(out, disguise{"a signed assertion that is over", asserted(p.over)})
	}
	return out, nil
}

// asked is the host that the application is asked by.
func (p *prober) asked() string {
	if p.host != "" {
		return p.host
	}
	return p.url.Host
}

// forge signs what a point would, with a key that nobody knows. It is for GET, as
// the one is that the server signs; to the other methods they are for another
// request besides.
func (p *prober) forge(at time.Time) (string, error) {
	host := p.asked()
	return jose.NewES256Signer(jose.GenerateES256(), "muster-decision+jwt").Sign(map[string]any{
		"iss": "https://muster.invalid", "aud": p.point, "sub": "nhi_aaaaaaaaaaaaaaaaaaaaaaaaaa", "iat": at.Unix(), "exp": at.Add(30 * time.Second).Unix(), "jti": "probe",
		"decision": "probe", "method": http.MethodGet, "host": host, "path": p.url.EscapedPath(), "body": "none",
	})
}

// verdict is what all trials mean together: open when one is.
func verdict(trials []Trial) string {
	protected := 0
	for _, t := range trials {
		switch t.Result {
		case probeOpen:
			return probeOpen
		case probeProtected:
			protected++
		}
	}
	if protected == len(trials) && protected > 0 {
		return probeProtected
	}
	return probeUnreachable
}
