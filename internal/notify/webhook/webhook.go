// Package webhook delivers notices as Standard Webhooks 1.0.0: a JSON body
// `{type, timestamp, data}` signed with HMAC-SHA256 over "id.timestamp.body",
// so that the receiver can tell that it came from this installation, when, and
// that nobody changed it. Redirects are not followed, and plain HTTP is for
// loopback only.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify"
	"github.com/muster-id/muster/internal/telemetry"
)

// Settings say where a webhook goes.
type Settings struct {
	// Name tells the receiver apart from others: in messages, in the list of
	// channels, in muster notify test.
	Name string `yaml:"name" example:"on-call"`
	// URL is where a webhook's notices are sent, by HTTPS; plain HTTP only to this
	// machine.
	URL string `yaml:"url" unit:"URL" secret:"true" example:"https://hooks.example.com/muster"`
	// SecretFile is the file of the secret that signs a webhook's notices: whsec_
	// and base64, as the standard writes secrets.
	SecretFile string `yaml:"secret_file" unit:"file" example:"/etc/muster/on-call.secret"`
	// Severity is the least severity that is sent. Empty: all.
	Severity nhi.Severity `yaml:"severity" enum:"info,low,medium,high,critical" example:"high"`
}

// Validate returns an error wrapping nhi.ErrInvalid that names the setting and
// does not quote the URL, which may be a secret.
func (s *Settings) Validate() error {
	_, err := s.address()
	return err
}

func (s *Settings) address() (*url.URL, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, nhi.Invalidf("webhook %s: url must be https://host/path", s.Name)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !notify.Loopback(u.Hostname())) {
		return nil, nhi.Invalidf("webhook %s: plain HTTP is for loopback only", s.Name)
	}
	return u, nil
}

// Hook is a channel to one receiver. It is safe for concurrent use.
type Hook struct {
	name   string
	url    string
	secret []byte
	client *http.Client
}

const timeout = 20 * time.Second

// New returns the channel that s describes; secret is the content of its
// secret file.
func New(s Settings, secret string) (*Hook, error) {
	u, err := s.address()
	if err != nil {
		return nil, err
	}
	coded, ok := strings.CutPrefix(strings.TrimSpace(secret), "whsec_")
	raw, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil || len(raw) < 24 || len(raw) > 64 {
		return nil, nhi.Invalidf("webhook %s: the secret must be whsec_ and 24 to 64 bytes in base64", s.Name)
	}
	return &Hook{name: s.Name, url: u.String(), secret: raw, client: &http.Client{
		Timeout:       timeout,
		Transport:     telemetry.Transport(nil, "webhook"),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements notify.Channel.
func (h *Hook) Name() string { return "webhook:" + h.name }

// Send implements notify.Channel.
func (h *Hook) Send(ctx context.Context, n nhi.Notice) error {
	body, err := json.Marshal(map[string]any{"type": n.Topic, "timestamp": n.At.UTC(), "data": n.Data})
	if err != nil {
		return fmt.Errorf("encode notice %s: %w", n.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("notify %s: %w", h.name, err)
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "muster")
	req.Header.Set("webhook-id", n.ID)
	req.Header.Set("webhook-timestamp", at)
	req.Header.Set("webhook-signature", "v1,"+Sign(h.secret, n.ID, at, body))
	res, err := h.client.Do(req)
	if err != nil {
		// The URL itself is a secret of many receivers, so it is left out.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("notify %s: %w", h.name, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case res.StatusCode == http.StatusGone:
		return fmt.Errorf("notify %s: %w", h.name, notify.ErrGone)
	}
	return fmt.Errorf("notify %s: the receiver answers %d", h.name, res.StatusCode)
}

// Sign returns the base64 signature of a message (Standard Webhooks 1.0.0,
// "Signature scheme", symmetric).
func Sign(secret []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
